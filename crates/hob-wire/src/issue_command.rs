//! What people may do to an issue: the bodies of `POST /v1/issues/{id}/…`.
//!
//! Each may name the `revision` that its sender saw: when somebody was quicker, it is refused and says who.

use hob_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// I attend to it: `POST /v1/issues/{id}/acknowledge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcknowledgeIssue {
    /// Why, for those who read it later.
    pub reason: String,
    /// For how long, for example `30m`; after that the issue is open again.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The revision that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// It is theirs: `POST /v1/issues/{id}/assign`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AssignIssue {
    /// Whose it is; the caller's when it is `me`, nobody's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why.
    pub reason: String,
    /// The revision that was seen. Without it, an issue that is another's already is not taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// Not now: `POST /v1/issues/{id}/snooze`. One of `until` and `for`, or `until_worse`, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnoozeIssue {
    /// Until this time on the scope's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// For so long, for example `20m`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Until its priority rises by ten, or it touches twice as many.
    pub until_worse: bool,
    /// Why.
    pub reason: String,
    /// The revision that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// How an issue is over although its condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResolveAs {
    /// It is mended: resolved now, and open again if its condition still holds at the check.
    Fixed,
    /// It never was one: labelled so, and silent until the condition was false once.
    FalseAlarm,
    /// It should be mended: not resolved yet, but looked at again; resolved when the condition is over by then.
    Verify,
}

/// It is over: `POST /v1/issues/{id}/resolve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResolveIssue {
    /// Needed while the condition holds.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub how: Option<ResolveAs>,
    /// Why.
    pub reason: String,
    /// The revision that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// A word to those who read it later: `POST /v1/issues/{id}/note`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteIssue {
    /// The note, at most 2,000 letters.
    pub text: String,
}

/// It is the same as another: `POST /v1/issues/{id}/merge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeIssue {
    /// The other issue.
    pub into: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The revision that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// Do something about it: `POST /v1/issues/{id}/actions/{relation}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActOnIssue {
    /// Why.
    pub reason: String,
    /// The proposal that is approved, by its id; whatever is proposed now when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Although it was done before.
    pub again: bool,
    /// The revision that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

/// What it was: `POST /v1/issues/{id}/label`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelIssue {
    /// `false-alarm`; no label when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}
