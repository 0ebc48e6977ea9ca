//! `rule:` documents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Digest, Name, TopicName, nearest};
use hob_wire::yaml::{Flaws, Node, Reader};

use super::action::{read_actions, read_budget};
use super::case::read_cases;
use super::check::{Names, expression};
use super::issue::{Issue, read_issue};
use super::trigger::{Nodes, Place, read_trigger};
use super::{Document, said};
use crate::expression::{EVENT, Expression};
use crate::model::{Around, By, Count, EntityKind, Mode, Path, Rule, Trigger};

/// Longest time that a rule may wait, keep or look ahead.
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn read(
    document: Document<'_>,
    entities: &BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Option<Rule> {
    let before = flaws.found.len();
    let mut reader = Reader::map(document.node, flaws)?;
    reader.later(&["notify", "query", "sequence"]);
    let name: Option<Name> = reader.take("rule").and_then(|node| node.parse(flaws));
    let kind = reader.need("about", flaws).and_then(|node| about(node, entities, flaws));
    let nodes = Nodes::take(&mut reader);
    let gate = reader.take("gate");
    let keep = reader.take("keep").and_then(|node| wait(node, flaws)).unwrap_or_default();
    let issue = reader.need("issue", flaws);
    let actions = reader.take("actions");
    let modes = [("enabled", Mode::Enabled), ("shadow", Mode::Shadow), ("disabled", Mode::Disabled)];
    let mode = reader.take("mode").and_then(|node| node.one_of(&modes, flaws)).unwrap_or_default();
    let budget = reader.take("budget").and_then(|node| read_budget(node, flaws)).unwrap_or_default();
    let cases = reader.take("tests");
    reader.finish(flaws);
    let kind = kind?;
    let names = Names::of(kind, entities);
    let trigger = read_trigger(nodes, &Place { document, kind, names: &names, entities }, flaws);
    let gate = gate.and_then(|node| expression(document, node, &names, flaws));
    let issue = read_issue(document, issue?, kind, &names, flaws);
    let actions = actions.map(|node| read_actions(document, node, &names, flaws)).unwrap_or_default();
    let cases = cases.map(|node| read_cases(node, kind, entities, flaws)).unwrap_or_default();
    if flaws.found.len() > before {
        return None;
    }
    let (trigger, issue) = (trigger?, issue?);
    let reads = reads(&trigger, gate.as_ref());
    let Issue {
        title,
        key,
        parents,
        priority,
        urgency,
        affects,
        at_least,
        verify,
        runbook,
        reopen_within,
        expire,
    } = issue;
    Some(Rule {
        name: name?.to_string(),
        file: flaws.file.clone(),
        about: kind.name.clone(),
        variable: kind.variable.clone(),
        gate,
        keep,
        title: title?,
        key,
        priority,
        urgency,
        affects,
        parents,
        at_least,
        verify,
        runbook,
        actions,
        mode,
        budget,
        cases,
        reopen_within,
        expire,
        member_reads: member_reads(&trigger),
        reads,
        digest: Digest::of(said(document.node).as_bytes()),
        trigger,
    })
}

/// The topic that a rule is about, and the member of its records by which it tells them apart.
fn about_topic(node: &Node) -> Option<(TopicName, Option<String>)> {
    let mut ignored = Flaws::new("");
    let text = |key| node.get(key).and_then(|node: &Node| node.text(&mut Flaws::new("")));
    match node.kind() {
        "a map" => Some((text("topic")?.parse().ok()?, text("by").map(str::to_owned))),
        _ => Some((node.text(&mut ignored)?.parse().ok()?, None)),
    }
}

/// What a rule about a topic is about: its records as one, or those with the same value of a member.
fn topic_kind(topic: &TopicName, by: Option<&str>) -> String {
    by.map_or_else(|| format!("{topic} as one"), |by| format!("{topic} by {by}"))
}

/// Declares what a rule is about when that is a topic.
pub(super) fn note_topic(document: Document<'_>, entities: &mut BTreeMap<String, EntityKind>) {
    let mut ignored = Flaws::new("");
    let Some(node) = document.node.get("about") else { return };
    let is_entity = node.text(&mut ignored).is_some_and(|text| entities.contains_key(text));
    let Some((topic, by)) = about_topic(node).filter(|_| !is_entity) else { return };
    let is_known =
        |kind: &EntityKind| kind.topic.as_ref() == Some(&topic) || kind.stream.as_ref() == Some(&topic);
    // A word without a dot that nobody declared is rather a mistake than a topic.
    let is_meant = node.kind() == "a map" || topic.as_str().contains('.') || entities.values().any(is_known);
    if !is_meant || topic.as_str().starts_with("hob.") {
        return;
    }
    let name = topic_kind(&topic, by.as_deref());
    let kind = EntityKind {
        name: name.clone(),
        variable: EVENT.to_owned(),
        topic: None,
        stream: Some(topic),
        key: by,
        from_fields: Vec::new(),
        fields: BTreeMap::new(),
        links: BTreeMap::new(),
        derive: Vec::new(),
        outcome: BTreeMap::new(),
        forget: None,
        label: None,
        figures: Vec::new(),
    };
    entities.entry(name).or_insert(kind);
}

/// An entity kind, or a topic: `payments.events`, or `{topic: payments.events, by: shop}`.
fn about<'a>(
    node: &Node,
    entities: &'a BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) -> Option<&'a EntityKind> {
    if node.kind() == "a map" {
        let mut reader = Reader::map(node, flaws)?;
        let topic = reader.need("topic", flaws).and_then(|node| super::entity::topic(node, flaws));
        let by = reader.take("by").and_then(|node| node.text(flaws));
        reader.finish(flaws);
        return entities.get(&topic_kind(&topic?, by));
    }
    let text = node.text(flaws)?;
    let topic = || entities.get(&topic_kind(&text.parse().ok()?, None));
    let kind = entities.get(text).or_else(topic);
    if kind.is_none() {
        let declared = entities.values().filter(|kind| kind.variable == kind.name);
        let hint = match nearest(text, declared.map(|kind| kind.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it with `entity: {text}`"),
        };
        flaws.hint(node, format!("there is no entity `{text}`"), hint);
    }
    kind
}

pub(super) fn wait(node: &Node, flaws: &mut Flaws) -> Option<Duration> {
    let duration = node.duration(flaws)?;
    if duration > WAIT_MAX {
        flaws.at(node, "longer than 30 days");
        return None;
    }
    Some(duration)
}

/// A wait that is some time at all.
pub(super) fn window(node: &Node, flaws: &mut Flaws) -> Option<Duration> {
    let duration = wait(node, flaws)?;
    if duration < Duration::from_secs(1) {
        flaws.at(node, "shorter than a second");
        return None;
    }
    Some(duration)
}

type Reads = BTreeMap<String, BTreeSet<Option<String>>>;

fn add_reads(reads: &mut Reads, expression: &Expression) {
    for read in expression.reads() {
        reads.entry(read.variable.clone()).or_default().insert(read.field.clone());
    }
}

/// What the rule reads of the entity that it is about, and of what that links to.
fn reads(trigger: &Trigger, gate: Option<&Expression>) -> Reads {
    let mut reads = Reads::new();
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
        Trigger::Absent { during, .. } => expressions.extend(during),
        Trigger::Change { field, .. } | Trigger::NewTerm { field, .. } => paths.push(field),
        Trigger::Fence { around: Around::Field(path), .. } => paths.push(path),
        Trigger::Fence { around: Around::Relation(relation), .. } => {
            reads
                .entry(relation.clone())
                .or_default()
                .extend(["x", "y", "lat", "lon", "lng"].map(|field| Some(field.to_owned())));
        }
        Trigger::Count { .. } | Trigger::Rate { .. } | Trigger::Spike { .. } | Trigger::Flatline { .. } => {}
    }
    for path in paths {
        reads.entry(path.variable.clone()).or_default().insert(Some(path.field.clone()));
    }
    expressions.into_iter().for_each(|expression| add_reads(&mut reads, expression));
    reads
}

/// What a rule that counts entities reads of each, and of what that links to.
pub(super) fn member_reads(trigger: &Trigger) -> Reads {
    let mut reads = Reads::new();
    if let Trigger::Count { count: Count::Entities { kind, filter, by, .. }, .. } = trigger {
        reads.entry(kind.clone()).or_default();
        if let By::Field(field) = by {
            reads.entry(kind.clone()).or_default().insert(Some(field.clone()));
        }
        filter.iter().for_each(|filter| add_reads(&mut reads, filter));
    }
    reads
}
