//! Frames of `/v1/live`: a browser subscribes to views and is sent a snapshot, then patches, at most four a second.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A frame from the browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "frame", rename_all = "lowercase", deny_unknown_fields)]
pub enum FromClient {
    /// Show me a view, and keep it up to date.
    Sub {
        /// The browser's name for this subscription; it comes back in every frame.
        id: String,
        /// `issues`, `issue:<id>`, `figures`, `actions`, `map`, `services`, `instances` or `traffic`.
        view: String,
        /// Narrows the view; what it may be depends on the view.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
        /// The cursor of the last frame seen, to resume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// No more of this.
    Unsub {
        /// Which.
        id: String,
    },
}

/// A frame to the browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "frame", rename_all = "lowercase")]
pub enum ToClient {
    /// Everything in the view now; replaces what was there.
    Snap {
        /// Which subscription.
        id: String,
        /// The rows; each has an `id`.
        rows: Vec<Value>,
        /// Where this stands.
        cursor: String,
    },
    /// What changed.
    Patch {
        /// Which subscription.
        id: String,
        /// Rows that came or changed: `[row id, members that changed]`.
        up: Vec<(String, Value)>,
        /// Row ids that are gone.
        del: Vec<String>,
        /// Where this stands.
        cursor: String,
    },
    /// Nothing happened, and the connection lives.
    Ping {
        /// The server's time.
        time: hob_core::Timestamp,
    },
    /// The subscription was refused.
    Refused {
        /// Which subscription.
        id: String,
        /// Why.
        reason: String,
    },
}
