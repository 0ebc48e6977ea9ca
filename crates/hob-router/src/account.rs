//! The account of one request: what is told about it once it has ended, however it ended.

use std::net::IpAddr;
use std::sync::Arc;

use hob_core::{Name, Scope};
use hob_wire::{AccessRecord, RecordIn, RecordSource};
use http::header::HeaderValue;
use http::{Method, Uri};
use tokio::time::Instant;

use crate::check::Host;
use crate::fleet::Ticket;
use crate::gateway::Gateway;
use crate::lobby::Lobby;

/// What a request was, kept for its access record. Every part is a reference to bytes that exist anyway.
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) host: Host,
    pub(crate) target: Uri,
    pub(crate) request_id: HeaderValue,
    pub(crate) traceparent: HeaderValue,
    /// The client's address, as far as those who are trusted say.
    pub(crate) client: IpAddr,
}

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) enum Ending<'a> {
    /// The whole answer was passed on.
    Whole,
    /// The answer broke off, or there was none.
    Failed(&'a str),
    /// The client did not wait for the end.
    Abandoned,
}

/// The account of one request. When it is dropped unsettled, the client has gone away.
pub(crate) struct Account {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) seen: Seen,
    started: Instant,
    pub(crate) attempts: u32,
    /// The status that went back; 0 before there is one.
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) ticket: Option<Ticket>,
    /// Where the request waited, or found no instance.
    pub(crate) lobby: Option<Arc<Lobby>>,
    is_settled: bool,
}

/// The status that is recorded when the client went away before there was one, as nginx numbers it.
const STATUS_CLIENT_GONE: u16 = 499;

impl Account {
    pub(crate) fn new(gateway: Arc<Gateway>, seen: Seen, started: Instant) -> Self {
        Self {
            gateway,
            seen,
            started,
            attempts: 0,
            status: 0,
            bytes: 0,
            ticket: None,
            lobby: None,
            is_settled: false,
        }
    }

    /// Counts and records the request, and only then lets go of its place at the instance: what the core hears with
    /// "nothing in flight" includes it.
    pub(crate) fn settle(&mut self, ending: Ending<'_>) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        let ticket = self.ticket.take();
        let now = Instant::now();
        let latency = now.duration_since(self.started);
        let is_error = match ending {
            Ending::Whole => self.status >= 500,
            Ending::Failed(_) => true,
            Ending::Abandoned => false,
        };
        let owner = match (&ticket, &self.lobby) {
            (Some(ticket), _) => {
                let instance = &ticket.instance;
                instance.count(is_error, latency);
                // A client's own fault says nothing of the instance.
                self.gateway.fleet.note(instance, is_error && !(400..500).contains(&self.status));
                Some((&instance.service, &instance.scope, Some(&instance.id), instance.release))
            }
            (None, Some(lobby)) => {
                lobby.count(is_error, latency);
                Some((&lobby.service, &lobby.scope, None, 0))
            }
            (None, None) => None,
        };
        let Some((service, scope, instance, release)) = owner else { return };
        let is_wanted = is_error || latency > self.gateway.limits.slow;
        self.gateway.recorder.offer(is_wanted, now, || {
            let (service, scope) = (service.clone(), scope.clone());
            self.record(service, scope, instance.cloned(), release, latency.as_secs_f64() * 1000.0, ending)
        });
    }

    fn record(
        &self,
        service: Name,
        scope: Scope,
        instance: Option<String>,
        release: u64,
        duration_ms: f64,
        ending: Ending<'_>,
    ) -> RecordIn {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let error = match ending {
            Ending::Whole => None,
            Ending::Failed(reason) => Some(reason.to_owned()),
            Ending::Abandoned => Some("the client went away".to_owned()),
        };
        let access = AccessRecord {
            method: self.seen.method.to_string(),
            host: self.seen.host.name().to_owned(),
            path: self.seen.target.path().to_owned(),
            status: if self.status == 0 { STATUS_CLIENT_GONE } else { self.status },
            duration_ms,
            bytes: self.bytes,
            request_id: text(&self.seen.request_id),
            traceparent: Some(text(&self.seen.traceparent)),
            client: self.seen.client.to_canonical().to_string(),
            attempts: self.attempts,
            error,
        };
        RecordIn {
            time: self.gateway.clock.now(),
            source: RecordSource::Access,
            instance,
            service,
            process: None,
            scope,
            release,
            line: None,
            access: Some(access),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(Ending::Abandoned);
    }
}
