//! Reads a route of `service.yml`: which requests, and on what terms.

use super::figure::{count, flag, millis, path, per_second, percent};
use crate::descriptor::{Retry, RouteLimit, RouteSpec};
use crate::yaml::{Flaws, Node, Reader};

/// Requests a second of one client.
const PER_SECOND_MAX: f64 = 1_000_000.0;
const BURST_MAX: u32 = 1_000_000;
/// An answer must have begun after at most this long.
const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// Keys that are not built yet.
const LATER_ROUTE: &[&str] = &["class", "cache"];

pub(super) fn route(node: &Node, flaws: &mut Flaws) -> Option<RouteSpec> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER_ROUTE);
    let host_node = map.take("host");
    let host = host_node.and_then(|n| n.text(flaws)).map(str::to_ascii_lowercase);
    if let (Some(host_node), Some(host)) = (host_node, &host) {
        let bare = host.replace("${environment}", "e").replace("${tenant}", "t");
        if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
            let hint = "write it without scheme and port; ${environment} and ${tenant} are filled in";
            flaws.hint(host_node, format!("`{host}` is no host"), hint);
        }
    }
    let path = map.need("path", flaws).and_then(|n| path(n, flaws));
    let limit = map.take("limit").and_then(|n| limit(n, flaws));
    let timeout_ms = map.take("timeout").and_then(|n| millis(n, 1, TIMEOUT_MS_MAX, flaws));
    let retry = map.take("retry").and_then(|n| retry(n, flaws)).unwrap_or_default();
    map.finish(flaws);
    let path = path?;
    let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
    let path = if path.is_empty() { "/".to_owned() } else { path };
    Some(RouteSpec { host, path, limit, timeout_ms, retry })
}

fn limit(node: &Node, flaws: &mut Flaws) -> Option<RouteLimit> {
    let mut map = Reader::map(node, flaws)?;
    if let Some(per) = map.take("per") {
        per.one_of(&[("client_ip", ())], flaws);
    }
    let per_second = map.need("rate", flaws).and_then(|n| per_second(n, PER_SECOND_MAX, flaws));
    let burst = map.take("burst").map(|n| count(n, 1, BURST_MAX, flaws));
    map.finish(flaws);
    let per_second = per_second?;
    // Without a burst a client may at least make one second's requests at once.
    let burst = burst.unwrap_or(Some(per_second.ceil().max(1.0) as u32))?;
    Some(RouteLimit { per_second, burst })
}

fn retry(node: &Node, flaws: &mut Flaws) -> Option<Retry> {
    let mut map = Reader::map(node, flaws)?;
    let default = Retry::default();
    if let Some(connect) = map.take("connect") {
        // What no instance has received is always sent again.
        connect.one_of(&[("true", ())], flaws);
    }
    let idempotent = map.take("idempotent").and_then(|n| flag(n, flaws));
    let budget = map.take("budget").and_then(|n| percent(n, 0.0, 100.0, flaws));
    map.finish(flaws);
    Some(Retry {
        idempotent: idempotent.unwrap_or(default.idempotent),
        budget_percent: budget.unwrap_or(default.budget_percent),
    })
}
