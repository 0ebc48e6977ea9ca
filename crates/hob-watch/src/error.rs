//! Why the watch refused, or failed.

use hob_core::{Code, Scope, code};
use hob_wire::{Flaw, IssueState};

/// Why the watch refused, or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Rule files are wrong; nothing was changed.
    #[error("read the rules: {} flaws, the first: {}", flaws.len(), flaws.first().map(ToString::to_string).unwrap_or_default())]
    BadRules {
        /// All flaws of all files.
        flaws: Vec<Flaw>,
    },
    /// There is no such scope.
    #[error("find scope {scope}: hob.yml does not name it")]
    ScopeUnknown {
        /// The scope.
        scope: Scope,
    },
    /// There is no such issue, or it ended too long ago.
    #[error("find issue {id} in {scope}: there is none; resolved issues are kept for a while only")]
    IssueUnknown {
        /// Its id.
        id: String,
        /// Where it was looked for.
        scope: Scope,
    },
    /// The issue's state does not allow this.
    #[error("{command} issue {id}: it is {} already{by}", state_word(*state))]
    IssueState {
        /// What was asked.
        command: &'static str,
        /// The issue.
        id: String,
        /// Its state.
        state: IssueState,
        /// Who was first: ` by anna`, or nothing.
        by: String,
    },
    /// Another person was quicker.
    #[error("{command} issue {id}: meanwhile it was {what}")]
    IssueChanged {
        /// What was asked.
        command: &'static str,
        /// The issue.
        id: String,
        /// What happened, and by whom.
        what: String,
    },
    /// The issue's condition holds, so it must be said how it is over all the same.
    #[error(
        "resolve issue {id}: its condition still holds; say how it is over: as fixed (it is checked again), as false-alarm, or snooze it"
    )]
    IssueHolds {
        /// The issue.
        id: String,
    },
    /// Children of the issue are open.
    #[error("{command} issue {id}: {children} of the issues that it explains are open")]
    IssueChildren {
        /// What was asked.
        command: &'static str,
        /// The issue.
        id: String,
        /// How many.
        children: u32,
    },
    /// What was asked makes no sense.
    #[error("{command} issue {id}: {why}")]
    Senseless {
        /// What was asked.
        command: &'static str,
        /// The issue.
        id: String,
        /// Why.
        why: String,
    },
    /// An action cannot be done now.
    #[error("act on issue {id}: {why}")]
    ActionRefused {
        /// The issue.
        id: String,
        /// Why.
        why: String,
    },
    /// All actions are stopped.
    #[error("act on issue {id}: {by} paused all actions{reason}")]
    ActionsPaused {
        /// The issue.
        id: String,
        /// Who stopped them.
        by: String,
        /// Why: `: the kitchen burns`, or nothing.
        reason: String,
    },
    /// A question about entities cannot be answered.
    #[error("list entities: {why}")]
    BadQuestion {
        /// Why.
        why: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// The command is durable, but the engine has not come to it within the limit.
    #[error(
        "see issue {id} change within {seconds} s: the rule engine is behind; the command is recorded and will be taken"
    )]
    Behind {
        /// The issue.
        id: String,
        /// The limit.
        seconds: u64,
    },
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] hob_bus::Error),
    /// A checkpoint or a rule text could not be read or written.
    #[error("{action}: {reason}")]
    Store {
        /// What was being done.
        action: String,
        /// The store's error.
        reason: String,
    },
    /// The watch is closed.
    #[error("watch: it is closed")]
    Closed,
}

pub(crate) fn state_word(state: IssueState) -> &'static str {
    match state {
        IssueState::Open => "open",
        IssueState::Acknowledged => "acknowledged",
        IssueState::Resolved => "resolved",
    }
}

impl Error {
    /// The error's number and HTTP status.
    pub fn code(&self) -> Code {
        match self {
            Self::BadRules { .. } => code::RULE,
            Self::ScopeUnknown { .. } | Self::IssueUnknown { .. } => code::NOT_FOUND,
            Self::IssueState { .. } => code::ISSUE_STATE,
            Self::IssueChanged { .. } => code::ISSUE_CHANGED,
            Self::IssueHolds { .. } => code::ISSUE_HOLDS,
            Self::IssueChildren { .. } => code::ISSUE_CHILDREN,
            Self::Senseless { .. } | Self::BadQuestion { .. } => code::INVALID,
            Self::ActionRefused { .. } => code::ACTION_REFUSED,
            Self::ActionsPaused { .. } => code::ACTIONS_PAUSED,
            Self::Behind { .. } | Self::Closed => code::UNAVAILABLE,
            Self::Bus(error) => error.code(),
            Self::Store { .. } => code::INTERNAL,
        }
    }

    /// What to try next, when there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BadRules { .. } => {
                Some("mend the places named and apply again; nothing was changed".to_owned())
            }
            Self::IssueUnknown { .. } => Some("list the issues: GET /v1/issues".to_owned()),
            Self::IssueChanged { .. } => Some(
                "look at the issue again; to do it all the same, send the revision that you see".to_owned(),
            ),
            Self::IssueHolds { id } => Some(format!(
                "hob issues resolve {id} --as fixed | --as false-alarm | --as verify, or hob issues snooze {id} --for 20m"
            )),
            Self::IssueChildren { .. } => Some(
                "resolve its children first, or resolve it as a false alarm: they then stand for themselves"
                    .to_owned(),
            ),
            Self::ActionsPaused { .. } => Some("hob actions resume".to_owned()),
            Self::BadQuestion { hint, .. } => hint.clone(),
            Self::Behind { .. } => Some("look at the issue again in a moment".to_owned()),
            Self::Bus(error) => error.hint(),
            _ => None,
        }
    }

    /// The single errors that make this one up.
    pub fn items(&self) -> Vec<hob_wire::ErrorItem> {
        match self {
            Self::BadRules { flaws } => flaws.iter().map(hob_wire::ErrorItem::from).collect(),
            Self::Bus(error) => error.items(),
            _ => Vec::new(),
        }
    }
}
