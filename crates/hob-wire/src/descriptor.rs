//! The descriptor of a service: `service.yml` in its repository.

use std::collections::BTreeMap;

use hob_core::{Name, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TopicTerms;

mod read;
mod topic;

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It owns data and publishes.
    Domain,
    /// It owns no data, aggregates and only receives.
    Edge,
}

/// How a process goes from one release to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The new instances are ready before the old ones stop.
    #[default]
    BlueGreen,
    /// The old instance has stopped before the new one starts: for workers of which two must not run at once.
    StopThenStart,
}

/// A parsed and checked `service.yml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub service: Name,
    /// What it is.
    pub kind: Kind,
    /// The team that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// The shell command that builds it, run in the descriptor's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// What its package holds.
    pub package: PackageSpec,
    /// Its processes by name.
    pub processes: BTreeMap<Name, Process>,
    /// Its own configuration.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How to see how it is.
    #[serde(default)]
    pub health: Health,
    /// Which requests it takes; they go to the process `web`.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// What it publishes.
    #[serde(default)]
    pub topics: Vec<TopicSpec>,
}

/// What a package holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageSpec {
    /// Files and folders, relative to the descriptor's folder.
    pub include: Vec<String>,
}

/// One kind of process of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// The program and its arguments.
    pub run: Vec<String>,
    /// Whether it listens on the port that `PORT` names: `port: http`.
    pub listens: bool,
    /// How many instances.
    pub replicas: u32,
    /// How it goes from one release to the next.
    pub strategy: Strategy,
}

/// How to see how a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Whether an instance may take requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
}

/// A readiness probe of listening processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// The path to get; any 2xx answer is success.
    pub http: String,
    /// Milliseconds between probes.
    pub every_ms: u64,
    /// Milliseconds that one may take.
    pub timeout_ms: u64,
}

/// Requests that a service takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSpec {
    /// The host, which may contain `${environment}` and `${tenant}`; any host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path and everything below it.
    pub path: String,
}

/// A topic that a service owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// On what terms its events are taken and kept.
    #[serde(flatten)]
    pub terms: TopicTerms,
}
