//! What handlers have at hand.

use std::sync::Arc;

use hob_bus::Bus;
use hob_core::{Clock, Scope, Timestamp};
use hob_deploy::Deploy;
use hob_metrics::Metrics;
use hob_records::Records;
use hob_watch::Watch;
use hob_wire::{RecordBatch, SampleBatch};

use crate::auth::Tokens;
use crate::error::ApiError;

/// Takes in telemetry. The decoders live beside this crate, not below it, so whoever wires both fills this port.
pub trait Intake: Send + Sync + 'static {
    /// Takes log lines and access records; done when they are on disk.
    fn records(&self, batch: RecordBatch) -> futures_util::future::BoxFuture<'_, Result<(), ApiError>>;

    /// Takes samples; done when they are on disk.
    fn samples(&self, batch: SampleBatch) -> futures_util::future::BoxFuture<'_, Result<(), ApiError>>;
}

/// What the API tells of the process that it runs in.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where requests for services go.
    pub router_url: String,
    /// When the core started.
    pub started: Timestamp,
}

/// The floors below.
pub struct Parts {
    /// Topics, subscriptions, events.
    pub bus: Bus,
    /// Packages, releases, rollouts.
    pub deploy: Deploy,
    /// Rules and issues.
    pub watch: Watch,
    /// Log records.
    pub records: Records,
    /// Series.
    pub metrics: Metrics,
    /// Decoders of telemetry.
    pub intake: Arc<dyn Intake>,
    /// Who calls.
    pub tokens: Tokens,
    /// The wall clock.
    pub clock: Clock,
    /// The process.
    pub facts: Facts,
}

/// The API's state. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl Api {
    /// An API over these.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The declared scopes; the first is the default.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        self.deploy.declarations().map(|(_, declared)| declared.platform.scopes()).unwrap_or_default()
    }
}

impl std::ops::Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
