//! Something wrong in a file, told by file, line and column.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ErrorItem;

/// Something wrong in a file that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flaw {
    /// The file, as the person named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl From<&Flaw> for ErrorItem {
    fn from(flaw: &Flaw) -> Self {
        let hint = flaw.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        Self {
            place: format!("{}:{}:{}", flaw.file, flaw.line, flaw.column),
            detail: format!("{}{hint}", flaw.what),
        }
    }
}
