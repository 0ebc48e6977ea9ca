//! The port through which events leave: the bus knows no HTTP client. `hob` answers it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hob_core::Scope;

use crate::SinkFlaw;

/// Bytes of an endpoint's answer that are read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection to an endpoint may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends requests to endpoints.
pub trait Endpoint: Send + Sync {
    /// Posts a body, follows no redirect, and calls no address that [`crate::check_address`] refuses.
    fn post(&self, delivery: Delivery) -> BoxFuture<'_, Result<Answer, Unreached>>;
}

/// A request to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose subscription it is: an address under the scope's public origin leads to the router.
    pub scope: Scope,
    /// The subscription's sink, as [`crate::check_sink`] let it pass.
    pub url: String,
    /// Headers, `content-type` among them.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Bytes,
    /// How long all of it may take, the answer's body included.
    pub timeout: Duration,
}

/// An endpoint's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, as it is written.
    pub retry_after: Option<String>,
    /// Whether the body's media type is JSON.
    pub is_json: bool,
    /// The body, when it was read to its end within [`ANSWER_BYTES_MAX`]. Needed of JSON answers and of failures;
    /// that it broke off or has no end is no failure by itself.
    pub body: Option<Bytes>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// The address is one that is never called.
    #[error("{0}")]
    Refused(#[from] SinkFlaw),
    /// No connection could be made: nothing was sent.
    #[error("the endpoint cannot be reached: {0}")]
    Connect(String),
    /// No safe connection could be made: nothing was sent.
    #[error("no safe connection to the endpoint: {0}")]
    Unsafe(String),
    /// There was no answer in time.
    #[error("the endpoint did not answer in time: {0}")]
    Timeout(String),
    /// The connection broke off before the answer.
    #[error("the endpoint broke off: {0}")]
    Broken(String),
}

impl Unreached {
    /// Whether the endpoint may have got the request.
    pub(crate) fn was_sent(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Broken(_))
    }
}
