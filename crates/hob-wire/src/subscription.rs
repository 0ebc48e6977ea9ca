//! Subscriptions: a consumer's cursor over the event log, read by pull lease or as a live stream.

use std::collections::BTreeMap;

use hob_core::{Name, Timestamp, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Event;

/// What a consumer asks for when it puts a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionSpec {
    /// The topics, one or more.
    pub topics: Vec<TopicName>,
    /// Only events of these types, when any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Where a new subscription begins; an existing one stays where it is.
    #[serde(default)]
    pub from: CursorAt,
    /// Only events for which all of these hold (CloudEvents Subscriptions 0.2-wip, the mandatory dialects).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterSpec>,
    /// Where to push them: an absolute http or https URL. Without it they are pulled or streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// How they are handed out.
    #[serde(default, skip_serializing_if = "DeliverySpec::is_default")]
    pub delivery: DeliverySpec,
}

/// One condition on an event's attributes. `exact`, `prefix` and `suffix` name attributes with the text that each must
/// be, begin or end with; an attribute that an event lacks never matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum FilterSpec {
    /// Each attribute is the text.
    Exact(BTreeMap<String, String>),
    /// Each attribute begins with the text.
    Prefix(BTreeMap<String, String>),
    /// Each attribute ends with the text.
    Suffix(BTreeMap<String, String>),
    /// All of these hold.
    All(Vec<FilterSpec>),
    /// At least one of these holds.
    Any(Vec<FilterSpec>),
    /// This does not hold.
    Not(Box<FilterSpec>),
}

/// How a subscription's events are handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeliverySpec {
    /// Events of one push, 1 to 1,000.
    pub max: u32,
    /// How long a push waits for more events, in milliseconds.
    pub deadline_ms: u64,
    /// Pushes at the same time, 1 to 64. An entity is never in two of them.
    pub concurrency: u32,
    /// How a push is written.
    pub format: PushFormat,
    /// How long the endpoint may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// In which order events are handed out.
    pub order: DeliveryOrder,
    /// Whether only the newest event of each entity is handed out while the subscription is behind.
    pub collapse: Collapse,
    /// How often an event is handed out before it becomes a dead letter.
    pub attempts: u32,
    /// Pauses between the attempts, in milliseconds; the last one repeats. Each is shortened at random by up to half.
    pub backoff_ms: Vec<u64>,
    /// What becomes of an event after the last attempt.
    pub on_poison: OnPoison,
}

impl Default for DeliverySpec {
    fn default() -> Self {
        Self {
            max: 100,
            deadline_ms: 0,
            concurrency: 8,
            format: PushFormat::Batch,
            timeout_ms: 20_000,
            order: DeliveryOrder::Entity,
            collapse: Collapse::None,
            attempts: 10,
            backoff_ms: vec![1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000],
            on_poison: OnPoison::DeadLetter,
        }
    }
}

impl DeliverySpec {
    /// Whether nothing differs from the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a push is written (CloudEvents HTTP protocol binding 1.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PushFormat {
    /// `application/cloudevents-batch+json`: an array.
    #[default]
    Batch,
    /// `application/cloudevents+json`: one event a request.
    Structured,
    /// Attributes as `ce-` headers, the data as body: one event a request.
    Binary,
}

/// In which order events are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryOrder {
    /// In order for each entity, side by side for several.
    #[default]
    Entity,
    /// In order of the log, one batch at a time: whatever fails holds back everything.
    Strict,
    /// In no order: nothing holds back anything.
    None,
}

/// Whether events are left out because a newer one says the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Collapse {
    /// None is.
    #[default]
    None,
    /// Of the events of an entity that wait, only the newest is handed out; `noop` never stands for a change.
    Latest,
}

/// What becomes of an event after its last attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnPoison {
    /// It is set aside as a dead letter, and the entity's later events flow.
    #[default]
    DeadLetter,
    /// It is tried for ever, and holds back its entity.
    Block,
}

/// A place in the event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CursorAt {
    /// After the newest event.
    #[default]
    End,
    /// At the oldest event kept.
    Start,
}

/// A subscription and how it is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionState {
    /// Its name, unique among the service's in its scope.
    pub name: TopicName,
    /// The consumer that owns it.
    pub service: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The topics.
    pub topics: Vec<TopicName>,
    /// Only events of these types, when any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Only events for which all of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterSpec>,
    /// Where they are pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// How they are handed out.
    pub delivery: DeliverySpec,
    /// `active`, `leased` while a puller holds a batch, `paused`, or `stalled`.
    pub state: String,
    /// When a pause ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// Everything up to here is acknowledged; 20 digits.
    pub cursor: String,
    /// Events between the cursor and the log's head that match.
    pub lag_events: u64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: f64,
    /// When Hob took the oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Events handed out or being pushed, and not yet acknowledged.
    pub in_flight: u64,
    /// Entities that wait for another attempt after a failure.
    pub parked_keys: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Events acknowledged since Hob started.
    pub delivered: u64,
    /// Attempts that failed since Hob started.
    pub failed: u64,
    /// Events left out since Hob started because a newer one of their entity stands for them.
    #[serde(default)]
    pub collapsed: u64,
    /// Events passed over since Hob started because they are damaged; where a whole stretch of the log is lost, as many
    /// as may have been asked for.
    #[serde(default)]
    pub damaged: u64,
    /// The last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<DeliveryError>,
    /// When something that waits is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// How the endpoint is doing, when events are pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerState>,
    /// Live streams open now.
    pub streams: u64,
    /// Why it does not move, when it does not: a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_reason: Option<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// Its endpoint's signing secret (Standard Webhooks, `whsec_…`); shown once, when it was made or rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Why a subscription does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stall {
    /// Somebody paused it.
    Paused,
    /// Nobody pulls or follows it although events wait.
    NoConsumer,
    /// Everything that waits has failed and waits for its next attempt.
    Retrying,
    /// The endpoint failed several times in a row; one probe at a time is sent.
    BreakerOpen,
    /// An event failed its last attempt, and the subscription blocks on such.
    Poisoned,
    /// As many events are parked as it may have.
    WindowFull,
    /// Events that it had not seen were removed by their topic's retention.
    CursorExpired,
    /// Events that it had not seen are damaged.
    Damaged,
    /// A topic that it names is not declared.
    TopicUnknown,
    /// The endpoint asked to be left alone (410), or cannot be called at all.
    EndpointGone,
}

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryError {
    /// When.
    pub time: Timestamp,
    /// The endpoint's HTTP status, when it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    pub detail: String,
    /// The entity that it was about, when it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// How an endpoint is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// It takes events.
    Closed,
    /// It failed several times in a row, and is left alone for a while.
    Open,
    /// One push finds out whether it is well again.
    HalfOpen,
}

/// A change of a subscription's state: the body of `PATCH /v1/subscriptions/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionPatch {
    /// `paused` or `active`.
    pub state: WantedState,
    /// When a pause ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Whether a subscription is to hand out events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WantedState {
    /// Yes.
    Active,
    /// Not now; its cursor stays where it is.
    Paused,
}

/// Where a cursor is to go: the body of `PUT /v1/subscriptions/{name}/cursor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seek {
    /// `start`, `end`, `seq:<sequence>` (the next event is the one after it), `time:<RFC 3339>` (the next is the first
    /// that Hob took at or after it), or `id:<event id>` (the next is the one after it).
    pub at: String,
}

/// An event that a subscription could not deliver and has set aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Names it: the event's sequence, 20 digits.
    pub id: String,
    /// The event; none when it can no longer be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// The entity that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed: Timestamp,
    /// When it failed last.
    pub last_failed: Timestamp,
    /// How it failed last.
    pub last_error: DeliveryError,
    /// Whether it is on its way once more.
    pub replaying: bool,
}

/// Which dead letters are meant: the body of `POST …/dead-letters/replay` and `…/dead-letters/drop`. All when nothing
/// is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterChoice {
    /// These, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Those about this entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// How many things an operation touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Touched {
    /// So many.
    pub count: u64,
}

/// Events handed out under a lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// Names the lease in the acknowledgement.
    pub lease: String,
    /// When the lease ends: then the events are handed out again.
    pub expires: Timestamp,
    /// The events, in log order.
    pub events: Vec<Event>,
}

/// An acknowledgement, posted to `/v1/subscriptions/{name}/acks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// The lease that it is about.
    pub lease: String,
    /// Everything up to this sequence, 20 digits, is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<String>,
    /// These events, by id, are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<String>,
    /// These are not, and are handed out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nack: Vec<Nack>,
    /// Hold the lease that many milliseconds longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend_ms: Option<u64>,
}

/// Asks for a lease, and acknowledges earlier ones on the way: posted to `/v1/subscriptions/{name}/lease`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseWish {
    /// Acknowledgements, taken one after the other before anything is leased; the first that is wrong ends the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<Ack>,
    /// Events, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// How long to wait for the first, in milliseconds; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// How long the events are the caller's, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// An event that its consumer could not handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nack {
    /// The event's id.
    pub id: String,
    /// Hand it out again after so many milliseconds; when the subscription's back-off says, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
