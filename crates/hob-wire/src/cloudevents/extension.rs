//! What extension attributes and binary data are made of.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The value of an extension attribute. CloudEvents' times, URIs and bytes are texts in JSON and in headers alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits, as CloudEvents defines it.
    Integer(i32),
    /// Anything else.
    Text(Cow<'a, str>),
}

impl Extension<'_> {
    /// The value in JSON.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Boolean(value) => Value::Bool(*value),
            Self::Integer(value) => Value::from(*value),
            Self::Text(value) => Value::String(value.clone().into_owned()),
        }
    }
}

/// Bytes as CloudEvents writes them in JSON: base64 with padding.
pub fn base64_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
