//! What the core tells a router, and what a router reports back.

use std::collections::BTreeMap;

use hob_core::{Histogram, Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything a router needs to know: one item of the stream `GET /v1/routing`, each time the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoutingSnapshot {
    /// Rises with every change; the router acknowledges it in its report.
    pub generation: u64,
    /// Which requests go to which pool. The longest path wins; among equals, one with a host before one without.
    pub routes: Vec<Route>,
    /// The instances, by pool name.
    pub pools: BTreeMap<String, Pool>,
}

/// Requests for a host and below a path go to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The host, without port; any host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path and everything below it: `/orders` matches `/orders` and `/orders/7`, not `/orders-api`.
    pub path: String,
    /// The name of the pool.
    pub pool: String,
}

/// The instances that serve a service's requests in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// The service.
    pub service: Name,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// Where requests may go.
    pub targets: Vec<Target>,
}

/// One instance that takes requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The instance's id.
    pub instance: String,
    /// Where it listens, `127.0.0.1:40123`.
    pub address: String,
    /// The release's number.
    pub release: u64,
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
}
