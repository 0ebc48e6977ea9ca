//! `tests:` of a rule.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{TopicName, nearest};
use hob_wire::yaml::{Flaws, Node, Reader};
use serde_json::{Map, Value as Json};

use super::action::json;
use crate::model::{Case, EntityKind, Given, Happening, Step};

/// Tests of one rule.
const CASES_MAX: usize = 50;
/// Things that happen in one test.
const STEPS_MAX: usize = 500;
/// How long the day of a test may be.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);
/// The id of the entity that a test does not name.
const ID: &str = "1";

const TRANSITIONS: [&str; 4] = ["opened", "resolved", "reopened", "adopted"];

pub(super) fn read_cases(
    node: &Node,
    kind: &EntityKind,
    entities: &BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Vec<Case> {
    let items = node.list(flaws);
    if items.len() > CASES_MAX {
        flaws.at(node, format!("{} tests; at most {CASES_MAX} are read", items.len()));
    }
    let read = |(index, item)| read_case(index + 1, item, kind, entities, flaws);
    items.iter().enumerate().filter_map(read).collect()
}

fn read_case(
    number: usize,
    node: &Node,
    kind: &EntityKind,
    entities: &BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Option<Case> {
    let mut reader = Reader::map(node, flaws)?;
    let name = reader.take("name").and_then(|node| node.text(flaws)).map(str::to_owned);
    let given = reader.take("given");
    let at = reader.need("at", flaws);
    let expected = reader.need("expect", flaws);
    reader.finish(flaws);
    let (mut steps, mut until) = (Vec::new(), Duration::ZERO);
    if let Some(node) = given {
        read_step(Duration::ZERO, node, kind, entities, &mut steps, flaws);
    }
    for (time, node) in at.map(|node| node.entries(flaws)).unwrap_or_default() {
        let Some(at) = time.duration(flaws) else { continue };
        if at > LENGTH_MAX {
            flaws.at(time, "later than 24 hours");
            continue;
        }
        until = until.max(at);
        read_step(at, node, kind, entities, &mut steps, flaws);
    }
    if steps.len() > STEPS_MAX {
        flaws.at(node, format!("{} steps; at most {STEPS_MAX} are read", steps.len()));
    }
    steps.sort_by_key(|step| step.at);
    let expected = expected?;
    let expect = read_expected(expected, flaws)?;
    let name = name.unwrap_or_else(|| format!("test {number}"));
    Some(Case { name, until, steps, expect, line: expected.line, column: expected.column })
}

/// `ping(51.5, -0.1)` of the entity itself, or a map of what is seen of several.
fn read_step(
    at: Duration,
    node: &Node,
    kind: &EntityKind,
    entities: &BTreeMap<String, EntityKind>,
    steps: &mut Vec<Step>,
    flaws: &mut Flaws,
) {
    if node.kind() != "a map" {
        if let Some(given) = word(node, flaws) {
            steps.push(Step { at, entity: Some((kind.name.clone(), ID.to_owned())), given });
        }
        return;
    }
    for (what, value) in node.entries(flaws) {
        let Some(text) = what.text(flaws) else { continue };
        let (name, id) = text.split_once('/').unwrap_or((text, ID));
        let given = match entities.get(name).filter(|kind| kind.variable == kind.name) {
            Some(of) if value.kind() == "a map" => {
                fields(value, of, flaws).map(|given| (Some((name.to_owned(), id.to_owned())), given))
            }
            Some(_) => word(value, flaws).map(|given| (Some((name.to_owned(), id.to_owned())), given)),
            None => record(what, text, value, entities, flaws).map(|given| (None, given)),
        };
        steps.extend(given.map(|(entity, given)| Step { at, entity, given }));
    }
}

fn record(
    what: &Node,
    text: &str,
    value: &Node,
    entities: &BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Option<Given> {
    let topics = || entities.values().filter_map(|kind| kind.stream.as_ref());
    let topic: Option<&TopicName> = topics().find(|topic| topic.as_str() == text);
    let Some(topic) = topic else {
        let known = entities.keys().map(String::as_str).chain(topics().map(TopicName::as_str));
        let hint = match nearest(text.split('/').next().unwrap_or(text), known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an entity and an id, for example order/o1".to_owned(),
        };
        flaws.hint(what, format!("there is no entity and no stream `{text}`"), hint);
        return None;
    };
    match json(value) {
        Json::Object(data) => Some(Given::Record { topic: topic.clone(), data }),
        _ => {
            flaws.at(value, "expected a map: the record's data");
            None
        }
    }
}

/// The fields of an entity; `links` are its relations: `{rider: rider/r1, orders: [order/o1]}`.
fn fields(node: &Node, kind: &EntityKind, flaws: &mut Flaws) -> Option<Given> {
    if kind.topic.is_none() && kind.stream.is_none() {
        let hint = "give the entity that has it in a field";
        flaws.hint(node, format!("`{}` is the value of a field", kind.name), hint);
    }
    let mut fields = Map::new();
    for (key, value) in node.entries(flaws) {
        let name = key.text(flaws)?;
        let derived = kind.derived(name).is_some();
        if name != "links" && (!kind.has_field(name) || derived) {
            let hint = match nearest(name, kind.fields.keys().map(String::as_str)) {
                _ if derived => "it is worked out; give what it is worked out from".to_owned(),
                Some(near) => format!("did you mean `{near}`?"),
                None => "declare it in `fields`".to_owned(),
            };
            flaws.hint(key, format!("entity `{}` has no field `{name}`", kind.name), hint);
        }
        fields.insert(name.to_owned(), json(value));
    }
    Some(Given::Fields(fields))
}

fn word(node: &Node, flaws: &mut Flaws) -> Option<Given> {
    let text = node.text(flaws)?;
    match text {
        "gone" => return Some(Given::Gone),
        "failed" => return Some(Given::Failed),
        _ => {}
    }
    if let Some(inside) = text.strip_prefix("ping(").and_then(|rest| rest.strip_suffix(')')) {
        let given = position(inside);
        if given.is_none() {
            let hint = "write ping(51.50, -0.10) for degrees, or ping(30 m, 0 m) for metres";
            flaws.hint(node, format!("`{text}` is no position"), hint);
        }
        return given.map(Given::Position);
    }
    if text.contains('.') && !text.contains(' ') && !text.contains('(') {
        return Some(Given::Event(text.to_owned()));
    }
    let hint = "write fields in braces, `gone`, `failed`, `ping(…)`, or the type of an event";
    flaws.hint(node, format!("`{text}` is nothing that can happen"), hint);
    None
}

fn position(inside: &str) -> Option<Map<String, Json>> {
    let (first, second) = inside.split_once(',')?;
    let metres = |text: &str| text.trim().strip_suffix('m').and_then(|text| text.trim().parse::<f64>().ok());
    let degrees = |text: &str| text.trim().parse::<f64>().ok();
    let pair = |names: [&str; 2], values: (f64, f64)| {
        let number = |value: f64| Json::from(value);
        Map::from_iter([(names[0].to_owned(), number(values.0)), (names[1].to_owned(), number(values.1))])
    };
    match (metres(first).zip(metres(second)), degrees(first).zip(degrees(second))) {
        (Some(values), _) => Some(pair(["x", "y"], values)),
        (None, Some(values)) => Some(pair(["lat", "lon"], values)),
        (None, None) => None,
    }
}

/// `nothing`, `opened at 5m`, or a list of such.
fn read_expected(node: &Node, flaws: &mut Flaws) -> Option<Vec<Happening>> {
    let nodes: Vec<&Node> = match node.kind() {
        "a list" => node.list(flaws).iter().collect(),
        _ if node.text(flaws)? == "nothing" => return Some(Vec::new()),
        _ => vec![node],
    };
    let mut happenings = Vec::new();
    for node in nodes {
        let text = node.text(flaws)?;
        let parts = text.split_once(" at ").and_then(|(transition, at)| {
            let at = hob_core::parse_duration(at.trim()).ok()?;
            TRANSITIONS.contains(&transition.trim()).then(|| (transition.trim().to_owned(), at))
        });
        match parts {
            Some((transition, at)) => {
                happenings.push(Happening { transition, at, line: node.line, column: node.column });
            }
            None => {
                let hint = "write `opened at 5m`, `resolved at 1h`, a list of these, or `nothing`";
                flaws.hint(node, format!("`{text}` is nothing to expect"), hint);
            }
        }
    }
    Some(happenings)
}
