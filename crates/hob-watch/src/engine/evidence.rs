//! What led to an issue: the entity's events, the entity as it was, and what the rule read of it.

use hob_core::format_duration;
use hob_wire::{Evidence, sequence_text};
use serde_json::{Map, Value, json};

use super::Engine;
use crate::model::{Path, Rule};

/// Bytes of an entity's fields, as JSON, that evidence keeps; beyond them only its plain fields.
const ENTITY_BYTES_MAX: usize = 4096;
/// Bytes of one value that evidence keeps when the entity is too large.
const VALUE_BYTES_MAX: usize = 200;

impl Engine {
    /// A piece of evidence of this moment.
    pub(super) fn piece(&self, kind: &str, text: String) -> Evidence {
        let (time, recorded) = (self.state.clock, self.at.recorded);
        Evidence {
            time,
            recorded,
            kind: kind.to_owned(),
            text,
            sequence: None,
            requestid: None,
            values: Map::new(),
        }
    }

    /// Everything that led to an issue, oldest first.
    pub(super) fn evidence(&self, rule: &Rule, href: &str) -> Vec<Evidence> {
        let Some(row) = self.state.entities.get(href) else { return Vec::new() };
        let events = row.events.iter().map(|event| Evidence {
            time: event.time,
            recorded: event.recorded,
            kind: "event".to_owned(),
            text: event.kind.to_string(),
            sequence: Some(sequence_text(event.sequence)),
            requestid: event.request.as_deref().map(str::to_owned),
            values: Map::new(),
        });
        let mut evidence: Vec<Evidence> = events.collect();
        if let Some(fields) = &row.fields {
            let label = self.rules.entities.get(&rule.variable).and_then(|kind| kind.label.as_ref());
            let label = label.map(|label| label.fill(&self.filling(rule, href)));
            let text = label.unwrap_or_else(|| format!("{} as it was", rule.about));
            evidence.push(Evidence { values: trimmed(&fields.to_map()), ..self.piece("entity", text) });
        }
        let mut why = self.piece("rule", rule.condition());
        why.sequence = Some(sequence_text(self.at.sequence));
        why.values = self.read_values(rule, href);
        why.values.insert("held".to_owned(), json!(format_duration(self.held(rule, href))));
        evidence.push(why);
        evidence
    }

    /// The values of the fields that a rule reads, as they are now.
    pub(super) fn read_values(&self, rule: &Rule, href: &str) -> Map<String, Value> {
        let mut values = Map::new();
        for (variable, fields) in &rule.reads {
            for field in fields.iter().flatten() {
                let path = Path { variable: variable.clone(), field: field.clone() };
                let value =
                    self.field(rule, href, &path).filter(|value| value.to_string().len() <= VALUE_BYTES_MAX);
                values.extend(value.map(|value| (path.to_string(), value)));
            }
        }
        values
    }
}

fn trimmed(fields: &Map<String, Value>) -> Map<String, Value> {
    let without_links = || fields.iter().filter(|(name, _)| *name != "_links");
    let all: Map<String, Value> =
        without_links().map(|(name, value)| (name.clone(), value.clone())).collect();
    if Value::Object(all.clone()).to_string().len() <= ENTITY_BYTES_MAX {
        return all;
    }
    let mut bytes = 0;
    let plain = without_links().filter(|(_, value)| !value.is_array() && !value.is_object());
    let small = plain.filter(|(name, value)| {
        let size = name.len() + value.to_string().len();
        bytes += size;
        size <= VALUE_BYTES_MAX && bytes <= ENTITY_BYTES_MAX
    });
    small.map(|(name, value)| (name.clone(), value.clone())).collect()
}
