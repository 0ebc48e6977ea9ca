//! Entities' JSON as CEL values: times where a field is declared as one, whole numbers as such, and limits.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hob_core::Timestamp;
use serde_json::Value as Json;

use crate::fields::{Fields, Plain};
use crate::plan::Wanted;

/// Items of a list that rules may look at; a longer one is as if it were missing.
pub(crate) const LIST_ITEMS_MAX: usize = 1000;
/// Maps and lists within one another that rules may look at.
const DEPTH_MAX: usize = 16;

/// What an entity's field holds, as its declaration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldType {
    /// `ts`: RFC 3339 in JSON, a time in rules.
    Time,
    /// `number`.
    Number,
    /// `string` and `enum`.
    Text,
    /// `bool`.
    Bool,
    /// `list` and `map`.
    Other,
}

/// A value as expressions see it; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Value(pub(crate) cel::Value);

impl Value {
    /// An entity: the fields that are wanted, or all but the links.
    pub(crate) fn map(
        fields: &Fields,
        types: &BTreeMap<String, FieldType>,
        wanted: Option<&[Wanted]>,
    ) -> Members {
        let mut map = HashMap::new();
        match wanted {
            Some(wanted) => {
                map.reserve(wanted.len());
                for wanted in wanted {
                    if let Some(value) =
                        fields.plain(&wanted.name).and_then(|plain| field(plain, wanted.kind))
                    {
                        map.insert(wanted.key.clone(), value);
                    }
                }
            }
            None => {
                for (name, plain) in fields.iter().filter(|(name, _)| *name != "_links") {
                    if let Some(value) = field(plain, types.get(name).copied()) {
                        map.insert(cel::objects::Key::from(name), value);
                    }
                }
            }
        }
        Members(map)
    }

    /// Several of them.
    pub(crate) fn list(values: Vec<Self>) -> Self {
        Self(cel::Value::List(Arc::new(values.into_iter().map(|value| value.0).collect())))
    }

    /// The members of a JSON object.
    pub(crate) fn object(data: &Json) -> Self {
        Self(plain(data, 0).unwrap_or(cel::Value::Null))
    }

    /// The value as JSON, as far as JSON can say it.
    pub(crate) fn json(&self) -> Option<Json> {
        Some(match &self.0 {
            cel::Value::Null => Json::Null,
            cel::Value::Bool(bit) => Json::Bool(*bit),
            cel::Value::Int(whole) => Json::from(*whole),
            cel::Value::UInt(whole) => Json::from(*whole),
            cel::Value::Float(float) => Json::from(*float),
            cel::Value::String(text) => Json::String(text.to_string()),
            cel::Value::Timestamp(time) => {
                Json::String(Timestamp::from_micros(time.timestamp_micros()).to_string())
            }
            cel::Value::Duration(time) => {
                let time = Duration::from_millis(u64::try_from(time.num_milliseconds()).unwrap_or(0));
                Json::String(hob_core::format_duration(time))
            }
            _ => return None,
        })
    }

    /// A time; nothing when it is beyond what CEL can say (year 1 to 9999).
    pub(crate) fn time(time: Timestamp) -> Option<Self> {
        let micros = time.as_micros();
        let by = Duration::from_micros(micros.unsigned_abs());
        let epoch = epoch();
        // Half of CEL's range on either side keeps the arithmetic of the library from overflowing.
        let within = micros.unsigned_abs() < 60_000_000_000_000_000;
        match (within, micros >= 0) {
            (true, true) => add(&epoch, by).map(Self),
            (true, false) => subtract(&epoch, by).map(Self),
            (false, _) => None,
        }
    }

    /// Nothing: the value of a relation that an entity does not have.
    pub(crate) fn null() -> Self {
        Self(cel::Value::Null)
    }
}

/// The fields of an entity while they are put together.
#[derive(Clone, Debug)]
pub(crate) struct Members(HashMap<cel::objects::Key, cel::Value>);

impl Members {
    pub(crate) fn empty() -> Self {
        Self(HashMap::new())
    }

    pub(crate) fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(cel::objects::Key::from(name), value.0);
    }

    pub(crate) fn done(self) -> Value {
        Value(cel::Value::Map(cel::objects::Map { map: Arc::new(self.0) }))
    }
}

fn epoch() -> cel::Value {
    static EPOCH: OnceLock<cel::Value> = OnceLock::new();
    let parse = || cel::Value::Timestamp("1970-01-01T00:00:00+00:00".parse().expect("it is RFC 3339"));
    EPOCH.get_or_init(parse).clone()
}

fn add(time: &cel::Value, by: Duration) -> Option<cel::Value> {
    let cel::Value::Timestamp(time) = time else { return None };
    Some(cel::Value::Timestamp(*time + by))
}

fn subtract(time: &cel::Value, by: Duration) -> Option<cel::Value> {
    let cel::Value::Timestamp(time) = time else { return None };
    Some(cel::Value::Timestamp(*time - by))
}

fn field(value: &Plain, kind: Option<FieldType>) -> Option<cel::Value> {
    let is_time = kind == Some(FieldType::Time);
    Some(match value {
        Plain::Null => cel::Value::Null,
        Plain::Bool(bit) => cel::Value::Bool(*bit),
        Plain::Int(whole) => cel::Value::Int(*whole),
        Plain::Float(float) => cel::Value::Float(*float),
        Plain::Time(time) if is_time => Value::time(*time)?.0,
        Plain::Time(_) | Plain::Short(_) | Plain::Long(_) => {
            let text = value.as_text()?;
            match is_time {
                true => Value::time(text.parse().ok()?)?.0,
                false => cel::Value::String(Arc::new(text)),
            }
        }
        Plain::Json(text) => plain(&serde_json::from_str(text).ok()?, 0)?,
    })
}

fn plain(json: &Json, depth: usize) -> Option<cel::Value> {
    Some(match json {
        Json::Null => cel::Value::Null,
        Json::Bool(bit) => cel::Value::Bool(*bit),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => cel::Value::Int(whole),
            (None, Some(float)) => cel::Value::Float(float),
            (None, None) => return None,
        },
        Json::String(text) => cel::Value::String(Arc::new(text.clone())),
        Json::Array(items) => {
            if items.len() > LIST_ITEMS_MAX || depth >= DEPTH_MAX {
                return None;
            }
            let items = items.iter().map(|item| plain(item, depth + 1)).collect::<Option<Vec<_>>>()?;
            cel::Value::List(Arc::new(items))
        }
        Json::Object(members) => {
            if depth >= DEPTH_MAX {
                return None;
            }
            let members = members.iter().filter_map(|(name, member)| {
                Some((cel::objects::Key::from(name.as_str()), plain(member, depth + 1)?))
            });
            cel::Value::Map(cel::objects::Map { map: Arc::new(members.collect()) })
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_round_trip_within_the_range_of_cel() {
        for text in ["2026-01-05T12:00:00Z", "1969-12-31T23:59:59.5Z", "1970-01-01T00:00:00Z"] {
            let value = Value::time(text.parse().unwrap()).unwrap();
            let cel::Value::Timestamp(time) = value.0 else { panic!("a time") };
            assert_eq!(Timestamp::from_micros(time.timestamp_micros()), text.parse().unwrap());
        }
        assert!(Value::time(Timestamp::from_micros(i64::MAX)).is_none());
    }

    #[test]
    fn what_is_too_long_or_no_time_is_as_if_missing() {
        let body = json!({"at": "soon", "list": vec![0; LIST_ITEMS_MAX + 1], "_links": {}, "n": 1});
        let types = [("at".to_owned(), FieldType::Time)].into();
        let fields = Fields::new(body.as_object().unwrap().clone(), &mut crate::fields::Shapes::default());
        assert_eq!(Value::map(&fields, &types, None).0.len(), 1);
    }
}
