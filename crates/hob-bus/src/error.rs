//! What can go wrong on the bus, as people and programs are told.

use hob_core::{Code, Name, Scope, TopicName, code};
use hob_store::{AppendError, BlobError, IndexError, KvError, ReadError};
use hob_wire::{ErrorItem, EventFlaw};

use crate::{FilterFlaw, QuotaLeft, SinkFlaw, SubscriptionKey};

/// Why the bus refused, or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Another service owns the topic.
    #[error("publish on {topic} as {service}: {owner} owns it")]
    TopicOwned {
        /// The topic.
        topic: TopicName,
        /// Its owner.
        owner: Name,
        /// Who tried.
        service: Name,
    },
    /// The topic is one of Hob's own.
    #[error("use {topic} as a service's topic: names that begin with hob. are Hob's own")]
    TopicReserved {
        /// The topic.
        topic: TopicName,
    },
    /// The topic is not declared.
    #[error("find topic {topic} in {scope}: it is not declared")]
    TopicUnknown {
        /// The topic.
        topic: TopicName,
        /// Where.
        scope: Scope,
        /// A declared topic whose name is much alike.
        nearest: Option<TopicName>,
    },
    /// What an event names as its topic is no topic's name.
    #[error("publish on {name:?}: it is no topic's name")]
    NoTopic {
        /// What was named.
        name: String,
        /// A declared topic whose name is much alike.
        nearest: Option<TopicName>,
    },
    /// A CloudEvent names no topic, and its type begins with none.
    #[error("publish event {index} of type {kind:?}: it names no topic, and its type begins with none")]
    NoTopicOfType {
        /// Which event of the batch, counted from 0.
        index: usize,
        /// Its type.
        kind: String,
    },
    /// More was published on the topic than its quota allows.
    #[error("publish on {topic}: its quota of {} events a second is used up", left.events_per_second)]
    OverQuota {
        /// The topic.
        topic: TopicName,
        /// What is left, and until when to wait.
        left: QuotaLeft,
    },
    /// The scope has as many events held back as may be.
    #[error(
        "hold back events in {scope}: {} are held back already, which is the limit",
        crate::delayed::DELAYED_PER_SCOPE_MAX
    )]
    TooManyDelayed {
        /// The scope.
        scope: Scope,
    },
    /// The scope has too much on its way already.
    #[error("publish: the scope has too many events on their way to the disk")]
    ScopeBusy,
    /// The topic cannot be made.
    #[error("declare topic {topic} in {scope}: {problem}")]
    TopicRefused {
        /// The topic.
        topic: TopicName,
        /// Where.
        scope: Scope,
        /// Which limit it is over.
        problem: String,
    },
    /// Events are wrong; none of the batch was taken.
    #[error("publish {events} events: {}", flaws.first().map(ToString::to_string).unwrap_or_default())]
    BadEvents {
        /// How many there were.
        events: usize,
        /// What is wrong, the first few.
        flaws: Vec<EventFlaw>,
    },
    /// The batch is empty or over a limit; none of it was taken.
    #[error("publish {events} events of {bytes} bytes: {problem}")]
    BadBatch {
        /// How many events.
        events: usize,
        /// How many bytes, encoded.
        bytes: usize,
        /// Which limit it is over.
        problem: String,
    },
    /// What a subscription asks for is wrong.
    #[error("put subscription {name}: {problem}")]
    BadSubscription {
        /// Its name.
        name: TopicName,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// A subscription's filter is wrong.
    #[error("put subscription {name}: {flaw}")]
    BadFilter {
        /// Its name.
        name: TopicName,
        /// What is wrong, and where.
        flaw: FilterFlaw,
    },
    /// A subscription's endpoint may not be called.
    #[error("put subscription {name}: {flaw}")]
    BadSink {
        /// Its name.
        name: TopicName,
        /// Why not.
        flaw: SinkFlaw,
    },
    /// There is no such subscription.
    #[error("find subscription {key}: there is none")]
    SubscriptionUnknown {
        /// What was asked for.
        key: Box<SubscriptionKey>,
        /// One of the service's whose name is much alike.
        nearest: Option<TopicName>,
    },
    /// What a pull asks for is over a limit.
    #[error("pull from {name}: {problem}")]
    BadPull {
        /// The subscription.
        name: TopicName,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// An acknowledgement is wrong; nothing of it was taken.
    #[error("acknowledge to {name}: {problem}")]
    BadAck {
        /// The subscription.
        name: TopicName,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// The lease has run out or was never given.
    #[error("acknowledge to {name}: the lease {lease:?} is not held")]
    LeaseNotHeld {
        /// The subscription.
        name: TopicName,
        /// The lease.
        lease: String,
    },
    /// The cursor points before the oldest event kept.
    #[error("read events after {after}: the oldest kept is {oldest}")]
    CursorExpired {
        /// Where was to be read on.
        after: u64,
        /// The oldest sequence kept.
        oldest: u64,
    },
    /// A cursor would be ahead of the log.
    #[error("move the cursor of {name} to {at}: that is ahead of the newest event, {head}")]
    SeekAhead {
        /// The subscription.
        name: TopicName,
        /// What was asked for.
        at: String,
        /// The newest sequence.
        head: u64,
    },
    /// There is no such place in the log.
    #[error("move the cursor of {name} to {at}: {problem}")]
    BadSeek {
        /// The subscription.
        name: TopicName,
        /// What was asked for.
        at: String,
        /// Why there is no such place.
        problem: String,
    },
    /// There is no such event in the scope.
    #[error("find event {sequence} in {scope}: there is none")]
    EventUnknown {
        /// Its sequence.
        sequence: u64,
        /// Where.
        scope: Scope,
    },
    /// Something stored cannot be understood.
    #[error("read {what}: {problem}")]
    Row {
        /// What it is.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The log did not take events.
    #[error("{0}")]
    Append(AppendError),
    /// The log could not be read.
    #[error("{0}")]
    Read(ReadError),
    /// A key could not be read or written.
    #[error("{0}")]
    Kv(KvError),
    /// A part of the event log could not be read or written.
    #[error("{0}")]
    Part(BlobError),
    /// The index of ids and entities could not be read or written.
    #[error("{0}")]
    Index(IndexError),
    /// The index takes events more slowly than they come.
    #[error("take events: the index of ids and entities is behind")]
    IndexBehind,
    /// The index was damaged, and is being made anew from the log.
    #[error("use the index of ids and entities: it was damaged, and is being made anew from the log")]
    IndexHealing,
    /// As many idempotency keys as are kept have been used within their window.
    #[error("keep another idempotency key: {} were used within a day", crate::limits::IDEMPOTENCY_KEYS_MAX)]
    TooManyIdempotencyKeys,
    /// There is no endpoint to sign for.
    #[error("make a secret for subscription {name}: it has no sink, so nothing is signed")]
    NoSink {
        /// The subscription.
        name: TopicName,
    },
    /// The bus is closed.
    #[error("use the bus: it is closed")]
    Closed,
}

impl From<IndexError> for Error {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl Error {
    /// The error's number and HTTP status.
    pub fn code(&self) -> Code {
        match self {
            Self::TopicOwned { .. } => code::TOPIC_OWNED,
            Self::TopicReserved { .. } => code::NOT_ALLOWED,
            Self::TopicUnknown { .. } => code::TOPIC_UNKNOWN,
            Self::BadEvents { .. } | Self::NoTopicOfType { .. } => code::EVENT,
            Self::NoTopic { .. } => code::TOPIC_UNKNOWN,
            Self::OverQuota { .. } => code::QUOTA,
            Self::ScopeBusy => code::TOO_MANY,
            Self::TooManyDelayed { .. } => code::DELAYED,
            Self::BadBatch { events: 0, .. } => code::EVENT,
            Self::BadBatch { .. } | Self::Append(AppendError::TooLarge { .. }) => code::TOO_LARGE,
            Self::TopicRefused { .. }
            | Self::BadSubscription { .. }
            | Self::BadPull { .. }
            | Self::BadAck { .. } => code::INVALID,
            Self::BadFilter { .. } => code::FILTER,
            Self::BadSink { .. } => code::SINK,
            Self::NoSink { .. } => code::NO_SINK,
            Self::SubscriptionUnknown { .. } | Self::EventUnknown { .. } => code::NOT_FOUND,
            Self::SeekAhead { .. } => code::SEEK_AHEAD,
            Self::BadSeek { .. } => code::SEEK,
            Self::LeaseNotHeld { .. } => code::LEASE,
            Self::CursorExpired { .. } => code::CURSOR_EXPIRED,
            Self::Append(AppendError::Full { .. }) | Self::Part(BlobError::Full { .. }) => code::DISK_FULL,
            Self::Append(AppendError::Busy { .. }) => code::TOO_MANY,
            Self::Kv(KvError::Conflict { .. }) => code::CONFLICT,
            Self::Append(_) | Self::Closed => code::UNAVAILABLE,
            Self::Read(ReadError::Closed) | Self::Kv(KvError::Closed) => code::UNAVAILABLE,
            Self::Index(_) | Self::IndexHealing => code::INDEX,
            Self::IndexBehind => code::TOO_MANY,
            Self::TooManyIdempotencyKeys => code::IDEMPOTENCY_KEYS,
            Self::Read(_) | Self::Kv(_) | Self::Part(_) | Self::Row { .. } => code::INTERNAL,
        }
    }

    /// What to try next, when there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TopicOwned { topic, owner, .. } => Some(format!(
                "a topic has one publisher; declare a topic of your own in service.yml, or ask {owner} to publish on {topic}"
            )),
            Self::TopicReserved { .. } => Some("choose a name that does not begin with hob.".to_owned()),
            Self::NoTopic { nearest, .. } => Some(match nearest {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => "use a-z, 0-9, -, _ and dots, such as orders or rider.pings".to_owned(),
            }),
            Self::NoTopicOfType { .. } => {
                Some("name it in the attribute `topic`, or send to /v1/topics/{topic}/events".to_owned())
            }
            Self::OverQuota { left, .. } => Some(format!(
                "wait {} s, then send again; with the same ids nothing is doubled",
                left.wait.as_secs_f64().ceil()
            )),
            Self::TooManyDelayed { .. } => {
                Some("wait until some are due, or hold them back in your own service".to_owned())
            }
            Self::ScopeBusy => Some("try again in a second; with the same ids nothing is doubled".to_owned()),
            Self::TopicUnknown { topic, nearest, .. } => Some(unknown_topic_hint(topic, nearest.as_ref())),
            Self::SubscriptionUnknown { key, nearest } => Some(match nearest {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("make it: PUT /v1/subscriptions/{} {{\"topics\": [...]}}", key.name),
            }),
            Self::NoSink { .. } => Some("name a sink first: PUT the subscription with one".to_owned()),
            Self::BadBatch { events, .. } if *events > 0 => Some("split the batch".to_owned()),
            Self::SeekAhead { .. } => Some("seek to end to go on with what is new".to_owned()),
            Self::LeaseNotHeld { .. } => Some(
                "pull again: its events are handed out anew; ask for a longer lease, or extend it in time"
                    .to_owned(),
            ),
            Self::CursorExpired { oldest, .. } => Some(format!(
                "what was in between is gone: forget what was derived from it and read on from {oldest}"
            )),
            Self::Append(AppendError::Busy { .. }) | Self::IndexBehind | Self::IndexHealing => {
                Some("try again in a second".to_owned())
            }
            Self::TooManyIdempotencyKeys => Some(
                "give events ids of their own instead: an id makes an event safe to repeat without a key"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The single errors that make this one up.
    pub fn items(&self) -> Vec<ErrorItem> {
        match self {
            Self::BadEvents { flaws, .. } => flaws.iter().map(ErrorItem::from).collect(),
            Self::BadFilter { flaw, .. } => {
                vec![ErrorItem { place: flaw.place.clone(), detail: flaw.problem.clone() }]
            }
            _ => Vec::new(),
        }
    }
}

fn unknown_topic_hint(topic: &TopicName, nearest: Option<&TopicName>) -> String {
    let question = nearest.map(|nearest| format!("did you mean {nearest}? ")).unwrap_or_default();
    format!(
        "{question}declare it in service.yml (topics: [{{name: {topic}, kind: notify}}]) and run hob apply, \
         or PUT /v1/topics/{topic} {{\"kind\": \"notify\"}}"
    )
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Trimmed { from, oldest } => {
                Self::CursorExpired { after: from.saturating_sub(1), oldest }
            }
            other => Self::Read(other),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        Self::Part(error)
    }
}

impl From<KvError> for Error {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}
