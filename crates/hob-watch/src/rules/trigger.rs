//! The trigger of a rule: one of many, each with what it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{TopicName, nearest};
use hob_wire::yaml::{Flaws, Node, Reader};

use super::Document;
use super::action::{count, decimal};
use super::check::{Names, expression, path};
use super::rule::{wait, window};
use crate::expression::Expression;
use crate::model::{
    Around, By, Count, Crossing, Direction, EntityKind, Limit, Moved, Offset, Path, Source, Trigger,
};
use crate::value::FieldType;

/// How often a window may fit into the time that it is compared with.
const AGAINST_WINDOWS_MAX: u32 = 12;
/// Values that a rule remembers when it does not say.
const TERMS: usize = 1_000;
/// Values that a rule may ask to remember.
const TERMS_MAX: u64 = 100_000;
/// For how long a new value is news when the rule does not say.
const SHOWN: Duration = Duration::from_secs(3600);

/// A trigger's name and its node.
type Named<'n> = (&'static str, &'n Node);

/// The nodes of all triggers that a rule has, of which there must be one.
pub(super) struct Nodes<'n> {
    present: Vec<Named<'n>>,
    held: Option<&'n Node>,
    whole: &'n Node,
}

/// Where a trigger stands: its file, its entity, and what there is beside that.
pub(super) struct Place<'a> {
    pub(super) document: Document<'a>,
    pub(super) kind: &'a EntityKind,
    pub(super) names: &'a Names<'a>,
    pub(super) entities: &'a BTreeMap<String, EntityKind>,
}

const TRIGGERS: [&str; 11] = [
    "when", "deadline", "stopped", "absent", "count", "rate", "spike", "change", "fence", "flatline",
    "new_term",
];

impl<'n> Nodes<'n> {
    pub(super) fn take(reader: &mut Reader<'n>) -> Self {
        let whole = reader.node();
        let present = TRIGGERS.iter().filter_map(|name| Some((*name, reader.take(name)?))).collect();
        Self { present, held: reader.take("for"), whole }
    }
}

pub(super) fn read_trigger(nodes: Nodes<'_>, place: &Place<'_>, flaws: &mut Flaws) -> Option<Trigger> {
    let Some((first, node)) = nodes.present.first().copied() else {
        let all: Vec<String> = TRIGGERS.iter().map(|name| format!("`{name}`")).collect();
        let hint = format!("write one of {}", all.join(", "));
        flaws.hint(nodes.whole, "the rule does not say when", hint);
        return None;
    };
    if let Some((second, other)) = nodes.present.get(1) {
        let hint = "a rule has one of them; write two rules";
        flaws.hint(other, format!("`{second}` stands beside `{first}`"), hint);
    }
    if let Some(held) = nodes.held.filter(|_| first != "when") {
        flaws.hint(held, format!("`for` goes with `when`, not with `{first}`"), "leave it out");
    }
    match first {
        "when" => {
            let held = nodes.held.and_then(|node| wait(node, flaws)).unwrap_or_default();
            let when = expression(place.document, node, place.names, flaws)?;
            Some(Trigger::When { when, held })
        }
        "deadline" => place.deadline(node, flaws),
        "stopped" => place.stopped(node, flaws),
        "absent" => place.absent(node, flaws),
        "count" => place.count(node, flaws),
        "rate" => place.rate(node, flaws),
        "spike" => place.spike(node, flaws),
        "change" => place.change(node, flaws),
        "fence" => place.fence(node, flaws),
        "flatline" => place.flatline(node, flaws),
        _ => place.new_term(node, flaws),
    }
}

impl Place<'_> {
    /// An expression over the entity, when there is one; nothing at all when it is wrong.
    #[allow(clippy::option_option, reason = "left out and wrong are two things")]
    fn perhaps(&self, node: Option<&Node>, flaws: &mut Flaws) -> Option<Option<Expression>> {
        match node {
            Some(node) => expression(self.document, node, self.names, flaws).map(Some),
            None => Some(None),
        }
    }

    fn deadline(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let field = reader.need("field", flaws).and_then(|node| path(node, self.names, flaws));
        let before = reader.take("before");
        let after = reader.take("after");
        let unless = reader.take("unless");
        reader.finish(flaws);
        let unless = self.perhaps(unless, flaws)?;
        let offset = match (before, after) {
            (Some(node), None) => wait(node, flaws).map(Offset::Before),
            (None, Some(node)) => wait(node, flaws).map(Offset::After),
            (None, None) => Some(Offset::After(Duration::ZERO)),
            (Some(_), Some(node)) => {
                flaws.hint(node, "both `before` and `after`", "a deadline has one of them");
                None
            }
        };
        Some(Trigger::Deadline { field: field?, offset: offset?, unless })
    }

    /// Refuses a trigger over positions when the entity has none.
    fn needs_stream(&self, name: &str, node: &Node, flaws: &mut Flaws) -> Option<()> {
        if self.kind.stream.is_some() {
            return Some(());
        }
        let hint = format!("give entity `{}` a stream of positions: `from: {{stream: …}}`", self.kind.name);
        flaws.hint(node, format!("`{name}` needs a stream"), hint);
        None
    }

    /// `of` may repeat what the rule is about.
    fn of_itself(&self, of: Option<&Node>, flaws: &mut Flaws) {
        let Some(of) = of else { return };
        if let Some(text) = of.text(flaws).filter(|text| *text != self.kind.name) {
            flaws.hint(of, format!("the rule is about `{}`, not `{text}`", self.kind.name), "leave `of` out");
        }
    }

    fn stopped(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        self.of_itself(reader.take("of"), flaws);
        let metres = reader.need("metres", flaws).and_then(|node| node.number(1, 100_000, flaws));
        let held = reader.need("for", flaws).and_then(|node| wait(node, flaws));
        let during = reader.take("while");
        let from = reader.take("from");
        reader.finish(flaws);
        self.needs_stream("stopped", node, flaws)?;
        let during = self.perhaps(during, flaws)?;
        let from = match from {
            Some(node) => Some(path(node, self.names, flaws)?),
            None => None,
        };
        Some(Trigger::Stopped { metres: u32::try_from(metres?).ok()?, held: held?, during, from })
    }

    fn absent(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let of = take_of(&mut reader, node, flaws);
        let within = reader.need("within", flaws).and_then(|node| window(node, flaws));
        let during = reader.take("while");
        let source = self.source(of, &mut reader, flaws);
        reader.finish(flaws);
        let during = self.perhaps(during, flaws)?;
        Some(Trigger::Absent { source: source?, within: within?, during })
    }

    fn count(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let of = take_of(&mut reader, node, flaws);
        let at_least = reader.need("at_least", flaws).and_then(|node| count(node, flaws));
        let within = reader.take("within");
        let held = reader.take("for");
        let of_entities = of.and_then(|of| self.entities.get(of.text(&mut Flaws::new(""))?));
        let counted = match of_entities {
            Some(counted) => {
                let within = within.and_then(|node| window(node, flaws));
                let held = held.and_then(|node| wait(node, flaws)).unwrap_or_default();
                self.count_entities(counted, held, within, node, &mut reader, flaws)
            }
            None => {
                if let Some(held) = held {
                    flaws.hint(held, "`for` goes with a count of entities", "write `within`");
                }
                let source = self.source(of, &mut reader, flaws);
                let within = match within {
                    Some(within) => window(within, flaws),
                    None => {
                        let hint = "events are counted over a time; entities need none";
                        flaws.hint(node, "the key `within` is missing", hint);
                        None
                    }
                };
                source.zip(within).map(|(source, within)| Count::Events { source, within })
            }
        };
        reader.finish(flaws);
        Some(Trigger::Count { count: counted?, at_least: at_least? })
    }

    fn count_entities(
        &self,
        counted: &EntityKind,
        held: Duration,
        within: Option<Duration>,
        node: &Node,
        reader: &mut Reader<'_>,
        flaws: &mut Flaws,
    ) -> Option<Count> {
        let names = Names::of(counted, self.entities);
        let filter = match reader.take("where") {
            Some(node) => Some(expression(self.document, node, &names, flaws)?),
            None => None,
        };
        let by = match reader.take("by") {
            Some(node) => self.entity_by(counted, node, flaws)?,
            None => {
                let mut to_us = counted.links.iter().filter(|(_, link)| link.kind == self.kind.name);
                match (to_us.next(), to_us.next()) {
                    _ if counted.name == self.kind.name => By::Itself,
                    (Some((relation, _)), None) => By::Relation(relation.clone()),
                    _ => {
                        let what =
                            format!("it is not clear how `{}` leads to `{}`", counted.name, self.kind.name);
                        flaws.hint(node, what, "name the relation or the field with `by:`");
                        return None;
                    }
                }
            }
        };
        Some(Count::Entities { kind: counted.name.clone(), filter, by, held, within })
    }

    /// A relation of the counted entity that leads to what the rule is about, or the field that holds its id.
    fn entity_by(&self, counted: &EntityKind, node: &Node, flaws: &mut Flaws) -> Option<By> {
        let text = node.text(flaws)?;
        let field = text.strip_prefix(&format!("{}.", counted.name)).unwrap_or(text);
        match counted.links.get(field) {
            Some(link) if link.kind == self.kind.name => return Some(By::Relation(field.to_owned())),
            Some(link) => {
                let what =
                    format!("`{field}` leads to `{}`; the rule is about `{}`", link.kind, self.kind.name);
                flaws.hint(node, what, format!("write `about: {}`, or another relation", link.kind));
                return None;
            }
            None => {}
        }
        if counted.has_field(field) {
            return Some(By::Field(field.to_owned()));
        }
        let known = counted.links.keys().chain(counted.fields.keys()).map(String::as_str);
        let hint = match nearest(field, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a relation or a field".to_owned(),
        };
        flaws.hint(node, format!("entity `{}` has no relation and no field `{field}`", counted.name), hint);
        None
    }

    fn rate(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let of = take_of(&mut reader, node, flaws);
        let above = reader.take("above");
        let below = reader.take("below");
        let window = reader.need("window", flaws).and_then(|node| window(node, flaws));
        let source = self.source(of, &mut reader, flaws);
        reader.finish(flaws);
        let limit = match (above, below) {
            (Some(node), None) => rate(node, flaws).map(Limit::Above),
            (None, Some(node)) => rate(node, flaws).map(Limit::Below),
            _ => {
                flaws.hint(
                    node,
                    "a rate is above or below something",
                    "write `above: 10/1m` or `below: 1/5m`",
                );
                None
            }
        };
        Some(Trigger::Rate { source: source?, limit: limit?, window: window? })
    }

    fn spike(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let of = take_of(&mut reader, node, flaws);
        let length = reader.need("window", flaws).and_then(|node| window(node, flaws));
        let against = reader.take("against");
        let factor = reader.need("factor", flaws).and_then(|node| decimal(node, 1000.0, flaws));
        let at_least = reader.take("at_least").and_then(|node| count(node, flaws)).unwrap_or(1);
        let source = self.source(of, &mut reader, flaws);
        reader.finish(flaws);
        let length = length?;
        let longest = length.saturating_mul(AGAINST_WINDOWS_MAX);
        let against = match against {
            Some(node) => {
                let time = window(node, flaws)?;
                if time < length || time > longest {
                    let what = format!("not between one and {AGAINST_WINDOWS_MAX} times `window`");
                    flaws.hint(node, what, "compare with the time just before, for example `against: 1h`");
                    return None;
                }
                time
            }
            None => length.saturating_mul(6),
        };
        Some(Trigger::Spike { source: source?, window: length, against, factor: factor?, at_least })
    }

    fn change(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let field = reader.need("field", flaws).and_then(|node| self.own_path(node, flaws));
        let by = reader.take("by");
        let directions = [("up", Direction::Up), ("down", Direction::Down), ("any", Direction::Any)];
        let direction = reader.take("direction").and_then(|node| node.one_of(&directions, flaws));
        let times = reader.take("at_least");
        let within = reader.need("within", flaws).and_then(|node| window(node, flaws));
        reader.finish(flaws);
        let moved = match (by, times) {
            (Some(node), None) => {
                let distance = match self.field_type(field.as_ref()?) {
                    Some(FieldType::Time) => node.duration(flaws).map(|time| time.as_secs_f64()),
                    _ => decimal(node, 1e15, flaws),
                };
                distance
                    .map(|distance| Moved::By { distance, direction: direction.unwrap_or(Direction::Any) })
            }
            (None, Some(node)) => count(node, flaws).map(Moved::Times),
            _ => {
                let hint = "write `by:` (a number or a time), or `at_least:` (how often it changed)";
                flaws.hint(node, "it is not clear how much of a change is meant", hint);
                None
            }
        };
        Some(Trigger::Change { field: field?, within: within?, moved: moved? })
    }

    /// A field of what the rule is about itself.
    fn own_path(&self, node: &Node, flaws: &mut Flaws) -> Option<Path> {
        let path = path(node, self.names, flaws)?;
        if path.variable == self.kind.variable {
            return Some(path);
        }
        let hint = format!("watch a field of `{}`, or write the rule about the other", self.kind.variable);
        flaws.hint(node, format!("`{path}` is a field of another entity"), hint);
        None
    }

    fn field_type(&self, path: &Path) -> Option<FieldType> {
        self.kind.fields.get(&path.field).copied()
    }

    fn fence(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        self.of_itself(reader.take("of"), flaws);
        let around = reader.need("around", flaws).and_then(|node| self.around(node, flaws));
        let metres = reader.need("metres", flaws).and_then(|node| node.number(1, 1_000_000, flaws));
        let enter = reader.take("enter");
        let exit = reader.take("exit");
        let dwell = reader.take("dwell");
        reader.finish(flaws);
        self.needs_stream("fence", node, flaws)?;
        let said = [enter, exit, dwell].iter().flatten().count();
        let crossing = match (enter, exit, dwell) {
            (_, _, Some(node)) => window(node, flaws).map(Crossing::Dwell),
            (Some(node), _, _) => yes(node, flaws).map(|()| Crossing::Enter),
            (_, Some(node), _) => yes(node, flaws).map(|()| Crossing::Exit),
            (None, None, None) => None,
        };
        if said != 1 {
            let hint = "write `enter: true`, `exit: true` or `dwell: 10m`";
            flaws.hint(node, "a fence is entered, left or dwelt in", hint);
            return None;
        }
        Some(Trigger::Fence { around: around?, metres: u32::try_from(metres?).ok()?, crossing: crossing? })
    }

    fn around(&self, node: &Node, flaws: &mut Flaws) -> Option<Around> {
        let text = node.text(flaws)?;
        match self.kind.links.get(text) {
            Some(link) if link.is_many => {
                flaws.hint(node, format!("`{text}` is a list"), "a circle is around one entity");
                None
            }
            Some(_) => Some(Around::Relation(text.to_owned())),
            None if text.contains('.') => path(node, self.names, flaws).map(Around::Field),
            None => {
                let hint = match nearest(text, self.kind.links.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name a relation, or a field that holds a position".to_owned(),
                };
                flaws.hint(node, format!("`{}` has no relation `{text}`", self.kind.name), hint);
                None
            }
        }
    }

    fn flatline(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let of = take_of(&mut reader, node, flaws);
        let within = reader.need("within", flaws).and_then(|node| window(node, flaws));
        let below = reader.take("below").and_then(|node| count(node, flaws)).unwrap_or(1);
        let source = self.source(of, &mut reader, flaws);
        reader.finish(flaws);
        Some(Trigger::Flatline { source: source?, within: within?, below })
    }

    fn new_term(&self, node: &Node, flaws: &mut Flaws) -> Option<Trigger> {
        let mut reader = Reader::map(node, flaws)?;
        let field = reader.need("field", flaws).and_then(|node| self.own_path(node, flaws));
        let remembered = reader.need("ttl", flaws).and_then(|node| window(node, flaws));
        let shown = reader.take("for").and_then(|node| window(node, flaws)).unwrap_or(SHOWN);
        let most = reader.take("max").and_then(|node| node.number(1, TERMS_MAX, flaws));
        reader.finish(flaws);
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(TERMS);
        Some(Trigger::NewTerm { field: field?, source: None, remembered: remembered?, shown, most })
    }

    /// Which events are meant: the entity's own when nothing else is said.
    fn source(&self, of: Option<&Node>, reader: &mut Reader<'_>, flaws: &mut Flaws) -> Option<Source> {
        let topic_node = reader.take("topic");
        let filter = reader.take("where");
        let by = reader.take("by");
        let named = topic_node.and_then(|node| super::entity::topic(node, flaws));
        if topic_node.is_some() && named.is_none() {
            return None;
        }
        let (topic, kind) = match (of, named) {
            (None, Some(topic)) => (topic, None),
            (Some(of), Some(topic)) => (topic, Some(of.text(flaws)?.to_owned())),
            (Some(of), None) => self.known_event(of, flaws)?,
            (None, None) => match self.kind.stream.as_ref().or(self.kind.topic.as_ref()) {
                Some(topic) => (topic.clone(), None),
                None => {
                    let what = "it is not clear which events are meant";
                    flaws.hint(reader.node(), what, "write `of:` (an event's type) or `topic:`");
                    return None;
                }
            },
        };
        let by = match by {
            Some(node) => self.event_by(&topic, node, flaws)?,
            None => self.event_by_itself(&topic),
        };
        let filter = match filter {
            Some(node) => Some(expression(self.document, node, &Names::event(), flaws)?),
            None => None,
        };
        Some(Source { topic, kind, filter, by })
    }

    /// A topic that entities come from, or the type of an event on one.
    fn known_event(&self, of: &Node, flaws: &mut Flaws) -> Option<(TopicName, Option<String>)> {
        let text = of.text(flaws)?;
        let topics = || self.entities.values().flat_map(|kind| kind.topic.iter().chain(&kind.stream));
        if let Some(topic) = topics().find(|topic| topic.as_str() == text) {
            return Some((topic.clone(), None));
        }
        let is_of = |topic: &&TopicName| {
            text.strip_prefix(topic.as_str()).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
        };
        if let Some(topic) = topics().filter(is_of).max_by_key(|topic| topic.as_str().len()) {
            return Some((topic.clone(), Some(text.to_owned())));
        }
        let known = topics().map(TopicName::as_str).chain(self.entities.keys().map(String::as_str));
        let hint = match nearest(text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name its topic beside it: `topic: …`".to_owned(),
        };
        flaws.hint(of, format!("no entity, topic or type of event is called `{text}`"), hint);
        None
    }

    /// The entity kinds that a topic's events are about.
    fn of_topic(&self, topic: &TopicName) -> Option<&EntityKind> {
        let is_of = |kind: &&EntityKind| {
            kind.variable == kind.name
                && (kind.topic.as_ref() == Some(topic) || kind.stream.as_ref() == Some(topic))
        };
        self.entities.values().find(is_of)
    }

    /// Events of the entity's own topics are its own; others lead to it by the one relation that does.
    fn event_by_itself(&self, topic: &TopicName) -> By {
        let Some(of) = self.of_topic(topic).filter(|of| of.name != self.kind.name) else { return By::Itself };
        let mut to_us = of.links.iter().filter(|(_, link)| link.kind == self.kind.name);
        match (to_us.next(), to_us.next()) {
            (Some((relation, _)), None) => By::Relation(relation.clone()),
            _ => By::Itself,
        }
    }

    /// A relation of the entity that the event is about, or a member of its data.
    fn event_by(&self, topic: &TopicName, node: &Node, flaws: &mut Flaws) -> Option<By> {
        let text = node.text(flaws)?;
        if text == self.kind.name && self.of_topic(topic).is_some_and(|of| of.name == text) {
            return Some(By::Itself);
        }
        let field = text.strip_prefix("event.").unwrap_or(text);
        match self.of_topic(topic).and_then(|of| of.links.get(field)) {
            Some(link) if link.kind == self.kind.name => Some(By::Relation(field.to_owned())),
            Some(link) => {
                let what =
                    format!("`{field}` leads to `{}`; the rule is about `{}`", link.kind, self.kind.name);
                flaws.hint(node, what, format!("write `about: {}`, or another relation", link.kind));
                None
            }
            None => Some(By::Field(field.to_owned())),
        }
    }
}

/// What is counted or missed: `of`, or by its other names.
fn take_of<'n>(reader: &mut Reader<'n>, node: &Node, flaws: &mut Flaws) -> Option<&'n Node> {
    let named = ["of", "event", "stream"].map(|key| reader.take(key));
    let mut present = named.into_iter().flatten();
    let first = present.next();
    if present.next().is_some() {
        flaws.hint(node, "more than one of `of`, `event` and `stream`", "they name the same; leave one");
    }
    first
}

/// `10/1m`, in events a second.
fn rate(node: &Node, flaws: &mut Flaws) -> Option<f64> {
    let text = node.text(flaws)?;
    let parts = text.split_once('/').and_then(|(count, time)| {
        let time = match time.trim() {
            unit @ ("s" | "m" | "h" | "d") => hob_core::parse_duration(&format!("1{unit}")).ok()?,
            time => hob_core::parse_duration(time).ok()?,
        };
        let count: f64 = count.trim().parse().ok()?;
        let rate = count / time.as_secs_f64();
        (rate.is_finite() && rate > 0.0).then_some(rate)
    });
    if parts.is_none() {
        flaws.hint(node, format!("`{text}` is no rate"), "write a number and a time, for example 10/1m");
    }
    parts
}

fn yes(node: &Node, flaws: &mut Flaws) -> Option<()> {
    node.one_of(&[("true", ())], flaws)
}
