//! What a rule offers to do, and how much of it there may be.

use std::time::Duration;

use serde_json::Value;

use crate::expression::Expression;
use crate::template::Template;

/// Something that can be done about an issue: a link relation that the entity has while it is possible.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) relation: String,
    /// The members of the request's body.
    pub(crate) with: Vec<(String, With)>,
    pub(crate) mode: ActionMode,
    pub(crate) guard: Guard,
}

/// A member of an action's request.
#[derive(Debug)]
pub(crate) enum With {
    Text(Template),
    Json(Value),
}

/// Who starts an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ActionMode {
    /// A person.
    #[default]
    Suggest,
    /// The rule, when a person agrees.
    Approve,
    /// The rule.
    Auto,
}

/// What keeps an action from being done too often.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    pub(crate) per_entity: Option<Quota>,
    pub(crate) per_rule: Option<Quota>,
    pub(crate) cooldown: Option<Duration>,
    pub(crate) max_concurrent: Option<u32>,
    pub(crate) stop_after_failures: Option<u32>,
    pub(crate) only_if: Option<Expression>,
    /// The rule acts from its first day on.
    pub(crate) trusted: bool,
}

/// So many within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) count: u32,
    pub(crate) within: Duration,
}

/// Who sees a rule's issues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everybody.
    #[default]
    Enabled,
    /// Those who ask for it: the rule is tried on what happens.
    Shadow,
    /// The rule does nothing.
    Disabled,
}

/// How many issues a rule may make before it is one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Budget {
    /// For each entity that has an outcome.
    pub(crate) per_entity: Option<f64>,
    /// Open ones at a time.
    pub(crate) max_open: Option<u32>,
}
