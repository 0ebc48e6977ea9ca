//! One event or many of them in JSON: a body in one go, without a tree.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::cloudevent::{self, Parts};
use super::value::{Key, Scalar};
use super::{Flaws, Incoming, Unread, notice};

/// How events stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A notice or a list of them.
    Notices,
    /// A notice with its topic, or a list of them.
    Drafts,
    /// A notice a line.
    NoticeLines,
    /// A notice with its topic a line.
    DraftLines,
    /// One CloudEvent.
    CloudEvent,
    /// A list of CloudEvents.
    CloudEvents,
}

impl Format {
    fn expected(self) -> &'static str {
        match self {
            Self::Notices => "a notice or a list of notices in JSON",
            Self::Drafts => "a notice with its topic, or a list of them, in JSON",
            Self::NoticeLines | Self::DraftLines => "a notice a line in JSON",
            Self::CloudEvent => "one CloudEvent in JSON",
            Self::CloudEvents => "a list of CloudEvents in JSON",
        }
    }

    fn is_cloudevents(self) -> bool {
        matches!(self, Self::CloudEvent | Self::CloudEvents)
    }

    fn takes_topic(self) -> bool {
        matches!(self, Self::Drafts | Self::DraftLines)
    }
}

/// Reads the events of a body, at most `events_max`, or tells all that is wrong with them.
pub fn read(format: Format, body: &[u8], events_max: usize) -> Result<Vec<Incoming<'_>>, Unread> {
    let syntax = |problem| Unread::Syntax { expected: format.expected(), problem };
    let text = std::str::from_utf8(body).map_err(|error| syntax(format!("it is no UTF-8: {error}")))?;
    let mut reading = Reading { format, events_max, flaws: Flaws::default(), events: Vec::new(), end: None };
    if matches!(format, Format::NoticeLines | Format::DraftLines) {
        read_lines(&mut reading, text);
    } else if let Err(error) = read_whole(&mut reading, text)
        && reading.end.is_none()
    {
        return Err(syntax(place(&error)));
    }
    let Reading { flaws, events, end, .. } = reading;
    match end {
        Some(End::TooMany) => Err(Unread::TooMany { max: events_max }),
        _ if flaws.found.is_empty() => Ok(events),
        _ => Err(Unread::Flaws { events: flaws.index + 1, flaws: flaws.found }),
    }
}

/// Reads a whole body that is to be one JSON value, and gives it back as text.
pub(super) fn read_json_text(body: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("it is no UTF-8: {error}"))?;
    serde_json::from_str::<&RawValue>(text).map(RawValue::get).map_err(|error| place(&error))
}

/// What is wrong with the syntax, place first.
fn place(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    format!("line {line}, column {column}: {what}")
}

/// Why reading ended before the body did.
enum End {
    TooMany,
    EnoughFlaws,
}

struct Reading<'a> {
    format: Format,
    events_max: usize,
    flaws: Flaws,
    events: Vec<Incoming<'a>>,
    end: Option<End>,
}

fn read_whole<'a>(reading: &mut Reading<'a>, text: &'a str) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Whole(reading))?;
    json.end()
}

fn read_lines<'a>(reading: &mut Reading<'a>, text: &'a str) {
    for (number, line) in text.split('\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if !reading.has_room() {
            return;
        }
        let mut json = serde_json::Deserializer::from_str(line);
        if let Err(error) = One(reading).deserialize(&mut json).and_then(|()| json.end()) {
            let place = format!("is no JSON in line {}, column {}", number + 1, error.column());
            let text = error.to_string();
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            reading.flaws.add("", place, what);
        }
        reading.flaws.index += 1;
    }
    reading.flaws.index = reading.flaws.index.saturating_sub(1);
}

impl Reading<'_> {
    /// Whether the next event is to be read.
    fn has_room(&mut self) -> bool {
        if self.flaws.index >= self.events_max {
            self.end = Some(End::TooMany);
        } else if self.flaws.are_enough() {
            self.end = Some(End::EnoughFlaws);
        }
        self.end.is_none()
    }
}

/// Reads the body as a whole.
struct Whole<'r, 'a>(&'r mut Reading<'a>);

impl<'a> Visitor<'a> for Whole<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.format.expected())
    }

    fn visit_map<A: MapAccess<'a>>(self, members: A) -> Result<(), A::Error> {
        if self.0.format == Format::CloudEvents {
            return Err(serde::de::Error::custom(
                "it is an object; send one event as application/cloudevents+json",
            ));
        }
        One(self.0).visit_map(members)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        let reading = self.0;
        if reading.format == Format::CloudEvent {
            let hint = "it is a list; send it as application/cloudevents-batch+json";
            return Err(serde::de::Error::custom(hint));
        }
        while items.next_element_seed(One(reading))?.is_some() {
            reading.flaws.index += 1;
            if reading.flaws.index < reading.events_max && !reading.flaws.are_enough() {
                continue;
            }
            if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
            reading.has_room();
            return Err(serde::de::Error::custom("enough"));
        }
        reading.flaws.index = reading.flaws.index.saturating_sub(1);
        Ok(())
    }
}

/// Reads one event.
struct One<'r, 'a>(&'r mut Reading<'a>);

impl<'a> DeserializeSeed<'a> for One<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> One<'_, 'a> {
    fn refuse(self, what: &str) {
        self.0.flaws.add("", format!("is {what}"), "an event is an object");
    }
}

impl<'a> Visitor<'a> for One<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
        let Reading { format, flaws, events, .. } = self.0;
        let mut event = Incoming::default();
        let mut parts = Parts::default();
        while let Some(Key(name)) = members.next_key()? {
            if name == "data" {
                parts.data = Some(members.next_value::<&'a RawValue>()?.get());
                continue;
            }
            let value: Scalar<'a> = members.next_value()?;
            if format.is_cloudevents() {
                cloudevent::take(&mut event, &mut parts, name, value, flaws);
            } else {
                notice::take(&mut event, format.takes_topic(), &name, value, flaws);
            }
        }
        if format.is_cloudevents() {
            cloudevent::finish(&mut event, parts, flaws);
        } else {
            event.data = parts.data.and_then(|data| cloudevent::json_data(data, flaws));
            notice::finish(&event, format.takes_topic(), flaws);
        }
        events.push(event);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.refuse("a list");
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.refuse("null");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.refuse("a boolean");
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.refuse("a number");
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.refuse("a number");
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.refuse("a number");
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.refuse("a text");
        Ok(())
    }
}
