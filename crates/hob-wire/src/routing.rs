//! What the core tells a router, and what a router reports back.

use std::collections::BTreeMap;

use hob_core::{Histogram, Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Drain, Network, Retry, RouteLimit};

/// Everything a router needs to know: one item of the stream `GET /v1/routing`, each time the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoutingSnapshot {
    /// Rises with every change; the router acknowledges it in its report.
    pub generation: u64,
    /// Which requests go to which pool. The longest path wins; among equals, one with a host before one without.
    pub routes: Vec<Route>,
    /// The instances, by pool name.
    pub pools: BTreeMap<String, Pool>,
    /// Who may say whom a request comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Network>,
    /// What is held back or answered by the router itself, on people's orders; the first that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shields: Vec<Shield>,
}

/// Requests for a host and below a path go to a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The host, without port; any host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path and everything below it: `/orders` matches `/orders` and `/orders/7`, not `/orders-api`.
    pub path: String,
    /// The name of the pool.
    pub pool: String,
    /// How many requests one client may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<RouteLimit>,
    /// Milliseconds until an answer must have begun; the router's own limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What may be sent again.
    #[serde(default)]
    pub retry: Retry,
}

/// The instances that serve a service's requests in a scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// The service.
    pub service: Name,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// Where requests may go.
    pub targets: Vec<Target>,
    /// Which requests go to another release than the one that takes the rest; the first that matches counts. Empty when
    /// all targets share all requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// How the last requests of a target that leaves end.
    #[serde(default)]
    pub drain: Drain,
    /// Milliseconds that a request waits for a target while there is none, because the pool was scaled to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_hold_ms: Option<u64>,
}

impl Pool {
    /// A pool all of whose targets share all requests.
    pub fn new(service: Name, scope: Scope, targets: Vec<Target>) -> Self {
        let (shares, drain) = (Vec::new(), Drain::default());
        Self { service, scope, targets, shares, drain, idle_hold_ms: None }
    }
}

/// Requests that go to one release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The release; targets of it that are not ready leave its share to the rest.
    pub release: u64,
    /// Per cent of the requests; a client stays where it was by a hash of its address, or of `cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Requests that carry all of these headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The cookie by which a client stays where it was; by its address when it sends none of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Whether these targets take nothing else.
    #[serde(default)]
    pub only: bool,
}

/// What the router does itself with requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shield {
    /// Unique; the same again replaces it.
    pub id: String,
    /// Only this service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// Only in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
    /// Only this tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Only at and below this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it does.
    #[serde(flatten)]
    pub kind: ShieldKind,
    /// Since when.
    pub since: Timestamp,
    /// Who ordered it.
    pub by: String,
}

/// What a shield does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "does", rename_all = "lowercase")]
pub enum ShieldKind {
    /// Requests wait until it is lifted, so many at most and so long at most; then 504 (or 503 when there are too many).
    Hold {
        /// Milliseconds.
        max_ms: u64,
    },
    /// Requests get a page that says to come back.
    Maintenance {
        /// What people read.
        message: String,
        /// Seconds.
        retry_after: u32,
    },
}

/// One instance that takes requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The instance's id.
    pub instance: String,
    /// Where it listens, `127.0.0.1:40123`.
    pub address: String,
    /// The release's number.
    pub release: u64,
    /// Its share grows, since when and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

/// A target's share of requests grows from little to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlowStart {
    /// When it became ready.
    pub since: Timestamp,
    /// Milliseconds.
    pub for_ms: u64,
}

/// What a router did since its last report: posted to `/v1/routers/{router}/report` each second, and at once when a
/// generation was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouterReport {
    /// The generation by which every new request is routed now.
    pub generation: u64,
    /// Begin of the time counted here.
    pub from: Timestamp,
    /// End of the time counted here.
    pub to: Timestamp,
    /// Per instance, also those that left the snapshot while requests of theirs are in flight.
    pub instances: Vec<InstanceTraffic>,
    /// Access records that were not sent, by the rate limit or because the core was away.
    #[serde(default)]
    pub records_dropped: u64,
    /// Instances that get no requests for a while, because they failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ejected: Vec<Ejection>,
    /// Requests refused in the time counted here, by pool and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<Limited>,
    /// Connections of clients that are open.
    #[serde(default)]
    pub connections: u64,
    /// Requests that wait, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, u64>,
}

/// An instance that gets no requests for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ejection {
    /// The instance.
    pub instance: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// Requests that were refused for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limited {
    /// The pool; none when the request did not come that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// `rate`, `connections`, `header`, `body`, `slow`, `hold`, `maintenance`.
    pub reason: String,
    /// How many.
    pub requests: u64,
}

/// One instance's requests in the time of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceTraffic {
    /// The instance's id.
    pub instance: String,
    /// The service.
    pub service: Name,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// The release's number.
    pub release: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Those that ended with 5xx, or with no answer.
    pub errors: u64,
    /// Requests in flight at the end of the time.
    pub in_flight: u64,
    /// Requests held back at the end of the time, waiting for an instance.
    #[serde(default)]
    pub held: u64,
    /// Seconds from the first byte in to the last byte out.
    pub latency: Histogram,
    /// Requests that were sent again elsewhere because this instance did not answer.
    #[serde(default)]
    pub retried: u64,
}
