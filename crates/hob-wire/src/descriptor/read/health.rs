//! Reads how a service's instances are probed, warmed and drained.

use super::figure::{count, few, flag, is_printable, millis, path};
use crate::descriptor::{Check, Drain, Health, Startup, Warmup};
use crate::yaml::{Flaws, Node, Reader};

/// Readiness is asked for this often unless told otherwise, liveness more rarely.
const READY_EVERY_MS: u64 = 1000;
const LIVE_EVERY_MS: u64 = 10_000;
/// A probe may take this long unless told otherwise.
const PROBE_TIMEOUT_MS: u64 = 1000;
/// Neither may a probe be more frequent than this, nor rarer than [`PROBE_MS_MAX`].
const PROBE_MS_MIN: u64 = 50;
const PROBE_MS_MAX: u64 = 300_000;
/// Probes in a row that count.
const IN_A_ROW_MAX: u32 = 100;
/// An instance has this long to start unless told otherwise, and never longer than [`START_MS_MAX`].
const START_MS: u64 = 60_000;
const START_MS_MAX: u64 = 3_600_000;
/// Paths that an instance is warmed with.
const WARM_REQUESTS_MAX: usize = 100;
const WARM_ROUNDS_MAX: u32 = 1000;
/// An instance is warm after this long unless told otherwise, and never later than [`WARM_MS_MAX`].
const WARM_MS: u64 = 30_000;
const WARM_MS_MAX: u64 = 600_000;
const SLOW_START_MS_MAX: u64 = 600_000;
/// Requests in flight, and websockets, get at most this long.
const DRAIN_MS_MAX: u64 = 3_600_000;

/// Keys that are not built yet.
const LATER_HEALTH: &[&str] = &["checks"];
const LATER_DRAIN: &[&str] = &["consumers"];

pub(super) fn health(node: &Node, flaws: &mut Flaws) -> Option<Health> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER_HEALTH);
    let startup = map.take("startup").and_then(|n| startup(n, flaws));
    let readiness = map.take("readiness").and_then(|n| check(n, READY_EVERY_MS, &[], flaws));
    let liveness = map.take("liveness").and_then(|n| {
        if let Some(then) = n.get("then") {
            then.one_of(&[("restart", ())], flaws);
        }
        check(n, LIVE_EVERY_MS, &["then"], flaws)
    });
    map.finish(flaws);
    Some(Health { startup, readiness, liveness })
}

fn startup(node: &Node, flaws: &mut Flaws) -> Option<Startup> {
    let mut map = Reader::map(node, flaws)?;
    let notify = map.take("notify").and_then(|n| flag(n, flaws)).unwrap_or(false);
    let deadline_ms = map.take("deadline").map_or(Some(START_MS), |n| millis(n, 1000, START_MS_MAX, flaws));
    let has_probe = map.take("http").is_some() || map.take("tcp").is_some();
    let check = if has_probe {
        Some(check(node, READY_EVERY_MS, &["notify", "deadline"], flaws)?)
    } else {
        map.beside(&["every", "timeout", "fall", "rise", "host"]);
        if !notify {
            let hint = "say `notify: true`, or give a probe: `http: /path` or `tcp: true`";
            flaws.hint(node, "nothing says that it has started", hint);
        }
        map.finish(flaws);
        None
    };
    Some(Startup { notify, check, deadline_ms: deadline_ms? })
}

/// A probe; `beside` are keys of the same map that are read elsewhere.
fn check(node: &Node, every: u64, beside: &[&'static str], flaws: &mut Flaws) -> Option<Check> {
    let mut map = Reader::map(node, flaws)?;
    map.beside(beside);
    let (http_node, tcp_node) = (map.take("http"), map.take("tcp"));
    let http = http_node.map(|n| path(n, flaws));
    let tcp = tcp_node.and_then(|n| n.one_of(&[("true", true)], flaws)).unwrap_or(false);
    match (http_node, tcp_node) {
        (Some(_), Some(place)) => {
            flaws.hint(place, "a probe is made by HTTP or by TCP", "leave out one of `http` and `tcp`")
        }
        (None, None) => flaws.hint(node, "the key `http` is missing", "name a path, or say `tcp: true`"),
        _ => {}
    }
    let host = map.take("host").and_then(|n| n.text(flaws).filter(|text| is_host(n, text, flaws)));
    let mut time = |map: &mut Reader<'_>, key, default| {
        map.take(key).map_or(Some(default), |n| millis(n, PROBE_MS_MIN, PROBE_MS_MAX, flaws))
    };
    let every_ms = time(&mut map, "every", every);
    let timeout_ms = time(&mut map, "timeout", PROBE_TIMEOUT_MS);
    let fall = map.take("fall").map_or(Some(3), |n| count(n, 1, IN_A_ROW_MAX, flaws));
    let rise = map.take("rise").map_or(Some(1), |n| count(n, 1, IN_A_ROW_MAX, flaws));
    map.finish(flaws);
    let http = match http {
        Some(path) => Some(path?),
        None if tcp => None,
        None => return None,
    };
    let host = host.map(str::to_owned);
    Some(Check { http, host, every_ms: every_ms?, timeout_ms: timeout_ms?, fall: fall?, rise: rise? })
}

fn is_host(node: &Node, text: &str, flaws: &mut Flaws) -> bool {
    let is_sound = !text.is_empty() && is_printable(text) && !text.contains([' ', '/']);
    if !is_sound {
        flaws.hint(node, format!("`{text}` is no host"), "write a name, with or without a port");
    }
    is_sound
}

pub(super) fn warmup(node: &Node, flaws: &mut Flaws) -> Option<Warmup> {
    let mut map = Reader::map(node, flaws)?;
    let requests = map.take("requests").map(|n| warm_requests(n, flaws)).unwrap_or_default();
    let rounds = map.take("rounds").map_or(Some(1), |n| count(n, 1, WARM_ROUNDS_MAX, flaws));
    let until_p95_ms = map.take("until").and_then(|n| {
        let mut until = Reader::map(n, flaws)?;
        let p95 = until.need("p95", flaws).and_then(|n| millis(n, 1, WARM_MS_MAX, flaws));
        until.finish(flaws);
        p95
    });
    let max_ms = map.take("max").map_or(Some(WARM_MS), |n| millis(n, 1, WARM_MS_MAX, flaws));
    let slow_start = map.take("slow_start");
    let slow_start_ms = slow_start.map_or(Some(0), |n| millis(n, 0, SLOW_START_MS_MAX, flaws));
    if requests.is_empty() && slow_start.is_none() && flaws.found.is_empty() {
        flaws.hint(node, "nothing warms an instance", "name `requests`, or say how long `slow_start` is");
    }
    map.finish(flaws);
    Some(Warmup { requests, rounds: rounds?, until_p95_ms, max_ms: max_ms?, slow_start_ms: slow_start_ms? })
}

/// `{get: /path}`, or the path alone; a query is welcome here.
fn warm_requests(node: &Node, flaws: &mut Flaws) -> Vec<String> {
    let mut requests = Vec::new();
    for item in few(node, WARM_REQUESTS_MAX, flaws) {
        let place = match item.get("get") {
            Some(place) => {
                if let Some(mut map) = Reader::map(item, flaws) {
                    map.take("get");
                    map.finish(flaws);
                }
                place
            }
            None => item,
        };
        let Some(text) = place.text(flaws) else { continue };
        if text.starts_with('/') && is_printable(text) && !text.contains([' ', '#']) {
            requests.push(text.to_owned());
        } else {
            flaws.hint(place, format!("`{text}` is no path to get"), "begin it with /");
        }
    }
    requests
}

pub(super) fn drain(node: &Node, flaws: &mut Flaws) -> Option<Drain> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER_DRAIN);
    let mut drain = Drain::default();
    if let Some(place) = map.take("inflight") {
        drain.in_flight_ms = millis(place, 0, DRAIN_MS_MAX, flaws).unwrap_or(drain.in_flight_ms);
    }
    if let Some(mut sockets) = map.take("websockets").and_then(|n| Reader::map(n, flaws)) {
        if let Some(place) = sockets.take("close") {
            drain.websocket_close = close_code(place, flaws).unwrap_or(drain.websocket_close);
        }
        if let Some(place) = sockets.take("spread") {
            drain.spread_ms = millis(place, 0, DRAIN_MS_MAX, flaws).unwrap_or(drain.spread_ms);
        }
        sockets.finish(flaws);
    }
    map.finish(flaws);
    Some(drain)
}

/// A code that an end may send (RFC 6455, 7.4).
fn close_code(node: &Node, flaws: &mut Flaws) -> Option<u16> {
    let code = node.number(1000, 4999, flaws)?;
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !may_be_sent {
        flaws.hint(node, format!("{code} may not be sent"), "1001 says that the server goes away");
        return None;
    }
    u16::try_from(code).ok()
}
