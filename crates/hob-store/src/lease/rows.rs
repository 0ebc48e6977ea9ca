//! The stored form of a lease: one line of JSON, a promise to every later version.

use serde::{Deserialize, Serialize};

use crate::lease::State;

#[derive(Serialize, Deserialize)]
struct Row {
    holder: String,
    epoch: u64,
    expires: i64,
}

pub(super) fn encode(state: &State) -> Vec<u8> {
    let row = Row { holder: state.holder.clone(), epoch: state.epoch, expires: state.expires };
    serde_json::to_vec(&row).expect("text and integers always have a JSON form")
}

pub(super) fn decode(value: &[u8]) -> Option<State> {
    let Row { holder, epoch, expires } = serde_json::from_slice(value).ok()?;
    Some(State { holder, epoch, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_stays_as_it_is() {
        let state = State { holder: "core-1".to_owned(), epoch: 7, expires: 1_700_000_000_000_000 };
        let value = encode(&state);
        let text = r#"{"holder":"core-1","epoch":7,"expires":1700000000000000}"#;
        assert_eq!(std::str::from_utf8(&value), Ok(text));
        assert_eq!(decode(&value), Some(state));
        assert_eq!(decode(b"[]"), None);
    }
}
