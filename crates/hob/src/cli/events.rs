//! Arguments of the verbs about topics, events, entities and subscriptions.

use clap::{Args, Subcommand};

/// What to do about topics.
#[derive(Subcommand)]
pub(crate) enum TopicVerb {
    /// One topic and its terms
    Show {
        /// The topic
        name: hob_core::TopicName,
    },
}

#[derive(Args)]
pub(crate) struct Events {
    /// Only on these topics
    pub(crate) topics: Vec<String>,
    /// Only about this href
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only of these types: orders.update
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only with this id
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Only of this request
    #[arg(long = "request", value_name = "ID")]
    pub(crate) request_id: Option<String>,
    /// Not before this time: 2026-01-05T12:00:00Z, or how long ago: 15m
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Newest first; without a place to begin at, the newest are shown anyway, the last of them at the bottom
    #[arg(long, conflicts_with = "follow")]
    pub(crate) desc: bool,
    /// After this sequence
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) after: Option<String>,
    /// Go on as new events come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Events, at most
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args)]
pub(crate) struct Entities {
    /// The entity: its whole URL
    pub(crate) href: Option<String>,
    /// Of this topic
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// Deleted ones too
    #[arg(long)]
    pub(crate) all: bool,
    /// Entities of the topic, or events of the entity's history, at most
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args)]
pub(crate) struct Subscriptions {
    #[command(subcommand)]
    pub(crate) verb: Option<SubscriptionVerb>,
}

/// NAME is SERVICE/NAME, or a name that one service alone has.
#[derive(Subcommand)]
pub(crate) enum SubscriptionVerb {
    /// How it does, and why it waits
    Show { name: String },
    /// Hand out nothing until it is resumed
    Pause {
        name: String,
        /// End the pause then (RFC 3339)
        #[arg(long, value_name = "TIME", conflicts_with = "length")]
        until: Option<hob_core::Timestamp>,
        /// End the pause after so long, for example 30m
        #[arg(long = "for", value_name = "DURATION")]
        length: Option<String>,
    },
    /// Go on
    Resume { name: String },
    /// Put its cursor elsewhere: start, end, seq:N, time:RFC3339 or id:ID
    Seek { name: String, at: String },
    /// Events that it could not deliver
    DeadLetters { name: String },
    /// Deliver dead letters once more, all or those named
    Replay {
        name: String,
        #[command(flatten)]
        choice: LetterChoice,
    },
    /// Forget dead letters, all or those named
    Drop {
        name: String,
        #[command(flatten)]
        choice: LetterChoice,
    },
    /// Tell it, and nobody else, of every live entity of its topics
    Snapshot { name: String },
    /// Delete it with its cursor and dead letters
    Delete { name: String },
}

impl SubscriptionVerb {
    /// Which subscription it is about.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Show { name }
            | Self::Pause { name, .. }
            | Self::Resume { name }
            | Self::Seek { name, .. }
            | Self::DeadLetters { name }
            | Self::Replay { name, .. }
            | Self::Drop { name, .. }
            | Self::Snapshot { name }
            | Self::Delete { name } => name,
        }
    }
}

#[derive(Args)]
pub(crate) struct LetterChoice {
    /// These, by sequence
    pub(crate) ids: Vec<String>,
    /// Those about this href
    #[arg(long)]
    pub(crate) subject: Option<String>,
}
