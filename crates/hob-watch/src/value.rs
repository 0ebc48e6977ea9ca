//! Entities' JSON as CEL values: times where a field is declared as one, whole numbers as such, and limits.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hob_core::Timestamp;
use serde_json::{Map, Value as Json};

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
    /// An entity: all its fields but the links.
    pub(crate) fn entity(fields: &Map<String, Json>, types: &BTreeMap<String, FieldType>) -> Self {
        let mut map = HashMap::with_capacity(fields.len());
        for (name, json) in fields.iter().filter(|(name, _)| *name != "_links") {
            if let Some(value) = field(json, types.get(name).copied()) {
                map.insert(cel::objects::Key::from(name.as_str()), value);
            }
        }
        Self(cel::Value::Map(cel::objects::Map { map: Arc::new(map) }))
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

fn field(json: &Json, kind: Option<FieldType>) -> Option<cel::Value> {
    match (kind, json) {
        (Some(FieldType::Time), Json::String(text)) => Value::time(text.parse().ok()?).map(|value| value.0),
        _ => plain(json, 0),
    }
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
        let Value(cel::Value::Map(map)) = Value::entity(body.as_object().unwrap(), &types) else {
            panic!("a map")
        };
        assert_eq!(map.map.len(), 1);
    }
}
