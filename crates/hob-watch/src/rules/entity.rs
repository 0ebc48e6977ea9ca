//! `entity:` documents.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hob_core::{TopicName, nearest};
use hob_wire::yaml::{Flaws, Node, Reader};

use super::Document;
use super::check::{Names, expression, template};
use crate::expression::{EVENT, NOW};
use crate::model::{Derive, EntityKind, Figure, Forget, Link, Path};
use crate::value::FieldType;

/// Fields that one kind of entity may declare.
const FIELDS_MAX: usize = 200;
/// Fields that one kind of entity may work out.
const DERIVED_MAX: usize = 50;
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
    reader.later(&["groups", "query"]);
    let name = reader.take("entity").and_then(|node| name(node, flaws));
    let mut kind = EntityKind {
        name: name.clone().unwrap_or_default(),
        variable: name.clone().unwrap_or_default(),
        topic: None,
        stream: None,
        key: None,
        from_fields: Vec::new(),
        fields: BTreeMap::new(),
        links: BTreeMap::new(),
        derive: Vec::new(),
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
    // What is worked out reads other entities too, and is compiled when all are known.
    if let Some(node) = reader.take("derive") {
        note_derived(node, &mut kind, flaws);
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
    if !is_word || text == NOW || text == EVENT {
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
    if let Some(field) = reader.take("field") {
        kind.from_fields = from_fields(field, flaws);
        if node.get("topic").is_some() || node.get("stream").is_some() {
            flaws.hint(
                field,
                "`field` stands beside a topic",
                "an entity comes from a field, or from a topic",
            );
        }
    }
    let has_one = ["topic", "stream", "field"].iter().any(|key| node.get(key).is_some());
    reader.finish(flaws);
    if !has_one {
        let hint =
            "write `topic:` (notices), `stream:` (records), both, or `field:` (values of another entity)";
        flaws.hint(node, "`from` names no source", hint);
    }
    if kind.key.is_some() && kind.stream.is_none() {
        flaws.at(node, "`key` names the member of a stream's records, and there is no `stream`");
    }
}

pub(super) fn topic(node: &Node, flaws: &mut Flaws) -> Option<TopicName> {
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

/// One field `order.zone`, or a list of them.
fn from_fields(node: &Node, flaws: &mut Flaws) -> Vec<Path> {
    let nodes: Vec<&Node> = match node.kind() {
        "a list" => node.list(flaws).iter().collect(),
        _ => vec![node],
    };
    let mut paths = Vec::new();
    for node in nodes {
        let Some(text) = node.text(flaws) else { continue };
        match text.split_once('.').filter(|(_, field)| !field.contains('.')) {
            Some((variable, field)) => {
                paths.push(Path { variable: variable.to_owned(), field: field.to_owned() });
            }
            None => flaws.hint(
                node,
                format!("`{text}` is no field"),
                "write entity.field, for example order.zone",
            ),
        }
    }
    paths
}

/// `rider: rider` for one, `orders: [order]` for several.
fn read_links(node: &Node, entity: &str, flaws: &mut Flaws) -> BTreeMap<String, Link> {
    let mut links = BTreeMap::new();
    for (relation, target) in node.entries(flaws) {
        let relation_name = name(relation, flaws);
        let link = match target.kind() {
            "a list" => match target.list(flaws) {
                [one] => one.text(flaws).map(|kind| (kind, true)),
                _ => {
                    flaws.hint(target, "a list of more or less than one kind", "write `orders: [order]`");
                    None
                }
            },
            _ => target.text(flaws).map(|kind| (kind, false)),
        };
        if relation_name.as_deref() == Some(entity) || relation_name.as_deref() == Some(EVENT) {
            let what = match relation_name.as_deref() == Some(EVENT) {
                true => "`event` is what a topic's record is called".to_owned(),
                false => format!("the relation `{entity}` hides the entity itself"),
            };
            flaws.hint(relation, what, "link by another name");
        }
        let link = link.map(|(kind, is_many)| Link { kind: kind.to_owned(), is_many, field: None });
        links.extend(relation_name.zip(link));
    }
    links
}

/// Refuses links and fields of entities that are not declared, and links every entity to those that are values of its
/// fields; called once all entities are read.
pub(super) fn join(document: Document<'_>, entities: &mut BTreeMap<String, EntityKind>, flaws: &mut Flaws) {
    let mut ignored = Flaws::new("");
    let links = document.node.get("links").map(|links| links.entries(&mut ignored)).unwrap_or_default();
    for (_, target) in links {
        let one = target.list(&mut ignored).first().unwrap_or(target);
        if let Some(text) = one.text(&mut ignored).filter(|text| !entities.contains_key(*text)) {
            there_is_no(one, text, entities, flaws);
        }
    }
    let Some(name) = document.node.get("entity").and_then(|node| node.text(&mut ignored)) else { return };
    let Some(node) = document.node.get("from").and_then(|from| from.get("field")) else { return };
    for path in entities.get(name).map(|kind| kind.from_fields.clone()).unwrap_or_default() {
        let Some(source) = entities.get_mut(&path.variable) else {
            there_is_no(node, &path.variable, entities, flaws);
            continue;
        };
        if !source.has_field(&path.field) {
            let near = nearest(&path.field, source.fields.keys().map(String::as_str));
            let hint = near.map_or("declare it there".to_owned(), |near| format!("did you mean `{near}`?"));
            flaws.hint(node, format!("entity `{}` has no field `{}`", path.variable, path.field), hint);
            continue;
        }
        let link = Link { kind: name.to_owned(), is_many: false, field: Some(path.field) };
        source.links.entry(name.to_owned()).or_insert(link);
    }
}

fn there_is_no(node: &Node, text: &str, entities: &BTreeMap<String, EntityKind>, flaws: &mut Flaws) {
    let hint = match nearest(text, entities.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("declare it with `entity: {text}`"),
    };
    flaws.hint(node, format!("there is no entity `{text}`"), hint);
}

/// Notes the names of what is worked out, so that everything may read it.
fn note_derived(node: &Node, kind: &mut EntityKind, flaws: &mut Flaws) {
    let entries = node.entries(flaws);
    if entries.len() > DERIVED_MAX {
        flaws.at(node, format!("{} derived fields; at most {DERIVED_MAX} are read", entries.len()));
    }
    let has_fields = !kind.fields.is_empty();
    for (field, _) in entries {
        let Some(text) = name(field, flaws) else { continue };
        match kind.fields.entry(text) {
            Entry::Occupied(taken) => {
                let what = format!("the field `{}` is declared already", taken.key());
                flaws.hint(field, what, "derive it by another name");
            }
            Entry::Vacant(free) if has_fields => drop(free.insert(FieldType::Other)),
            Entry::Vacant(_) => {}
        }
    }
}

/// Compiles what an entity works out; called once all entities are joined.
pub(super) fn read_derived(
    document: Document<'_>,
    entities: &BTreeMap<String, EntityKind>,
    derived: &BTreeMap<String, Vec<Derive>>,
    flaws: &mut Flaws,
) -> Vec<Derive> {
    let mut ignored = Flaws::new("");
    let node = document.node.get("entity").and_then(|node| node.text(&mut ignored));
    let Some(kind) = node.and_then(|name| entities.get(name)) else { return Vec::new() };
    let Some(node) = document.node.get("derive") else { return Vec::new() };
    let names = Names::of(kind, entities);
    let entries = node.entries(&mut ignored);
    let mut found: Vec<Derive> = Vec::new();
    for (index, (key, value)) in entries.iter().enumerate() {
        let Some(name) = key.text(&mut ignored).map(str::to_owned) else { continue };
        let Some(value_expression) = expression(document, value, &names, flaws) else { continue };
        let later: Vec<&str> =
            entries[index..].iter().filter_map(|(key, _)| key.text(&mut ignored)).collect();
        let (mut is_volatile, mut is_across) = (value_expression.reads_now(), false);
        for read in value_expression.reads() {
            let field = read.field.as_deref().unwrap_or_default();
            if read.variable == kind.variable {
                if later.contains(&field) {
                    let hint = "a derived field reads those that stand before it";
                    flaws.hint(value, format!("`{name}` reads `{field}`, which is not worked out yet"), hint);
                }
                let own = found.iter().find(|own| own.name == field);
                is_volatile |= own.is_some_and(|own| own.is_volatile);
                is_across |= own.is_some_and(|own| own.is_across);
                continue;
            }
            let Some(link) = kind.links.get(&read.variable) else { continue };
            is_across = true;
            let other =
                derived.get(&link.kind).and_then(|list| list.iter().find(|other| other.name == field));
            is_volatile |= other.is_some_and(|other| other.is_volatile);
            if other.is_some_and(|other| other.is_across) {
                let what =
                    format!("`{name}` reads `{}.{field}`, which reads other entities itself", read.variable);
                flaws.hint(value, what, "read what that one reads");
            }
        }
        found.push(Derive { name, value: value_expression, is_volatile, is_across });
    }
    found
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
