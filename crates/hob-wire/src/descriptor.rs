//! The descriptor of a service: `service.yml` in its repository.

use std::collections::BTreeMap;

use hob_core::{Name, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TopicTerms;

mod read;
mod terms;
mod topic;

pub use terms::{
    Check, Drain, Gate, Health, Isolation, ReleaseTerms, Resources, Retry, RouteLimit, Sandbox, Scale,
    Startup, StepTerms, Stop, StopSignal, Warmup, When, Window,
};

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
    /// What its instances may reach.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sandbox: Sandbox,
    /// What `web` instances get before customers' requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// How the last requests of an instance end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub drain: Drain,
    /// Which requests it takes; they go to the process `web`.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// How a release takes over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub release: ReleaseTerms,
    /// How many instances of `web` there are; `replicas` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
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
    /// When it runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// Milliseconds that a process that runs once may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What one instance may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// How it is asked to end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stop: Stop,
}

/// Requests that a service takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSpec {
    /// The host, which may contain `${environment}` and `${tenant}`; any host when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path and everything below it.
    pub path: String,
    /// How many requests one client may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<RouteLimit>,
    /// Milliseconds until an answer must have begun; the router's own limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What may be sent again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
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

/// Whether a value says nothing that leaving it out would not.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
