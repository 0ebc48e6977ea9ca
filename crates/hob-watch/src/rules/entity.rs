//! `entity:` documents.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::{TopicName, nearest};
use hob_wire::yaml::{Flaws, Node, Reader};

use super::Document;
use super::check::{Names, expression, template};
use crate::expression::NOW;
use crate::model::{EntityKind, Figure, Forget};
use crate::value::FieldType;

/// Fields that one kind of entity may declare.
const FIELDS_MAX: usize = 200;
/// Figures that one kind of entity may have.
const FIGURES_MAX: usize = 20;

const FIELD_TYPES: [(&str, FieldType); 7] = [
    ("ts", FieldType::Time),
    ("number", FieldType::Number),
    ("string", FieldType::Text),
    ("enum", FieldType::Text),
    ("bool", FieldType::Bool),
    ("list", FieldType::Other),
    ("map", FieldType::Other),
];

pub(super) fn read(document: Document<'_>, flaws: &mut Flaws) -> Option<EntityKind> {
    let mut reader = Reader::map(document.node, flaws)?;
    reader.later(&["derive", "groups", "query"]);
    let name = reader.take("entity").and_then(|node| name(node, flaws));
    let mut kind = EntityKind {
        name: name.clone().unwrap_or_default(),
        topic: None,
        stream: None,
        key: None,
        fields: BTreeMap::new(),
        links: BTreeMap::new(),
        outcome: BTreeMap::new(),
        forget: None,
        label: None,
        figures: Vec::new(),
    };
    if let Some(node) = reader.need("from", flaws) {
        read_from(node, &mut kind, flaws);
    }
    if let Some(node) = reader.take("fields") {
        kind.fields = read_fields(node, flaws);
    }
    if let Some(node) = reader.take("links") {
        kind.links = read_links(node, &kind.name, flaws);
    }
    let outcome = reader.take("outcome");
    let forget = reader.take("forget");
    let label = reader.take("label");
    let figures = reader.take("figures");
    reader.finish(flaws);
    name?;
    let names = Names::alone(&kind);
    let outcome = outcome.map(|node| read_outcome(document, node, &names, flaws)).unwrap_or_default();
    let forget = forget.and_then(|node| read_forget(document, node, &names, flaws));
    let label = label.and_then(|node| template(document, node, &names, flaws));
    let figures = figures.map(|node| read_figures(document, node, &names, flaws)).unwrap_or_default();
    Some(EntityKind { outcome, forget, label, figures, ..kind })
}

/// A word that can be a variable in expressions.
fn name(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let text = node.text(flaws)?;
    let is_word = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= 63
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_word || text == NOW {
        flaws.hint(
            node,
            format!("`{text}` cannot be a name here"),
            "use a-z, 0-9 and _, starting with a letter",
        );
        return None;
    }
    Some(text.to_owned())
}

fn read_from(node: &Node, kind: &mut EntityKind, flaws: &mut Flaws) {
    let Some(mut reader) = Reader::map(node, flaws) else { return };
    reader.later(&["query", "resn", "fetch"]);
    kind.topic = reader.take("topic").and_then(|node| topic(node, flaws));
    kind.stream = reader.take("stream").and_then(|node| topic(node, flaws));
    kind.key = reader.take("key").and_then(|node| node.text(flaws)).map(str::to_owned);
    let has_one = node.get("topic").is_some() || node.get("stream").is_some();
    reader.finish(flaws);
    if !has_one {
        flaws.hint(node, "`from` names no source", "write `topic:` (notices), `stream:` (records), or both");
    }
    if kind.key.is_some() && kind.stream.is_none() {
        flaws.at(node, "`key` names the member of a stream's records, and there is no `stream`");
    }
}

fn topic(node: &Node, flaws: &mut Flaws) -> Option<TopicName> {
    let topic: TopicName = node.parse(flaws)?;
    if topic.as_str().starts_with("hob.") {
        flaws.at(node, format!("rules over Hob's own topic `{topic}` are not supported yet"));
        return None;
    }
    Some(topic)
}

fn read_fields(node: &Node, flaws: &mut Flaws) -> BTreeMap<String, FieldType> {
    let entries = node.entries(flaws);
    if entries.len() > FIELDS_MAX {
        flaws.at(node, format!("{} fields; at most {FIELDS_MAX} are read", entries.len()));
    }
    let mut fields = BTreeMap::new();
    for (name, kind) in entries {
        let name = name.text(flaws).map(str::to_owned);
        let kind = kind.one_of(&FIELD_TYPES, flaws);
        fields.extend(name.zip(kind));
    }
    fields
}

fn read_links(node: &Node, entity: &str, flaws: &mut Flaws) -> BTreeMap<String, String> {
    let mut links = BTreeMap::new();
    for (relation, target) in node.entries(flaws) {
        let relation_name = name(relation, flaws);
        let target = target.text(flaws).map(str::to_owned);
        if relation_name.as_deref() == Some(entity) {
            flaws.hint(
                relation,
                format!("the relation `{entity}` hides the entity itself"),
                "link by another name",
            );
        }
        links.extend(relation_name.zip(target));
    }
    links
}

/// Refuses links to entities that are not declared; called once all entities are read.
pub(super) fn check_links(
    document: Document<'_>,
    entities: &BTreeMap<String, EntityKind>,
    flaws: &mut Flaws,
) {
    let Some(links) = document.node.get("links") else { return };
    let mut ignored = Flaws::new("");
    for (_, target) in links.entries(&mut ignored) {
        let Some(text) = target.text(&mut ignored) else { continue };
        if entities.contains_key(text) {
            continue;
        }
        let hint = match nearest(text, entities.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it with `entity: {text}`"),
        };
        flaws.hint(target, format!("there is no entity `{text}`"), hint);
    }
}

fn read_outcome(
    document: Document<'_>,
    node: &Node,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> BTreeMap<String, crate::expression::Expression> {
    let mut outcome = BTreeMap::new();
    for (key, value) in node.entries(flaws) {
        let key = name(key, flaws);
        outcome.extend(key.zip(expression(document, value, names, flaws)));
    }
    outcome
}

fn read_forget(document: Document<'_>, node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Option<Forget> {
    let mut reader = Reader::map(node, flaws)?;
    let after = reader.need("after", flaws).and_then(|node| node.duration(flaws));
    let when = reader.need("when", flaws).and_then(|node| expression(document, node, names, flaws));
    reader.finish(flaws);
    Some(Forget { after: after?, when: when? })
}

fn read_figures(document: Document<'_>, node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Vec<Figure> {
    let items = node.list(flaws);
    if items.len() > FIGURES_MAX {
        flaws.at(node, format!("{} figures; at most {FIGURES_MAX} are read", items.len()));
    }
    let mut figures = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        let Some(mut reader) = Reader::map(item, flaws) else { continue };
        let figure = reader.need("name", flaws).and_then(|node| name(node, flaws));
        if let Some(figure) = figure.clone().filter(|figure| !seen.insert(figure.clone())) {
            flaws.at(item, format!("the figure `{figure}` stands here twice"));
        }
        let label = reader.take("label").and_then(|node| node.text(flaws)).map(str::to_owned);
        let when = reader.need("when", flaws).and_then(|node| expression(document, node, names, flaws));
        let tones = [("good", "good"), ("neutral", "neutral"), ("warn", "warn"), ("bad", "bad")];
        let tone = reader.take("tone").and_then(|node| node.one_of(&tones, flaws)).map(str::to_owned);
        reader.finish(flaws);
        if let (Some(name), Some(when)) = (figure, when) {
            figures.push(Figure { label: label.unwrap_or_else(|| name.replace('_', " ")), name, when, tone });
        }
    }
    figures
}
