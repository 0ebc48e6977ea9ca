//! Requests that are held back, or answered with a page, because somebody ordered it: for a service, an environment, a
//! tenant or a path.
//!
//! Who is held back waits at a gate that lets through in the order of coming once the order is lifted. The wait is
//! bounded in time by the order and in number by the router.

use std::sync::Arc;
use std::time::Duration;

use hob_core::code;
use hob_wire::{Problem, Shield, ShieldKind};
use http::header::{self, HeaderMap};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::gateway::Gateway;
use crate::hold::Held;
use crate::lobby::Lobby;
use crate::refusal::Refusal;

/// One order, and the gate at which requests wait because of it.
pub(crate) struct Guard {
    pub(crate) shield: Shield,
    gate: Semaphore,
}

impl Guard {
    pub(crate) fn new(shield: &Shield) -> Arc<Self> {
        Arc::new(Self { shield: shield.clone(), gate: Semaphore::new(0) })
    }

    /// Whether an order is this one; who ordered it again does not matter.
    pub(crate) fn is(&self, shield: &Shield) -> bool {
        let what = |shield: &Shield| {
            let Shield { id, service, environment, tenant, path, kind, .. } = shield.clone();
            (id, service, environment, tenant, path, kind)
        };
        what(&self.shield) == what(shield)
    }

    /// Whether it is meant for a request.
    pub(crate) fn covers(&self, lobby: &Lobby, path: &str) -> bool {
        let Shield { service, environment, tenant, path: wanted, .. } = &self.shield;
        service.as_ref().is_none_or(|service| *service == lobby.service)
            && environment.as_ref().is_none_or(|environment| *environment == lobby.scope.environment)
            && tenant.as_ref().is_none_or(|tenant| *tenant == lobby.scope.tenant)
            && wanted.as_ref().is_none_or(|wanted| is_below(path, wanted.trim_end_matches('/')))
    }

    /// The order was lifted: all who wait go on, and nobody waits here any more.
    pub(crate) fn lift(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until the order is lifted, or answers in its name.
    pub(crate) async fn stop(
        &self,
        gateway: &Arc<Gateway>,
        lobby: &Arc<Lobby>,
        headers: &HeaderMap,
    ) -> Result<(), Box<Refusal>> {
        match &self.shield.kind {
            ShieldKind::Hold { max_ms } => {
                let held = Held::begin(gateway, lobby);
                let Some(_held) = held else {
                    gateway.counts.add(Some(&lobby.pool), "hold");
                    let detail =
                        format!("requests to {} are held back, and too many wait already", lobby.service);
                    return Err(Problem::new(code::NO_INSTANCE, detail).into());
                };
                let time = Duration::from_millis(*max_ms);
                if timeout(time, self.gate.acquire()).await.is_ok() {
                    return Ok(());
                }
                gateway.counts.add(Some(&lobby.pool), "hold");
                let waited = hob_core::format_duration(time);
                let detail = format!("requests to {} are held back; this one waited {waited}", lobby.service);
                let hint = "try again later; `hob hold` shows what is held back";
                let mut refusal: Box<Refusal> = Problem::new(code::HELD_TOO_LONG, detail).hint(hint).into();
                refusal.retry_after = Some(1);
                Err(refusal)
            }
            ShieldKind::Maintenance { message, retry_after } => {
                gateway.counts.add(Some(&lobby.pool), "maintenance");
                let mut refusal: Box<Refusal> = Problem::new(code::MAINTENANCE, message.as_str()).into();
                refusal.retry_after = Some(u64::from(*retry_after));
                refusal.page = wants_page(headers).then(|| page(message));
                Err(refusal)
            }
        }
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the client reads pages rather than documents, by its `Accept`.
fn wants_page(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = values
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds
        .map(str::to_ascii_lowercase)
        .find(|kind| kind == "text/html" || kind.ends_with("json"))
        .is_some_and(|kind| kind == "text/html")
}

fn page(message: &str) -> String {
    let message = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Maintenance</title>\n<body style=\"font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34em; margin: 15vh auto; padding: 0 1em\">\
         <h1>We will be back soon</h1>\n<p>{message}</p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_what_is_at_and_below_it() {
        for (path, prefix, is_covered) in [
            ("/orders", "/orders", true),
            ("/orders/7", "/orders", true),
            ("/orders-api", "/orders", false),
            ("/x", "", true),
        ] {
            assert_eq!(is_below(path, prefix), is_covered, "{path} {prefix}");
        }
    }

    #[test]
    fn browsers_get_a_page() {
        let wants = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, header::HeaderValue::from_static(accept));
            wants_page(&headers)
        };
        assert!(wants("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"));
        assert!(!wants("*/*"));
        assert!(!wants("application/json, text/html"));
        assert!(page("<b>").contains("&lt;b&gt;"));
    }
}
