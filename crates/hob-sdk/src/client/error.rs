//! How a call can fail.

use std::time::Duration;

use hob_wire::Problem;
use http::StatusCode;

/// A call that failed. `subject` is its method and target.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be built.
    #[error("build the HTTP client")]
    Build {
        /// Why.
        source: reqwest::Error,
    },
    /// The token has characters that a header does not take.
    #[error("use the token in HOB_TOKEN: it has characters that cannot stand in a header")]
    Token,
    /// The file of authorities cannot be used.
    #[error(transparent)]
    Trust(#[from] crate::tls::Error),
    /// The target is neither an href nor a path of Hob's API.
    #[error(
        "call {target:?}: write an href under the scope's public URL, another http or https address, or a path such as \
         /v1/events"
    )]
    Target {
        /// What was asked for.
        target: String,
    },
    /// The request could not be put together.
    #[error("make the request {subject}: {reason}")]
    Request {
        /// Method and target.
        subject: String,
        /// Why.
        reason: String,
    },
    /// The connection failed before the answer was whole.
    #[error("{subject}")]
    Send {
        /// Method and target.
        subject: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No safe connection could be made.
    #[error("{subject}: {flaw}")]
    Tls {
        /// Method and target.
        subject: String,
        /// What is wrong with it, and how to mend it.
        flaw: String,
    },
    /// There was no whole answer in time.
    #[error("{subject}: no answer within {} ms", limit.as_millis())]
    Timeout {
        /// Method and target.
        subject: String,
        /// The limit.
        limit: Duration,
    },
    /// The answer is larger than is read.
    #[error("{subject}: the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// Method and target.
        subject: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The answer tells of failure.
    #[error("{subject}: {status}{}", detail(problem.as_deref()))]
    Status {
        /// Method and target.
        subject: String,
        /// The status.
        status: StatusCode,
        /// What the answer says, when it is a problem.
        problem: Option<Box<Problem>>,
        /// How long it asks to wait before the next attempt.
        retry_after: Option<Duration>,
        /// Whether something on the way gave the answer, such as Hob's router, and not the service itself.
        is_gateways_own: bool,
    },
    /// The answer is not the JSON that was expected.
    #[error("read the answer to {subject}")]
    Decode {
        /// Method and target.
        subject: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Error {
    pub(crate) fn status_of(subject: String, status: StatusCode) -> Self {
        Self::Status { subject, status, problem: None, retry_after: None, is_gateways_own: false }
    }

    /// How long the answer asks to wait before the next attempt, when it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status, when there was an answer that tells of failure.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same request may well succeed later: no answer, too much at once, or not available now.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Send { .. } | Self::Tls { .. } | Self::Timeout { .. } => true,
            Self::Status { status, is_gateways_own, .. } => {
                // A router that finds no way today may find one once the service is deployed.
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || (*is_gateways_own && *status == StatusCode::NOT_FOUND)
            }
            _ => false,
        }
    }
}

fn detail(problem: Option<&Problem>) -> String {
    problem.map(|problem| format!(": {problem}")).unwrap_or_default()
}
