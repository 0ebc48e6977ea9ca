//! What a platform's files declare, as one unit: it is applied whole or not at all.

use std::collections::BTreeMap;

use hob_core::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Platform, Service};

/// Everything that `hob apply` stores (`PUT /v1/declarations`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Declarations {
    /// `hob.yml`.
    pub platform: Platform,
    /// Every `service.yml`, by service.
    pub services: BTreeMap<Name, Service>,
    /// The rule files, as written.
    #[serde(default)]
    pub rules: Vec<FileText>,
}

/// A file's name, relative to `hob.yml`, and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileText {
    /// `rules/orders.yml`.
    pub file: String,
    /// The text.
    pub text: String,
}

/// A difference that applying makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `add`, `change` or `remove`.
    pub change: String,
    /// `service orders`, `topic orders`, `rules/orders.yml`, `platform`.
    pub what: String,
}
