//! `issue:` of a rule: what it is called, who adopts it, how urgent it is.

use std::time::Duration;

use hob_wire::yaml::{Flaws, Node, Reader};

use super::Document;
use super::action::quota_of;
use super::check::{Names, path, template};
use super::rule::{wait, window};
use crate::model::{EntityKind, Quota, Urgency};
use crate::template::Template;

/// For how long an issue whose condition comes back is the same issue, when the rule does not say.
const REOPEN_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Base priority when the rule does not say.
const PRIORITY: u8 = 50;
/// Keys of possible parents that one rule may name.
const PARENTS_MAX: usize = 10;

pub(super) struct Issue {
    pub(super) title: Option<Template>,
    pub(super) key: Option<Template>,
    pub(super) parents: Vec<Template>,
    pub(super) priority: u8,
    pub(super) urgency: Option<Urgency>,
    pub(super) affects: Vec<String>,
    pub(super) at_least: Option<Quota>,
    pub(super) verify: Option<Duration>,
    pub(super) runbook: Option<String>,
    pub(super) reopen_within: Duration,
    pub(super) expire: Option<Duration>,
}

pub(super) fn read_issue(
    document: Document<'_>,
    node: &Node,
    kind: &EntityKind,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Issue> {
    let mut reader = Reader::map(node, flaws)?;
    let title = reader.need("title", flaws).and_then(|node| template(document, node, names, flaws));
    let key = reader.take("key").and_then(|node| template(document, node, names, flaws));
    let parents = reader.take("parent").map(|node| read_parents(document, node, names, flaws));
    let priority = reader.take("priority").and_then(|node| node.number(0, 100, flaws));
    let urgency = reader.take("urgency").and_then(|node| read_urgency(node, names, flaws));
    let affects = reader.take("affects").map(|node| read_affects(node, kind, flaws)).unwrap_or_default();
    let at_least = reader.take("at_least").and_then(|node| quota_of(node, flaws));
    let verify = reader.take("verify").and_then(|node| window(node, flaws));
    let runbook = reader.take("runbook").and_then(|node| node.text(flaws)).map(str::to_owned);
    let reopen_within = reader.take("reopen_within").and_then(|node| wait(node, flaws));
    let expire = reader.take("expire").and_then(|node| wait(node, flaws));
    reader.finish(flaws);
    Some(Issue {
        title,
        key,
        parents: parents.unwrap_or_default(),
        priority: priority.and_then(|number| u8::try_from(number).ok()).unwrap_or(PRIORITY),
        urgency,
        affects,
        at_least,
        verify,
        runbook,
        reopen_within: reopen_within.unwrap_or(REOPEN_WITHIN),
        expire,
    })
}

/// One key or a list of them.
fn read_parents(document: Document<'_>, node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Vec<Template> {
    let nodes: Vec<&Node> = match node.kind() {
        "a list" => node.list(flaws).iter().collect(),
        _ => vec![node],
    };
    if nodes.len() > PARENTS_MAX {
        flaws.at(node, format!("{} parents; at most {PARENTS_MAX} are read", nodes.len()));
    }
    nodes.into_iter().filter_map(|node| template(document, node, names, flaws)).collect()
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
