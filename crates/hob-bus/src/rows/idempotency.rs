//! The stored form of an answered request.

use serde::{Deserialize, Serialize};

/// An answer at `idempotency/<what the key is known by>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdempotencyRow {
    pub(crate) version: u8,
    /// When it was answered, in microseconds since 1970.
    pub(crate) answered: i64,
    /// What the request's body is known by.
    pub(crate) body: String,
    pub(crate) answer: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::encode_json;

    #[test]
    fn the_stored_form_is_fixed() {
        let row = IdempotencyRow { version: 1, answered: 7, body: "ab".to_owned(), answer: "{}".to_owned() };
        assert_eq!(encode_json(&row), br#"{"version":1,"answered":7,"body":"ab","answer":"{}"}"#);
    }
}
