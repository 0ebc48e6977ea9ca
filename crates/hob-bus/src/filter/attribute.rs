//! The attributes that filters name, and their texts in an event as it is stored.

use hob_core::{Scope, Timestamp, TopicName};
use hob_wire::Extension;
use hob_wire::sequence_text;

use crate::rows::EventRow;

/// Letters of an attribute's name.
const NAME_LENGTH_MAX: usize = 64;

/// An attribute of an event: one that Hob knows, or an extension of its publisher's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Specversion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    Datacontenttype,
    Dataschema,
    Topic,
    Sequence,
    Recordedtime,
    Requestid,
    Traceparent,
    Entityseq,
    Entitytag,
    Notbefore,
    Environment,
    Tenant,
    Extension(Box<str>),
}

impl Attribute {
    /// The attribute of this name, or why there can be none.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "specversion" => Self::Specversion,
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "subject" => Self::Subject,
            "time" => Self::Time,
            "datacontenttype" => Self::Datacontenttype,
            "dataschema" => Self::Dataschema,
            "topic" => Self::Topic,
            "sequence" => Self::Sequence,
            "recordedtime" => Self::Recordedtime,
            "requestid" => Self::Requestid,
            "traceparent" => Self::Traceparent,
            "entityseq" => Self::Entityseq,
            "entitytag" => Self::Entitytag,
            "notbefore" => Self::Notbefore,
            "environment" => Self::Environment,
            "tenant" => Self::Tenant,
            "data" | "data_base64" => {
                return Err("data is no attribute; filters see attributes alone, such as type".to_owned());
            }
            other => Self::Extension(check_name(other)?.into()),
        })
    }

    /// How dear it is to look at, compared with others.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Time | Self::Recordedtime | Self::Sequence | Self::Entityseq | Self::Notbefore => 4,
            Self::Extension(_) => 3,
            _ => 1,
        }
    }
}

fn check_name(name: &str) -> Result<&str, String> {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !name.is_empty() && name.len() <= NAME_LENGTH_MAX && is_name(name) {
        return Ok(name);
    }
    Err(format!("{name:?} is no attribute's name; use 1 to {NAME_LENGTH_MAX} of a to z and 0 to 9"))
}

/// An attribute's text, as it lies in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// These, one after the other.
    Parts([&'a str; 3]),
    /// One that is not stored as text.
    Written(String),
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Parts([text, "", ""])
    }
}

impl Text<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.len() == text.len() && self.begins(text)
    }

    pub(crate) fn begins(&self, text: &str) -> bool {
        let mut rest = text;
        for part in self.parts() {
            match rest.strip_prefix(part) {
                Some(after) => rest = after,
                None => return part.starts_with(rest),
            }
        }
        rest.is_empty()
    }

    pub(crate) fn ends(&self, text: &str) -> bool {
        let mut rest = text;
        for part in self.parts().into_iter().rev() {
            match rest.strip_suffix(part) {
                Some(before) => rest = before,
                None => return part.ends_with(rest),
            }
        }
        rest.is_empty()
    }

    fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    fn parts(&self) -> [&str; 3] {
        match self {
            Self::Parts(parts) => *parts,
            Self::Written(text) => [text, "", ""],
        }
    }
}

/// What filters look at.
pub(crate) trait Attributes {
    /// An attribute's text; none when the event lacks it.
    fn text<'a>(&'a self, attribute: &'a Attribute) -> Option<Text<'a>>;
}

/// An event as it is stored: its row, and what the log's record says beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) row: &'a EventRow<'a>,
    pub(crate) scope: &'a Scope,
    pub(crate) topic: &'a TopicName,
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
}

impl Attributes for View<'_> {
    fn text<'a>(&'a self, attribute: &'a Attribute) -> Option<Text<'a>> {
        let row = self.row;
        match attribute {
            Attribute::Specversion => Some("1.0".into()),
            Attribute::Id => Some(row.id.into()),
            Attribute::Source => {
                Some(row.source.map_or(Text::Parts(["/services/", row.service, ""]), Text::from))
            }
            Attribute::Type if row.is_notice => Some(Text::Parts([self.topic.as_str(), ".", row.kind])),
            Attribute::Type => Some(row.kind.into()),
            Attribute::Subject => row.subject.map(Text::from),
            Attribute::Time => Some(Text::Written(self.time.to_string())),
            Attribute::Datacontenttype => {
                row.content_type.or(row.json().map(|_| "application/json")).map(Text::from)
            }
            Attribute::Dataschema => row.data_schema.map(Text::from),
            Attribute::Notbefore => row.notbefore.map(|time| Text::Written(time.to_string())),
            Attribute::Extension(name) => {
                let found = row.extensions.iter().find(|(known, _)| *known == &**name);
                found.map(|(_, value)| match value {
                    Extension::Text(text) => Text::from(&**text),
                    Extension::Boolean(value) => Text::Written(value.to_string()),
                    Extension::Integer(value) => Text::Written(value.to_string()),
                })
            }
            Attribute::Topic => Some(self.topic.as_str().into()),
            Attribute::Sequence => Some(Text::Written(sequence_text(self.sequence))),
            Attribute::Recordedtime => Some(Text::Written(row.recorded.to_string())),
            Attribute::Requestid => row.request_id.map(Text::from),
            Attribute::Traceparent => row.traceparent.map(Text::from),
            Attribute::Entityseq => row.entityseq.map(|entityseq| Text::Written(entityseq.to_string())),
            Attribute::Entitytag => row.entitytag.map(Text::from),
            Attribute::Environment => Some(self.scope.environment.as_str().into()),
            Attribute::Tenant => Some(self.scope.tenant.as_str().into()),
        }
    }
}
