//! Texts with holes: `{{order.id}} has no rider for {{held}}`.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Timestamp, format_duration};
use serde_json::{Map, Value};

/// Letters of a filled text; the rest is cut.
pub(crate) const TEXT_LETTERS_MAX: usize = 200;
/// For how long the rule's condition has held.
pub(crate) const HELD: &str = "held";
/// How long it is until the rule's deadline.
pub(crate) const LEFT: &str = "left";

/// How many the rule counts.
pub(crate) const COUNT: &str = "count";

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Held,
    Left,
    Count,
    Field { variable: String, path: Vec<String> },
}

/// A text that is no template; the column is counted from 1 within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadTemplate {
    pub(crate) column: usize,
    pub(crate) what: String,
}

/// What fills the holes.
#[derive(Debug, Default)]
pub(crate) struct Filling<'a> {
    pub(crate) variables: BTreeMap<&'a str, Map<String, Value>>,
    pub(crate) held: Duration,
    pub(crate) left: Duration,
    pub(crate) count: Option<u64>,
}

impl Template {
    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let column = text[..text.len() - rest.len() + open].chars().count() + 1;
            let bad = |what: String| BadTemplate { column, what };
            let inner = &rest[open + 2..];
            let close = inner.find("}}").ok_or_else(|| bad("`{{` is not closed by `}}`".to_owned()))?;
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            parts.push(hole(inner[..close].trim()).map_err(bad)?);
            rest = &inner[close + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The variables and fields that it names.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { variable, path } => Some((variable.as_str(), path[0].as_str())),
            _ => None,
        })
    }

    /// The text with its holes filled; `?` where nothing is known.
    pub(crate) fn fill(&self, filling: &Filling<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Held => text.push_str(&rough(filling.held)),
                Part::Left => text.push_str(&rough(filling.left)),
                Part::Count => match filling.count {
                    Some(count) => text.push_str(&count.to_string()),
                    None => text.push('?'),
                },
                Part::Field { variable, path } => {
                    let fields = filling.variables.get(variable.as_str());
                    text.push_str(
                        &fields.and_then(|fields| value(fields, path)).unwrap_or_else(|| "?".to_owned()),
                    );
                }
            }
        }
        match text.char_indices().nth(TEXT_LETTERS_MAX) {
            Some((end, _)) => text[..end].to_owned(),
            None => text,
        }
    }
}

fn hole(text: &str) -> Result<Part, String> {
    match text {
        HELD => return Ok(Part::Held),
        LEFT => return Ok(Part::Left),
        COUNT => return Ok(Part::Count),
        _ => {}
    }
    let mut words = text.split('.').map(str::to_owned);
    let is_word = |word: &String| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let variable = words.next().unwrap_or_default();
    let path: Vec<String> = words.collect();
    if !is_word(&variable) || path.is_empty() || !path.iter().all(is_word) {
        return Err(format!(
            "`{{{{{text}}}}}` is not a field; write {{{{order.id}}}}, {{{{{HELD}}}}} or {{{{{LEFT}}}}}"
        ));
    }
    Ok(Part::Field { variable, path })
}

fn value(fields: &Map<String, Value>, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    match fields.get(first)? {
        Value::Object(inner) if !rest.is_empty() => value(inner, rest),
        _ if !rest.is_empty() => None,
        Value::String(text) => Some(clock_time(text)),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// A time of day when the text is an instant: people read 12:05, not 2026-01-05T12:05:00Z.
fn clock_time(text: &str) -> String {
    let is_time = text.len() >= 20 && text.as_bytes()[10] == b'T' && text.parse::<Timestamp>().is_ok();
    if is_time { text[11..16].to_owned() } else { text.to_owned() }
}

/// A duration in whole minutes, or in seconds when it is shorter than one.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let whole = if seconds >= 60 { seconds - seconds % 60 } else { seconds };
    if whole == 0 { "0s".to_owned() } else { format_duration(Duration::from_secs(whole)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn holes_are_filled() {
        let fields =
            json!({"id": "o7", "n": 3, "at": "2026-01-05T12:05:00Z", "none": null, "in": {"b": true}});
        let filling = Filling {
            variables: [("order", fields.as_object().unwrap().clone())].into(),
            held: Duration::from_secs(512),
            left: Duration::from_secs(30),
            count: Some(5),
        };
        let check =
            |text: &str, expect: &str| assert_eq!(Template::parse(text).unwrap().fill(&filling), expect);
        check("order {{order.id}} waits {{ held }}", "order o7 waits 8m");
        check("{{order.n}} {{order.at}} {{order.in.b}} {{left}}", "3 12:05 true 30s");
        check("{{order.none}}{{order.gone}}{{rider.x}}", "???");
        check("{{count}} wait", "5 wait");
        check("plain }} {", "plain }} {");
    }

    #[test]
    fn bad_holes_say_where() {
        for (text, column) in [("a {{order.id", 3), ("a {{order}}", 3), ("{{a.b}} {{}}", 9), ("{{a.b c}}", 1)]
        {
            assert_eq!(Template::parse(text).unwrap_err().column, column, "{text}");
        }
    }
}
