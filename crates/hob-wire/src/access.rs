//! Access records, and the roles that callers of the API have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request that went through a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccessRecord {
    /// `GET`.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// The path, without query.
    pub path: String,
    /// The status that went back to the client.
    pub status: u16,
    /// Milliseconds from the first byte in to the last byte out.
    pub duration_ms: f64,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// The request's id, made or carried on.
    pub request_id: String,
    /// W3C trace context as it went to the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The client's address.
    pub client: String,
    /// How many instances were tried.
    pub attempts: u32,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Who a caller of the API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person who may look.
    Viewer,
    /// A person who may also act on issues.
    Operator,
    /// A person who may also deploy.
    Developer,
    /// A person who may do everything.
    Admin,
    /// A running process of a service.
    Instance,
    /// An agent.
    Node,
    /// A router.
    Router,
    /// A machine that may become a node.
    Joining,
}
