//! Topics, subscriptions, delivery and the event log.
//!
//! One log holds the events of every topic of every scope; a subscription is a cursor over it. The bus alone writes
//! that log, so that it can count an entity's events and know a repeated id while the first is still on its way to
//! the disk. What is decided about a batch or a subscription is decided by pure functions (`check`, `index`, `step`);
//! the rest moves bytes. It refuses to know HTTP: `hob-api` frames what it gives out.
//!
//! Start at [`Bus`].

mod error;
mod model;

mod handle;
mod healing;
mod open;

mod check;
mod idempotency;
mod index;
mod publish;
mod quota;
mod topics;

mod bells;
mod clocks;
mod conditions;
mod course;
mod delayed;
mod entities;
mod feed;
mod parts;
mod positions;
mod read;
mod retention;
mod scrub;
mod seal;
mod tail;
mod text;

mod breaker;
mod filter;
mod lag;
mod push;
mod signature;
mod sink;
mod step;
mod subscription;
mod subscriptions;
mod watchdog;

mod rows;

pub use entities::{EntityPage, LiveEntity};
pub use error::Error;
pub use feed::{Follow, Piece};
pub use filter::FilterFlaw;
pub use handle::Bus;
pub use hob_store::Gap;
pub use hob_wire::EventFlaw;
pub use idempotency::{Begun, Idempotency, Ticket};
#[doc(hidden)]
pub use index::IndexLimits;
pub use model::{EventPage, Filter, Publisher, Pull, Put, SubscriptionKey, TailItem, hob_topics, limits};
pub use parts::EventLogStats;
pub use publish::Admission;
pub use push::{ANSWER_BYTES_MAX, Answer, CONNECT_TIMEOUT, Delivery, Endpoint, Unreached};
pub use quota::QuotaLeft;
pub use sink::{SinkFlaw, check_address, check_sink};
pub use subscription::Progress;
pub use subscriptions::DeadLetterPage;
pub use tail::Tail;
pub use text::Framing;
