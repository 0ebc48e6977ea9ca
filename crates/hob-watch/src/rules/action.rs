//! `actions:` and `budget:` of a rule.

use hob_wire::yaml::{Flaws, Node, Reader, Value};
use serde_json::Value as Json;

use super::Document;
use super::check::{Names, expression, template};
use super::rule::{wait, window};
use crate::model::{Action, ActionMode, Budget, Guard, Quota, With};

/// Actions that one rule may offer.
const ACTIONS_MAX: usize = 10;
/// The most that anything here may count to.
const COUNT_MAX: u64 = 1_000_000;

pub(super) fn read_actions(
    document: Document<'_>,
    node: &Node,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Vec<Action> {
    let items = node.list(flaws);
    if items.len() > ACTIONS_MAX {
        flaws.at(node, format!("{} actions; at most {ACTIONS_MAX} are read", items.len()));
    }
    items.iter().filter_map(|item| read_action(document, item, names, flaws)).collect()
}

fn read_action(document: Document<'_>, node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Option<Action> {
    let mut reader = Reader::map(node, flaws)?;
    let relation = reader.need("do", flaws).and_then(|node| node.text(flaws)).map(str::to_owned);
    let with = reader.take("with").map(|node| read_with(document, node, names, flaws)).unwrap_or_default();
    let modes =
        [("suggest", ActionMode::Suggest), ("approve", ActionMode::Approve), ("auto", ActionMode::Auto)];
    let mode = reader.take("mode").and_then(|node| node.one_of(&modes, flaws)).unwrap_or_default();
    let guard = reader.take("guard").and_then(|node| read_guard(document, node, names, flaws));
    reader.finish(flaws);
    Some(Action { relation: relation?, with, mode, guard: guard.unwrap_or_default() })
}

fn read_with(
    document: Document<'_>,
    node: &Node,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Vec<(String, With)> {
    let mut with = Vec::new();
    for (key, value) in node.entries(flaws) {
        let Some(name) = key.text(flaws).map(str::to_owned) else { continue };
        let json = json(value);
        match json {
            Json::String(_) => {
                with.extend(template(document, value, names, flaws).map(|text| (name, With::Text(text))));
            }
            json => with.push((name, With::Json(json))),
        }
    }
    with
}

fn read_guard(document: Document<'_>, node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Option<Guard> {
    let mut reader = Reader::map(node, flaws)?;
    let guard = Guard {
        per_entity: reader.take("per_entity").and_then(|node| quota(node, flaws)),
        per_rule: reader.take("per_rule").and_then(|node| quota(node, flaws)),
        cooldown: reader.take("cooldown").and_then(|node| wait(node, flaws)),
        max_concurrent: reader.take("max_concurrent").and_then(|node| count(node, flaws)),
        stop_after_failures: reader.take("stop_after_failures").and_then(|node| count(node, flaws)),
        only_if: reader.take("only_if").and_then(|node| expression(document, node, names, flaws)),
        trusted: reader
            .take("trusted")
            .and_then(|node| node.one_of(&[("true", true), ("false", false)], flaws))
            .unwrap_or_default(),
    };
    reader.finish(flaws);
    Some(guard)
}

/// `3/10m`: three within ten minutes.
fn quota(node: &Node, flaws: &mut Flaws) -> Option<Quota> {
    let text = node.text(flaws)?;
    let parts = text.split_once('/').and_then(|(count, within)| {
        let within = hob_core::parse_duration(within.trim()).ok().filter(|within| !within.is_zero())?;
        Some(Quota { count: count.trim().parse().ok().filter(|count| *count > 0)?, within })
    });
    if parts.is_none() {
        flaws.hint(node, format!("`{text}` is no rate"), "write a number and a time, for example 3/10m");
    }
    parts
}

/// `{count: 3, within: 10m}`, or `3/10m`.
pub(super) fn quota_of(node: &Node, flaws: &mut Flaws) -> Option<Quota> {
    if node.kind() != "a map" {
        return quota(node, flaws);
    }
    let mut reader = Reader::map(node, flaws)?;
    let count = reader.need("count", flaws).and_then(|node| count(node, flaws));
    let within = reader.need("within", flaws).and_then(|node| window(node, flaws));
    reader.finish(flaws);
    Some(Quota { count: count?, within: within? })
}

pub(super) fn count(node: &Node, flaws: &mut Flaws) -> Option<u32> {
    node.number(1, COUNT_MAX, flaws).and_then(|number| u32::try_from(number).ok())
}

/// A number that may have a point, greater than nothing.
pub(super) fn decimal(node: &Node, most: f64, flaws: &mut Flaws) -> Option<f64> {
    let text = node.text(flaws)?;
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= most);
    if number.is_none() {
        flaws.at(node, format!("expected a number above 0, at most {most}, found `{text}`"));
    }
    number
}

pub(super) fn read_budget(node: &Node, flaws: &mut Flaws) -> Option<Budget> {
    let mut reader = Reader::map(node, flaws)?;
    let per_order = reader.take("issues_per_order");
    let per_entity = reader.take("per_entity");
    let max_open = reader.take("max_open").and_then(|node| count(node, flaws));
    reader.finish(flaws);
    if let Some(second) = per_order.and(per_entity) {
        flaws.hint(second, "both `issues_per_order` and `per_entity`", "they say the same; leave one out");
    }
    let per_entity = per_order.or(per_entity).and_then(|node| decimal(node, 1000.0, flaws));
    Some(Budget { per_entity, max_open })
}

/// A node as JSON: words without quotes may be numbers, `true`, `false` or nothing.
pub(super) fn json(node: &Node) -> Json {
    match &node.value {
        _ if node.is_null() => Json::Null,
        Value::Scalar { text, plain: true } => match text.as_str() {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => match (text.parse::<i64>(), text.parse::<f64>().ok().and_then(serde_json::Number::from_f64))
            {
                (Ok(whole), _) => whole.into(),
                (_, Some(float)) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                    Json::Number(float)
                }
                _ => Json::String(text.clone()),
            },
        },
        Value::Scalar { text, plain: false } => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            let entry = |(key, value): &(Node, Node)| match &key.value {
                Value::Scalar { text, .. } => Some((text.clone(), json(value))),
                _ => None,
            };
            Json::Object(entries.iter().filter_map(entry).collect())
        }
    }
}
