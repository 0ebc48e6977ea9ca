//! The bus's own words: who publishes, which events are meant, what a page, a tail and a pull are.

use std::fmt;
use std::time::Duration;

use hob_core::{Name, Scope, Timestamp, TopicName};
use hob_wire::Event;

/// Limits of the bus that callers may want to name in their own errors.
pub mod limits {
    use std::time::Duration;

    /// Topics of one scope.
    pub const TOPICS_PER_SCOPE_MAX: usize = 1_000;
    /// Subscriptions of one service in one scope.
    pub const SUBSCRIPTIONS_PER_SERVICE_MAX: usize = 50;
    /// Topics of one subscription.
    pub const SUBSCRIPTION_TOPICS_MAX: usize = 50;
    /// Types that one subscription may name.
    pub const SUBSCRIPTION_TYPES_MAX: usize = 50;
    /// Events that one pull hands out.
    pub const PULL_EVENTS_MAX: usize = 1_000;
    /// Encoded bytes after which one pull hands out no further event.
    pub const PULL_BYTES_MAX: usize = 4 << 20;
    /// Longest that a pull waits for events.
    pub const PULL_WAIT_MAX: Duration = Duration::from_secs(60);
    /// Shortest lease.
    pub const LEASE_MIN: Duration = Duration::from_secs(1);
    /// Longest lease, and furthest extension.
    pub const LEASE_MAX: Duration = Duration::from_secs(600);
    /// The lease when a puller names none.
    pub const LEASE_DEFAULT: Duration = Duration::from_secs(30);
    /// Longest delay of a nack.
    pub const NACK_DELAY_MAX: Duration = Duration::from_secs(24 * 3600);
    /// Events of a subscription that are pending at one time: looked at, and not done.
    pub const PENDING_MAX: usize = 65_536;
    /// Entities of a subscription that wait for another attempt after a failure; at the limit it looks no further.
    pub const PARKED_MAX: usize = 10_000;
    /// Leases of a subscription that are alive at one time; at the limit pullers wait.
    pub const LEASES_MAX: usize = 64;
    /// Dead letters of a subscription; at the limit an event that fails for good holds back its entity instead.
    pub const LETTERS_MAX: usize = 10_000;
    /// Entities of a snapshot that are on their way at one time, and one page more.
    pub const SNAPSHOT_PENDING_MAX: usize = 1_000;
    /// How often a live stream says that it is alive.
    pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);
    /// How often moved cursors are written.
    pub const CURSOR_EVERY: Duration = Duration::from_millis(200);
    /// Bytes of an event's data on Hob's own topics.
    pub const HOB_DATA_BYTES_MAX: usize = 256 * 1024;
    /// How long an id is known again, by source and scope, counted from when it was recorded: at least so long.
    pub const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(3 * 24 * 3600);
    /// How long the answer to a request with an idempotency key is given again.
    pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);
    /// Idempotency keys that are kept at one time.
    pub const IDEMPOTENCY_KEYS_MAX: usize = 50_000;
}

/// Hob's own topics.
pub mod hob_topics {
    /// Notices about instances.
    pub const INSTANCES: &str = "hob.instances";
    /// Notices about rollouts.
    pub const ROLLOUTS: &str = "hob.rollouts";
    /// Transitions of issues.
    pub const ISSUES: &str = "hob.issues";
    /// What fetches of entities returned.
    pub const OBSERVATIONS: &str = "hob.observations";
    /// What people asked for: acknowledge, resolve and the like.
    pub const COMMANDS: &str = "hob.commands";
    /// What parts of Hob report about themselves.
    pub const CONDITIONS: &str = "hob.conditions";
    /// Ticks of the wall clock.
    pub const CLOCK: &str = "hob.clock";
    /// All of them, with whether they carry notices.
    pub const ALL: [(&str, hob_wire::TopicKind); 7] = [
        (INSTANCES, hob_wire::TopicKind::Notify),
        (ROLLOUTS, hob_wire::TopicKind::Notify),
        (ISSUES, hob_wire::TopicKind::Stream),
        (OBSERVATIONS, hob_wire::TopicKind::Stream),
        (COMMANDS, hob_wire::TopicKind::Stream),
        (CONDITIONS, hob_wire::TopicKind::Stream),
        (CLOCK, hob_wire::TopicKind::Stream),
    ];
}

/// Who publishes: from the token and the headers of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Where and for whom.
    pub scope: Scope,
    /// The service.
    pub service: Name,
    /// The request that caused it; goes into events that name none themselves.
    pub request_id: Option<String>,
    /// W3C trace context; goes into events that name none themselves.
    pub traceparent: Option<String>,
}

/// Which events are meant. Everything that is named must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The scope. Of Hob's own topics, events that belong to no scope are meant as well.
    pub scope: Scope,
    /// On one of these topics; on every topic of the scope when empty.
    pub topics: Vec<TopicName>,
    /// Of one of these types (`orders.update`); of any when empty.
    pub types: Vec<String>,
    /// About this href.
    pub subject: Option<String>,
    /// Caused by this request.
    pub request_id: Option<String>,
    /// With this id.
    pub id: Option<String>,
    /// Only events whose time is this or later.
    pub from: Option<Timestamp>,
    /// Only events whose time is earlier than this.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Every event of a scope.
    pub fn all(scope: Scope) -> Self {
        Self {
            scope,
            topics: Vec::new(),
            types: Vec::new(),
            subject: None,
            request_id: None,
            id: None,
            from: None,
            to: None,
        }
    }

    /// Every event of a scope on these topics.
    pub fn topics(scope: Scope, topics: Vec<TopicName>) -> Self {
        Self { topics, ..Self::all(scope) }
    }
}

/// A page of the event log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventPage {
    /// The events, oldest first; may be none although there is a next page, since one call looks through a bounded
    /// part of the log.
    pub events: Vec<Event>,
    /// Ask on after this sequence; none when the newest event was looked at.
    pub next: Option<u64>,
}

/// An item of a live stream.
#[derive(Clone, Debug, PartialEq)]
pub enum TailItem {
    /// An event that the filter lets pass.
    Event(Box<Event>),
    /// Nothing is missing: everything up to `head` that the filter lets pass was given out before. Comes every
    /// [`limits::HEARTBEAT_EVERY`], and only while the stream keeps up; it may be resumed after `head`.
    Heartbeat {
        /// The newest durable sequence.
        head: u64,
    },
}

/// What names a subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey {
    /// Where and for whom.
    pub scope: Scope,
    /// The consumer that owns it.
    pub service: Name,
    /// Its name, unique among the service's in the scope.
    pub name: TopicName,
}

impl fmt::Display for SubscriptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.scope, self.service, self.name)
    }
}

/// What a puller asks for. Values beyond the limits of [`limits`] are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Most events.
    pub max: usize,
    /// Longest wait for the first.
    pub wait: Duration,
    /// How long the puller has for them.
    pub lease_for: Duration,
}

/// What a put led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Put<T> {
    /// The thing as it is now.
    pub value: T,
    /// Whether it did not exist before.
    pub created: bool,
}

/// The scope of Hob's own events that belong to no scope.
pub(crate) fn platform_scope() -> Scope {
    let name = || "hob".parse().expect("hob is a name");
    Scope { environment: name(), tenant: name() }
}
