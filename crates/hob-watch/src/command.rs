//! What people decide about issues and actions, as it stands on `hob.commands`, and why it may be refused.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{IssueState, ResolveAs};
use serde::{Deserialize, Serialize};

/// What somebody decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub verb: Verb,
    /// The issue's id; empty where it is about no issue.
    pub issue: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The revision of the issue that they saw: when somebody was quicker, the command is refused.
    pub revision: Option<u32>,
}

/// What may be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Verb {
    /// I attend to it.
    Acknowledge {
        /// For so long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        held: Option<Duration>,
    },
    /// It is theirs.
    Assign {
        /// Whose; nobody's when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Not now.
    Snooze {
        /// Until this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// For so long.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        held: Option<Duration>,
        /// Until it is worse.
        #[serde(default)]
        until_worse: bool,
    },
    /// It is over.
    Resolve {
        /// Why, although its condition holds.
        #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
        how: Option<ResolveAs>,
    },
    /// It is not over.
    Reopen,
    /// A word to those who read it later.
    Note {
        /// The word.
        text: String,
    },
    /// It is the same as another.
    Merge {
        /// The other issue's id.
        into: String,
    },
    /// What it was.
    Label {
        /// `false-alarm`; none takes the label off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// Do this about it: starts an action, or approves it.
    Act {
        /// The link relation.
        relation: String,
        /// The proposal that is approved, when a certain one is meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        action: Option<String>,
        /// Although it was done before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// No action at all, until they are resumed.
    PauseActions,
    /// Actions may be done again, those too that stopped by themselves.
    ResumeActions,
    /// An action is about to be called; written before the call.
    Begun {
        /// Its id.
        action: String,
    },
    /// What became of an action.
    Acted {
        /// Its id.
        action: String,
        /// The HTTP status; 0 when there was no answer.
        status: u16,
        /// What was answered, or why nothing was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

impl Verb {
    /// Its name on `hob.commands` and in errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Acknowledge { .. } => "acknowledge",
            Self::Assign { .. } => "assign",
            Self::Snooze { .. } => "snooze",
            Self::Resolve { .. } => "resolve",
            Self::Reopen => "reopen",
            Self::Note { .. } => "note",
            Self::Merge { .. } => "merge",
            Self::Label { .. } => "label",
            Self::Act { .. } => "act",
            Self::PauseActions => "pause-actions",
            Self::ResumeActions => "resume-actions",
            Self::Begun { .. } => "begun",
            Self::Acted { .. } => "acted",
        }
    }
}

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such issue.
    Unknown,
    /// It is in this state already, thanks to this person.
    Already {
        /// The state.
        state: IssueState,
        /// Who was first, when it is known.
        by: Option<String>,
    },
    /// Somebody was quicker: what they did, as `acknowledged by anna`.
    Changed {
        /// What happened.
        what: String,
    },
    /// Its condition holds: it must be said how it is over all the same.
    Holds,
    /// So many children of it are open.
    Children(u32),
    /// The action cannot be done now.
    Action {
        /// Why.
        why: String,
    },
    /// All actions are stopped.
    Paused {
        /// Who stopped them.
        by: String,
        /// Why.
        reason: String,
    },
    /// It makes no sense.
    Senseless {
        /// Why.
        why: String,
    },
}
