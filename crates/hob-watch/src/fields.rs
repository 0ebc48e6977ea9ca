//! An entity's fields as they are kept: names shared between entities of a shape, values in 16 bytes, texts on the heap
//! only when they are long. There may be a million entities, and most of their fields are short words and times.

use std::collections::HashSet;
use std::sync::Arc;

use hob_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

/// Shapes whose names are shared; entities of further ones have their own.
const SHAPES_MAX: usize = 1_000;
/// Bytes of a text that needs no heap.
const SHORT_BYTES: usize = 14;

/// The top-level fields of an entity's representation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fields {
    shape: Arc<Shape>,
    values: Box<[Plain]>,
}

/// Names of fields, sorted.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape(Box<[Box<str>]>);

/// The shapes that entities share.
#[derive(Debug, Default)]
pub(crate) struct Shapes(HashSet<Arc<Shape>>);

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A text that is an instant, written as Hob writes one.
    Time(Timestamp),
    Short(Short),
    Long(Box<Box<str>>),
    /// A list, a map, or a number that is none of the others, as JSON.
    Json(Box<Box<str>>),
}

/// A short text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short {
    length: u8,
    bytes: [u8; SHORT_BYTES],
}

impl Short {
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; SHORT_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { length: u8::try_from(text.len()).ok()?, bytes })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Plain {
    fn new(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(bit) => Self::Bool(bit),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(float)) if !number.is_u64() => Self::Float(float),
                _ => Self::Json(Box::new(number.to_string().into())),
            },
            Json::String(text) => Self::text(text),
            composite => Self::Json(Box::new(composite.to_string().into())),
        }
    }

    fn text(text: String) -> Self {
        if let Some(short) = Short::new(&text) {
            return Self::Short(short);
        }
        let is_time = text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
        if let Some(time) = is_time.then(|| text.parse::<Timestamp>().ok()).flatten() {
            let mut written = Vec::with_capacity(text.len());
            time.write(&mut written);
            if written == text.as_bytes() {
                return Self::Time(time);
            }
        }
        Self::Long(Box::new(text.into()))
    }

    /// The value as JSON.
    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(bit) => Json::Bool(*bit),
            Self::Int(whole) => Json::from(*whole),
            Self::Float(float) => Json::from(*float),
            Self::Time(_) | Self::Short(_) | Self::Long(_) => {
                Json::String(self.as_text().unwrap_or_default())
            }
            Self::Json(text) => serde_json::from_str(text).unwrap_or_default(),
        }
    }

    /// The value when it is a text.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Self::Time(time) => {
                let mut text = Vec::new();
                time.write(&mut text);
                String::from_utf8(text).ok()
            }
            Self::Short(short) => Some(short.as_str().to_owned()),
            Self::Long(text) => Some(text.to_string()),
            _ => None,
        }
    }

    /// The value as an id or a term: texts as they are, others as JSON; nothing for nothing.
    pub(crate) fn as_word(&self) -> Option<String> {
        match self {
            Self::Null => None,
            _ => Some(self.as_text().unwrap_or_else(|| self.json().to_string())),
        }
    }

    /// The value as a number: a time in seconds.
    pub(crate) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(whole) => Some(*whole as f64),
            Self::Float(float) => Some(*float),
            Self::Time(time) => Some(time.as_micros() as f64 / 1e6),
            _ => None,
        }
    }
}

impl Fields {
    pub(crate) fn new(map: Map<String, Json>, shapes: &mut Shapes) -> Self {
        let mut entries: Vec<(String, Json)> = map.into_iter().collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let shape = shapes.share(&entries);
        Self { shape, values: entries.into_iter().map(|(_, json)| Plain::new(json)).collect() }
    }

    /// The value of a field, as it is kept.
    pub(crate) fn plain(&self, name: &str) -> Option<&Plain> {
        let index = self.shape.0.binary_search_by(|known| (**known).cmp(name)).ok()?;
        self.values.get(index)
    }

    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<Json> {
        self.plain(name).map(Plain::json)
    }

    /// All fields, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Plain)> {
        self.shape.0.iter().map(|name| &**name).zip(&self.values)
    }

    /// All fields, links included.
    pub(crate) fn to_map(&self) -> Map<String, Json> {
        self.iter().map(|(name, value)| (name.to_owned(), value.json())).collect()
    }

    /// What `_links` says.
    pub(crate) fn links(&self) -> Option<Map<String, Json>> {
        match self.get("_links")? {
            Json::Object(links) => Some(links),
            _ => None,
        }
    }

    /// The names of the fields that differ.
    pub(crate) fn changes(&self, before: &Self) -> Vec<String> {
        if Arc::ptr_eq(&self.shape, &before.shape) {
            let pairs = self.iter().zip(&before.values).filter(|((_, now), then)| now != then);
            return pairs.map(|((name, _), _)| name.to_owned()).collect();
        }
        let other = self.iter().filter(|(name, now)| before.plain(name) != Some(*now));
        let gone = before.iter().filter(|(name, _)| self.plain(name).is_none());
        other.chain(gone).map(|(name, _)| name.to_owned()).collect()
    }
}

impl Shapes {
    fn share(&mut self, entries: &[(String, Json)]) -> Arc<Shape> {
        let shape = Shape(entries.iter().map(|(name, _)| name.as_str().into()).collect());
        if let Some(known) = self.0.get(&shape) {
            return Arc::clone(known);
        }
        let shape = Arc::new(shape);
        if self.0.len() < SHAPES_MAX {
            self.0.insert(Arc::clone(&shape));
        }
        shape
    }

    /// Makes an entity that was read from a checkpoint share its names.
    pub(crate) fn adopt(&mut self, fields: &mut Fields) {
        match self.0.get(&fields.shape) {
            Some(known) => fields.shape = Arc::clone(known),
            None if self.0.len() < SHAPES_MAX => drop(self.0.insert(Arc::clone(&fields.shape))),
            None => {}
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, value)| (name, value.json())))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: std::collections::BTreeMap<String, Box<RawValue>> = Deserialize::deserialize(deserializer)?;
        let names: Box<[Box<str>]> = raw.keys().map(|name| name.as_str().into()).collect();
        let value = |raw: &RawValue| match raw.get() {
            // Read as JSON reads it, a number with a point may be off by the last bit.
            text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
                && text.contains(['.', 'e', 'E']) =>
            {
                text.parse().map(Plain::Float).map_err(serde::de::Error::custom)
            }
            text => serde_json::from_str(text).map(Plain::new).map_err(serde::de::Error::custom),
        };
        let values = raw.values().map(|raw| value(raw)).collect::<Result<_, _>>()?;
        Ok(Self { shape: Arc::new(Shape(names)), values })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fields(json: &Json) -> Fields {
        Fields::new(json.as_object().unwrap().clone(), &mut Shapes::default())
    }

    #[test]
    fn fields_are_given_back_as_they_came() {
        let body = json!({
            "z": 1, "a": -1.5, "big": u64::MAX, "at": "2026-01-05T12:00:00Z", "odd": "2026-01-05T12:00:00.000Z",
            "long": "a text that is longer than the others", "ü": "ümläuts", "no": null, "yes": true,
            "list": [1, {"a": "b"}], "_links": {"rider": {"href": "/r/1", "title": "r"}},
        });
        let kept = fields(&body);
        assert_eq!(Json::Object(kept.to_map()), body);
        let stored = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Fields>(&stored).unwrap(), kept);
        assert_eq!(kept.plain("at"), Some(&Plain::Time("2026-01-05T12:00:00Z".parse().unwrap())));
        assert!(matches!(kept.plain("odd"), Some(Plain::Long(_))));
        assert_eq!(kept.links().unwrap()["rider"]["title"], "r");
        assert_eq!(std::mem::size_of::<Plain>(), 16);
    }

    #[test]
    fn changes_are_found_within_a_shape_and_between_shapes() {
        let mut shapes = Shapes::default();
        let mut make = |json: Json| Fields::new(json.as_object().unwrap().clone(), &mut shapes);
        let first = make(json!({"a": 1, "b": 2}));
        assert_eq!(make(json!({"b": 3, "a": 1})).changes(&first), ["b"]);
        assert_eq!(make(json!({"a": 1, "c": 2})).changes(&first), ["c", "b"]);
        assert!(make(json!({"a": 1, "b": 2})).changes(&first).is_empty());
    }

    proptest! {
        #[test]
        fn any_number_is_stored_as_it_is(number in prop::num::f64::NORMAL) {
            let kept = fields(&json!({"n": number}));
            let stored = serde_json::to_string(&kept).unwrap();
            prop_assert_eq!(serde_json::from_str::<Fields>(&stored).unwrap(), kept);
        }

        #[test]
        fn any_text_is_given_back(text in ".*") {
            prop_assert_eq!(Plain::new(Json::String(text.clone())).json(), Json::String(text));
        }
    }
}
