//! Rule files: YAML documents told apart by their top key, read and checked as one, with every flaw in its place.
//!
//! Nothing is taken when anything is wrong. Keys that later versions will know are refused by name, never ignored.

mod action;
mod case;
mod check;
mod entity;
mod issue;
mod rule;
mod trigger;

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_core::Digest;
use hob_wire::yaml::{self, Flaws, Node, Value};
use hob_wire::{FileText, Flaw};

use crate::expression::on_a_large_stack;
use crate::model::{By, Count, EntityKind, Link, Rule, Rules, Trigger};
use crate::plan::Plan;

/// Rules and entities that one platform may have.
pub(crate) const DOCUMENTS_MAX: usize = 1000;

/// One document of a rule file, and the file's text for places within expressions.
#[derive(Clone, Copy)]
struct Document<'a> {
    node: &'a Node,
    text: &'a str,
}

/// Reads and checks all rule files; every flaw of every file when there is one.
pub fn compile(files: &[FileText]) -> Result<Rules, Vec<Flaw>> {
    on_a_large_stack(|| compile_here(files))
}

fn compile_here(files: &[FileText]) -> Result<Rules, Vec<Flaw>> {
    let mut found = Vec::new();
    let mut parsed = Vec::new();
    for file in files {
        match yaml::parse_documents(&file.file, &file.text) {
            Ok(documents) => parsed.push((file, documents)),
            Err(flaw) => found.push(flaw),
        }
    }
    let documents: Vec<(&FileText, Document<'_>)> = parsed
        .iter()
        .flat_map(|(file, nodes)| nodes.iter().map(move |node| (*file, Document { node, text: &file.text })))
        .collect();
    if documents.len() > DOCUMENTS_MAX {
        let what = format!("{} entities and rules; at most {DOCUMENTS_MAX} are read", documents.len());
        found.push(Flaw { file: documents[0].0.file.clone(), line: 1, column: 1, what, hint: None });
        return Err(found);
    }
    let mut entities = read_entities(&documents, &mut found);
    let mut rules = read_rules(&documents, &mut entities, &mut found);
    link_counted(&mut rules, &mut entities);
    if found.is_empty() { Ok(assemble(digest(files), entities, rules)) } else { Err(found) }
}

fn digest(files: &[FileText]) -> Digest {
    let mut bytes = Vec::new();
    for part in files.iter().flat_map(|file| [&file.file, &file.text]) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Digest::of(&bytes)
}

fn read_entities(
    documents: &[(&FileText, Document<'_>)],
    found: &mut Vec<Flaw>,
) -> BTreeMap<String, EntityKind> {
    let mut entities: BTreeMap<String, EntityKind> = BTreeMap::new();
    let documents: Vec<&(&FileText, Document<'_>)> =
        documents.iter().filter(|(_, document)| document.node.get("entity").is_some()).collect();
    for (file, document) in &documents {
        let mut flaws = Flaws::new(&file.file);
        if let Some(kind) = entity::read(*document, &mut flaws) {
            add_entity(document.node, kind, &mut entities, &mut flaws);
        }
        found.append(&mut flaws.found);
    }
    for (file, document) in &documents {
        let mut flaws = Flaws::new(&file.file);
        entity::join(*document, &mut entities, &mut flaws);
        found.append(&mut flaws.found);
    }
    // The first pass finds which of them read other entities, the second refuses what cannot be worked out.
    let mut derived = BTreeMap::new();
    for pass in 0..2 {
        let mut now = BTreeMap::new();
        for (file, document) in &documents {
            let mut flaws = Flaws::new(&file.file);
            let list = entity::read_derived(*document, &entities, &derived, &mut flaws);
            if pass == 1 {
                found.append(&mut flaws.found);
            }
            if let Some(name) = document.node.get("entity").and_then(|node| node.text(&mut flaws)) {
                now.insert(name.to_owned(), list);
            }
        }
        derived = now;
    }
    for (name, list) in derived {
        if let Some(kind) = entities.get_mut(&name) {
            kind.derive = list;
        }
    }
    entities
}

fn add_entity(node: &Node, kind: EntityKind, entities: &mut BTreeMap<String, EntityKind>, flaws: &mut Flaws) {
    let taken = |other: &&EntityKind| {
        let same_topic = kind.topic.is_some() && kind.topic == other.topic;
        other.name == kind.name || same_topic || (kind.stream.is_some() && kind.stream == other.stream)
    };
    match entities.values().find(taken) {
        Some(other) if other.name == kind.name => {
            flaws.at(node, format!("entity `{}` is declared twice", kind.name));
        }
        Some(other) => {
            let what = format!("entity `{}` comes from the same topic as `{}`", kind.name, other.name);
            flaws.hint(node, what, "one topic carries one kind of entity");
        }
        None => drop(entities.insert(kind.name.clone(), kind)),
    }
}

fn read_rules(
    documents: &[(&FileText, Document<'_>)],
    entities: &mut BTreeMap<String, EntityKind>,
    found: &mut Vec<Flaw>,
) -> BTreeMap<String, Rule> {
    let rest = || documents.iter().filter(|(_, document)| document.node.get("entity").is_none());
    for (_, document) in rest() {
        rule::note_topic(*document, entities);
    }
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for (file, document) in rest() {
        let mut flaws = Flaws::new(&file.file);
        if document.node.get("rule").is_some() {
            if let Some(rule) = rule::read(*document, entities, &mut flaws) {
                match rules.get(&rule.name) {
                    Some(other) => {
                        let what = format!("rule `{}` is there already, in {}", rule.name, other.file);
                        flaws.at(document.node, what);
                    }
                    None => drop(rules.insert(rule.name.clone(), rule)),
                }
            }
        } else if document.node.get("groups").is_some() {
            let what = "`groups`: Prometheus rule files are not supported yet";
            flaws.hint(document.node, what, "move the file out of what hob.yml calls rules");
        } else {
            flaws.hint(
                document.node,
                "neither an entity nor a rule",
                "begin the document with `entity:` or `rule:`",
            );
        }
        found.append(&mut flaws.found);
    }
    rules
}

/// Makes a relation of every field by which entities are counted.
fn link_counted(rules: &mut BTreeMap<String, Rule>, entities: &mut BTreeMap<String, EntityKind>) {
    for rule in rules.values_mut() {
        let about = rule.about.clone();
        let Trigger::Count { count: Count::Entities { kind, by, .. }, .. } = &mut rule.trigger else {
            continue;
        };
        let (By::Field(field), Some(counted)) = (&*by, entities.get_mut(kind)) else { continue };
        let known =
            counted.links.iter().find(|(_, link)| link.field.as_ref() == Some(field) && link.kind == about);
        let relation = known.map_or_else(|| format!("{about} by {field}"), |(relation, _)| relation.clone());
        let link = Link { kind: about, is_many: false, field: Some(field.clone()) };
        counted.links.entry(relation.clone()).or_insert(link);
        *by = By::Relation(relation);
    }
}

fn assemble(digest: Digest, entities: BTreeMap<String, EntityKind>, rules: BTreeMap<String, Rule>) -> Rules {
    let mut compiled = Rules { digest: Some(digest), ..Rules::default() };
    for (name, kind) in &entities {
        compiled.by_topic.extend(kind.topic.clone().map(|topic| (topic, name.clone())));
        if let Some(topic) = &kind.stream {
            compiled.by_stream.entry(topic.clone()).or_default().push(name.clone());
        }
    }
    for (name, rule) in &rules {
        if let Some(source) = rule.trigger.source() {
            compiled.counting_events.entry(source.topic.clone()).or_default().push(name.clone());
        }
    }
    compiled.entities = entities.into_iter().map(|(name, kind)| (name, Arc::new(kind))).collect();
    compiled.rules = rules.into_iter().map(|(name, rule)| (name, Arc::new(rule))).collect();
    compiled.plan = Plan::of(&compiled);
    compiled
}

/// What a node says, wherever it stands: two nodes that say the same give the same text.
fn said(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, plain } => format!("{plain}{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(said).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(k, v)| format!("{}:{}", said(k), said(v))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

#[cfg(test)]
mod tests;
