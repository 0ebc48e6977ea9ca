//! Errors as the API tells them: RFC 9457 problem details, with a number that `hob explain` knows.

use hob_core::Code;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An `application/problem+json` body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A reference to the error's page: `/errors/HOB-0005`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the error's number means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// `HOB-0005`.
    pub code: String,
    /// What happened this time, to what.
    #[serde(default)]
    pub detail: String,
    /// What to try next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Each thing that is wrong, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorItem>,
    /// The request that failed, for finding its log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One thing that is wrong with a request or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorItem {
    /// Where: `service.yml:3:5`, or a JSON pointer.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong, and how to mend it.
    pub detail: String,
}

impl Problem {
    /// The media type that a problem travels as.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem with the title and status of `code`.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/errors/{}", code.name()),
            title: code.title.to_owned(),
            status: code.status,
            code: code.name(),
            detail: detail.into(),
            hint: None,
            errors: Vec::new(),
            request_id: None,
        }
    }

    /// The same problem with a hint at the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem with the single errors that make it up.
    #[must_use]
    pub fn errors(mut self, errors: Vec<ErrorItem>) -> Self {
        self.errors = errors;
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", if self.detail.is_empty() { &self.title } else { &self.detail })?;
        for item in &self.errors {
            write!(f, "\n  {}: {}", item.place, item.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
