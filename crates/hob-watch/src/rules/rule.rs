//! `rule:` documents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Digest, Name, nearest};
use hob_wire::yaml::{Flaws, Node, Reader};

use super::check::{Names, expression, path, template};
use super::{Document, said};
use crate::expression::Expression;
use crate::model::{EntityKind, Offset, Path, Rule, Trigger, Urgency};
use crate::template::Template;

/// For how long an issue whose condition comes back is the same issue, when the rule does not say.
const REOPEN_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Base priority when the rule does not say.
const PRIORITY: u8 = 50;
/// Longest time that a rule may wait, keep or look ahead.
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

const LATER: &[&str] = &[
    "absent", "actions", "budget", "change", "count", "fence", "flatline", "mode", "new_term", "notify",
    "query", "rate", "sequence", "spike", "tests",
];

struct Issue {
    title: Option<Template>,
    key: Option<Template>,
    priority: u8,
    urgency: Option<Urgency>,
    affects: Vec<String>,
    reopen_within: Duration,
    expire: Option<Duration>,
}

pub(super) fn read(
    document: Document<'_>,
    entities: &BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Option<Rule> {
    let before = flaws.found.len();
    let mut reader = Reader::map(document.node, flaws)?;
    reader.later(LATER);
    let name: Option<Name> = reader.take("rule").and_then(|node| node.parse(flaws));
    let kind = reader.need("about", flaws).and_then(|node| about(node, entities, flaws));
    let when = reader.take("when");
    let held = reader.take("for");
    let deadline = reader.take("deadline");
    let stopped = reader.take("stopped");
    let gate = reader.take("gate");
    let keep = reader.take("keep").and_then(|node| wait(node, flaws)).unwrap_or_default();
    let issue = reader.need("issue", flaws);
    reader.finish(flaws);
    let kind = kind?;
    let names = Names::of(kind, entities);
    let trigger = trigger(document, [when, held, deadline, stopped], kind, &names, flaws);
    let gate = gate.and_then(|node| expression(document, node, &names, flaws));
    let issue = read_issue(document, issue?, kind, &names, flaws);
    if flaws.found.len() > before {
        return None;
    }
    let (trigger, issue) = (trigger?, issue?);
    let reads = reads(&trigger, gate.as_ref());
    Some(Rule {
        name: name?.to_string(),
        file: flaws.file.clone(),
        about: kind.name.clone(),
        trigger,
        gate,
        keep,
        title: issue.title?,
        key: issue.key,
        priority: issue.priority,
        urgency: issue.urgency,
        affects: issue.affects,
        reopen_within: issue.reopen_within,
        expire: issue.expire,
        reads,
        digest: Digest::of(said(document.node).as_bytes()),
    })
}

fn about<'a>(
    node: &Node,
    entities: &'a BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Option<&'a EntityKind> {
    let text = node.text(flaws)?;
    let kind = entities.get(text);
    if kind.is_none() {
        let hint = match nearest(text, entities.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it with `entity: {text}`"),
        };
        flaws.hint(node, format!("there is no entity `{text}`"), hint);
    }
    kind
}

fn wait(node: &Node, flaws: &mut Flaws) -> Option<Duration> {
    let duration = node.duration(flaws)?;
    if duration > WAIT_MAX {
        flaws.at(node, "longer than 30 days");
        return None;
    }
    Some(duration)
}

fn trigger(
    document: Document<'_>,
    [when, held, deadline, stopped]: [Option<&Node>; 4],
    kind: &EntityKind,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Trigger> {
    let triggers = [("when", when), ("deadline", deadline), ("stopped", stopped)];
    let mut present = triggers.iter().filter_map(|(name, node)| node.map(|node| (*name, node)));
    let Some((first, node)) = present.next() else {
        let hint = "write one of `when`, `deadline`, `stopped`";
        flaws.hint(document.node, "the rule does not say when", hint);
        return None;
    };
    if let Some((second, other)) = present.next() {
        flaws.hint(
            other,
            format!("`{second}` stands beside `{first}`"),
            "a rule has one of them; write two rules",
        );
    }
    if let Some(held) = held.filter(|_| first != "when") {
        flaws.hint(held, format!("`for` goes with `when`, not with `{first}`"), "leave it out");
    }
    match first {
        "when" => {
            let held = held.and_then(|node| wait(node, flaws)).unwrap_or_default();
            let when = expression(document, node, names, flaws)?;
            Some(Trigger::When { when, held })
        }
        "deadline" => read_deadline(document, node, names, flaws),
        _ => read_stopped(document, node, kind, names, flaws),
    }
}

fn read_deadline(
    document: Document<'_>,
    node: &Node,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Trigger> {
    let mut reader = Reader::map(node, flaws)?;
    let field = reader.need("field", flaws).and_then(|node| path(node, names, flaws));
    let before = reader.take("before");
    let after = reader.take("after");
    let unless = reader.take("unless");
    reader.finish(flaws);
    let unless = match unless {
        Some(node) => Some(expression(document, node, names, flaws)?),
        None => None,
    };
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

fn read_stopped(
    document: Document<'_>,
    node: &Node,
    kind: &EntityKind,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Trigger> {
    let mut reader = Reader::map(node, flaws)?;
    if let Some(of) = reader.take("of") {
        let text = of.text(flaws)?;
        if text != kind.name {
            flaws.hint(of, format!("the rule is about `{}`, not `{text}`", kind.name), "leave `of` out");
        }
    }
    let metres = reader.need("metres", flaws).and_then(|node| node.number(1, 100_000, flaws));
    let held = reader.need("for", flaws).and_then(|node| wait(node, flaws));
    let during = reader.take("while");
    let from = reader.take("from");
    reader.finish(flaws);
    if kind.stream.is_none() {
        let hint = format!("give entity `{}` a stream of positions: `from: {{stream: …}}`", kind.name);
        flaws.hint(node, "`stopped` needs a stream", hint);
        return None;
    }
    let during = match during {
        Some(node) => Some(expression(document, node, names, flaws)?),
        None => None,
    };
    let from = match from {
        Some(node) => Some(path(node, names, flaws)?),
        None => None,
    };
    Some(Trigger::Stopped { metres: u32::try_from(metres?).ok()?, held: held?, during, from })
}

fn read_issue(
    document: Document<'_>,
    node: &Node,
    kind: &EntityKind,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Issue> {
    let mut reader = Reader::map(node, flaws)?;
    reader.later(&["parent", "runbook", "at_least", "verify"]);
    let title = reader.need("title", flaws).and_then(|node| template(document, node, names, flaws));
    let key = reader.take("key").and_then(|node| template(document, node, names, flaws));
    let priority = reader.take("priority").and_then(|node| node.number(0, 100, flaws));
    let urgency = reader.take("urgency").and_then(|node| read_urgency(node, names, flaws));
    let affects = reader.take("affects").map(|node| read_affects(node, kind, flaws)).unwrap_or_default();
    let reopen_within = reader.take("reopen_within").and_then(|node| wait(node, flaws));
    let expire = reader.take("expire").and_then(|node| wait(node, flaws));
    reader.finish(flaws);
    Some(Issue {
        title,
        key,
        priority: priority.and_then(|number| u8::try_from(number).ok()).unwrap_or(PRIORITY),
        urgency,
        affects,
        reopen_within: reopen_within.unwrap_or(REOPEN_WITHIN),
        expire,
    })
}

fn read_urgency(node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Option<Urgency> {
    let mut reader = Reader::map(node, flaws)?;
    let field = reader.need("field", flaws).and_then(|node| path(node, names, flaws));
    let within = reader.need("within", flaws).and_then(|node| wait(node, flaws));
    reader.finish(flaws);
    let within = within?;
    if within.is_zero() {
        flaws.at(node, "`within` is no time at all");
        return None;
    }
    Some(Urgency { field: field?, within })
}

/// Link relations of the entity, one or a list. They need not be declared in `links`: a rule does not read behind them.
fn read_affects(node: &Node, kind: &EntityKind, flaws: &mut Flaws) -> Vec<String> {
    let texts = match node.kind() {
        "a list" => node.texts(flaws),
        _ => node.text(flaws).map(str::to_owned).into_iter().collect(),
    };
    for text in &texts {
        if text.contains('.') || text.contains('{') || *text == kind.name {
            let hint = "write the relation alone, for example `orders`";
            flaws.hint(node, format!("`{text}` is no link relation of `{}`", kind.name), hint);
        }
    }
    texts
}

fn reads(trigger: &Trigger, gate: Option<&Expression>) -> BTreeMap<String, BTreeSet<Option<String>>> {
    let mut reads: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
    let mut expressions: Vec<&Expression> = gate.into_iter().collect();
    let mut paths: Vec<&Path> = Vec::new();
    match trigger {
        Trigger::When { when, .. } => expressions.push(when),
        Trigger::Deadline { field, unless, .. } => {
            paths.push(field);
            expressions.extend(unless);
        }
        Trigger::Stopped { during, from, .. } => {
            paths.extend(from);
            expressions.extend(during);
        }
    }
    for path in paths {
        reads.entry(path.variable.clone()).or_default().insert(Some(path.field.clone()));
    }
    for read in expressions.into_iter().flat_map(Expression::reads) {
        reads.entry(read.variable.clone()).or_default().insert(read.field.clone());
    }
    reads
}
