//! Arguments of `hob issues` and `hob actions`.

use clap::{Args, Subcommand, ValueEnum};
use hob_wire::ResolveAs;

#[derive(Args)]
pub(crate) struct Issues {
    #[command(flatten)]
    pub(crate) filter: IssueArguments,
    #[command(subcommand)]
    pub(crate) verb: Option<IssueVerb>,
}

#[derive(Args, Clone, Default)]
pub(crate) struct IssueArguments {
    /// Resolved ones too
    #[arg(long)]
    pub(crate) all: bool,
    /// Of this rule
    #[arg(long)]
    pub(crate) rule: Option<String>,
    /// About this href, or touching it
    #[arg(long)]
    pub(crate) about: Option<String>,
    /// This person's
    #[arg(long)]
    pub(crate) assignee: Option<String>,
    /// Children of this issue; `none`: only those without a parent
    #[arg(long)]
    pub(crate) parent: Option<String>,
    /// With this label: false-alarm
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// With this text in title, key, resolution or notes
    #[arg(long, short = 'q')]
    pub(crate) query: Option<String>,
    /// Those of rules in shadow mode instead
    #[arg(long)]
    pub(crate) shadow: bool,
}

/// An issue, and why something is done to it.
#[derive(Args)]
pub(crate) struct OnIssue {
    /// The issue's id
    pub(crate) id: String,
    /// Why, for those who read it later
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
}

#[derive(Subcommand)]
pub(crate) enum IssueVerb {
    /// Issues, the most urgent first
    List(IssueArguments),
    /// One issue with what led to it
    Show {
        /// The issue's id
        id: String,
    },
    /// Say that you attend to it
    Ack {
        #[command(flatten)]
        on: OnIssue,
        /// For so long; after that it is open again
        #[arg(long = "for")]
        held: Option<String>,
    },
    /// Say whose it is
    Assign {
        #[command(flatten)]
        on: OnIssue,
        /// Whose: a name, or me; nobody's when left out
        #[arg(long)]
        to: Option<String>,
    },
    /// Be silent about it for a while
    Snooze {
        #[command(flatten)]
        on: OnIssue,
        /// For so long: 20m
        #[arg(long = "for")]
        held: Option<String>,
        /// Until this time on the scope's clock
        #[arg(long, conflicts_with = "held")]
        until: Option<hob_core::Timestamp>,
        /// Until it is worse
        #[arg(long)]
        until_worse: bool,
    },
    /// Say that it is over
    Resolve {
        #[command(flatten)]
        on: OnIssue,
        /// How, while its condition still holds
        #[arg(long = "as")]
        how: Option<How>,
    },
    /// Say that it is not over
    Reopen(OnIssue),
    /// Leave a word
    Note {
        /// The issue's id
        id: String,
        /// The note
        text: String,
    },
    /// Say that it is the same as another
    Merge {
        #[command(flatten)]
        on: OnIssue,
        /// The other issue
        #[arg(long)]
        into: String,
    },
    /// Say what it was
    Label {
        #[command(flatten)]
        on: OnIssue,
        /// false-alarm; without it, the label is taken off
        #[arg(long)]
        label: Option<String>,
    },
    /// Do something about it: a link relation that `show` lists
    Act {
        #[command(flatten)]
        on: OnIssue,
        /// The relation
        relation: String,
        /// Although it was done before
        #[arg(long)]
        again: bool,
    },
    /// What happened to its entity
    Timeline {
        /// The issue's id
        id: String,
    },
    /// What the days were like
    Figures,
    /// Follow transitions as they happen
    Watch,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum How {
    /// Mended; it comes back if its condition still holds at the check
    Fixed,
    /// It never was one
    FalseAlarm,
    /// Look at it again before it is over
    Verify,
}

impl From<How> for ResolveAs {
    fn from(how: How) -> Self {
        match how {
            How::Fixed => Self::Fixed,
            How::FalseAlarm => Self::FalseAlarm,
            How::Verify => Self::Verify,
        }
    }
}

#[derive(Args)]
pub(crate) struct Actions {
    #[command(subcommand)]
    pub(crate) verb: Option<ActionVerb>,
}

#[derive(Subcommand)]
pub(crate) enum ActionVerb {
    /// What was done or is proposed, newest first
    List {
        /// About this issue
        #[arg(long)]
        issue: Option<String>,
        /// waiting, running, done, failed, refused, expired or dry-run
        #[arg(long)]
        state: Option<String>,
    },
    /// Stop all actions at once
    Pause {
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let actions be done again
    Resume {
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Approve what a rule proposes
    Approve {
        /// The action's id
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
}
