//! Reads how a release takes over: steps, gates, bake, and what is kept.

use std::collections::BTreeMap;

use super::figure::{count, few, is_printable, millis, percent};
use crate::descriptor::{Gate, ReleaseTerms, StepTerms};
use crate::yaml::{Flaws, Node, Reader};

/// Releases whose packages stay on every node.
const KEEP_MAX: u32 = 100;
/// The release before stays hot for at most this long.
const STANDBY_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Instances that start at once.
const SURGE_MAX: u32 = 1000;
/// A rollout has at least and at most this long, its steps and bake not counted.
const DEADLINE_MS_MIN: u64 = 1000;
const DEADLINE_MS_MAX: u64 = 24 * 3_600_000;
/// Steps and gates of one release, and headers of one step.
const STEPS_MAX: usize = 20;
const GATES_MAX: usize = 10;
const HEADERS_MAX: usize = 10;
/// Letters of a cookie's name.
const COOKIE_LETTERS_MAX: usize = 100;
/// A step, and the bake, take at most this long.
const STEP_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Requests below which an error ratio says nothing, unless told otherwise.
const MIN_REQUESTS: u64 = 100;
const MIN_REQUESTS_MAX: u64 = 1_000_000_000;

/// Keys that are not built yet.
const LATER_GATE: &[&str] = &["scope", "fail_limit"];

pub(super) fn release(node: &Node, flaws: &mut Flaws) -> Option<ReleaseTerms> {
    let mut map = Reader::map(node, flaws)?;
    let default = ReleaseTerms::default();
    let keep = map.take("keep").and_then(|n| count(n, 1, KEEP_MAX, flaws));
    let standby = map.take("standby").and_then(|n| millis(n, 0, STANDBY_MS_MAX, flaws));
    let surge = map.take("surge").and_then(|n| count(n, 1, SURGE_MAX, flaws));
    let deadline = map.take("deadline").and_then(|n| millis(n, DEADLINE_MS_MIN, DEADLINE_MS_MAX, flaws));
    let steps_node = map.take("steps");
    let steps = steps_node.map(|n| steps(n, flaws)).unwrap_or_default();
    let gates_node = map.take("gates");
    let gates: Vec<Gate> = gates_node
        .map(|n| few(n, GATES_MAX, flaws).iter().filter_map(|item| gate(item, flaws)).collect())
        .unwrap_or_default();
    let bake_ms = map.take("bake").and_then(|n| millis(n, 0, STEP_MS_MAX, flaws)).unwrap_or(0);
    if let Some(place) = gates_node.filter(|_| !gates.is_empty()) {
        let compares = gates.iter().any(|gate| matches!(gate, Gate::Latency { .. }));
        if compares && !steps.iter().any(StepTerms::is_partial) {
            let hint = "add `steps: [{weight: 5, for: 2m}]`, or leave that gate out";
            flaws.hint(place, "latency is compared while both releases take requests: it needs a step", hint);
        } else if steps.is_empty() && bake_ms == 0 {
            flaws.hint(place, "there is no time in which gates are held", "add `steps` or `bake`");
        }
    }
    map.finish(flaws);
    Some(ReleaseTerms {
        keep: keep.unwrap_or(default.keep),
        standby_ms: standby.unwrap_or(default.standby_ms),
        surge,
        deadline_ms: deadline.unwrap_or(default.deadline_ms),
        steps,
        gates,
        bake_ms,
    })
}

fn steps(node: &Node, flaws: &mut Flaws) -> Vec<StepTerms> {
    let mut steps: Vec<StepTerms> = Vec::new();
    for item in few(node, STEPS_MAX, flaws) {
        let Some(step) = step(item, flaws) else { continue };
        let before = steps.iter().filter_map(|step| step.weight).next_back();
        if let (Some(before), Some(weight)) = (before, step.weight)
            && weight < before
        {
            let place = item.get("weight").unwrap_or(item);
            flaws.hint(
                place,
                format!("{weight} % after {before} % takes requests back"),
                "let the weights rise",
            );
        }
        steps.push(step);
    }
    steps
}

fn step(node: &Node, flaws: &mut Flaws) -> Option<StepTerms> {
    let mut map = Reader::map(node, flaws)?;
    let weight = map.take("weight").and_then(|n| count(n, 1, 100, flaws));
    let headers = map.take("headers").map(|n| headers(n, flaws)).unwrap_or_default();
    let cookie = map.take("cookie").and_then(|n| cookie(n, flaws));
    let tenant = map.take("tenant").and_then(|n| n.parse(flaws));
    let time = map.take("for");
    let for_ms = time.map_or(Some(0), |n| millis(n, 0, STEP_MS_MAX, flaws));
    let kinds = u8::from(map.take("weight").is_some() || map.take("headers").is_some())
        + u8::from(map.take("tenant").is_some());
    if kinds != 1 {
        let hint = "give it a `weight`, `headers`, or both; or a `tenant` alone";
        flaws.hint(node, "a step says who goes first", hint);
    }
    if cookie.is_some() && weight.is_none() {
        let hint = "add `weight`: the cookie says which clients are in it";
        flaws.hint(node, "a cookie alone shares nothing", hint);
    }
    if time.is_none() && weight != Some(100) {
        flaws.hint(node, "the key `for` is missing", "say how long this step is held, for example 2m");
    }
    map.finish(flaws);
    let weight = weight.and_then(|weight| u8::try_from(weight).ok());
    Some(StepTerms { weight, cookie, headers, tenant, for_ms: for_ms? })
}

fn cookie(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let name = node.text(flaws)?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > COOKIE_LETTERS_MAX || !name.chars().all(is_token) {
        flaws.hint(node, format!("`{name}` is no name of a cookie"), "use letters, digits, `-`, `_` and `.`");
        return None;
    }
    Some(name.to_owned())
}

fn headers(node: &Node, flaws: &mut Flaws) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let entries = node.entries(flaws);
    if entries.is_empty() || entries.len() > HEADERS_MAX {
        flaws.at(node, format!("expected 1 to {HEADERS_MAX} headers, found {}", entries.len()));
    }
    for (key, value) in entries.iter().take(HEADERS_MAX) {
        let (Some(name), Some(text)) = (key.text(flaws), value.text(flaws)) else { continue };
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(is_token) {
            flaws.hint(key, format!("`{name}` is no name of a header"), "use letters, digits and -");
        } else if !is_printable(text) {
            flaws.at(value, "a header's value has printable ASCII letters only");
        } else {
            headers.insert(name.to_ascii_lowercase(), text.to_owned());
        }
    }
    headers
}

/// `{rule: http_error_ratio, max: 1%}` or `{compare: http_latency, vs: control, tolerance: 25%}`.
fn gate(node: &Node, flaws: &mut Flaws) -> Option<Gate> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER_GATE);
    let (rule, compare) = (map.take("rule"), map.take("compare"));
    let gate = match (rule, compare) {
        (Some(rule), None) => {
            rule.one_of(&[("http_error_ratio", ())], flaws);
            let max = map.need("max", flaws).and_then(|n| percent(n, 0.0, 100.0, flaws));
            let min_requests = min_requests(&mut map, flaws);
            max.map(|max| Gate::ErrorRatio { max: max / 100.0, min_requests })
        }
        (None, Some(compare)) => {
            compare.one_of(&[("http_latency", ())], flaws);
            if let Some(control) = map.take("vs") {
                control.one_of(&[("control", ())], flaws);
            }
            let tolerance = map.take("tolerance").map_or(Some(0.0), |n| percent(n, 0.0, 1000.0, flaws));
            let confidence = map.take("confidence").map_or(Some(98.0), |n| percent(n, 50.0, 99.99, flaws));
            let min_requests = min_requests(&mut map, flaws);
            let (tolerance, confidence) = (tolerance? / 100.0, confidence? / 100.0);
            Some(Gate::Latency { tolerance, confidence, min_requests })
        }
        _ => {
            let hint = "write `rule: http_error_ratio` or `compare: http_latency`";
            flaws.hint(node, "a gate looks at one thing", hint);
            return None;
        }
    };
    if let Some(no_data) = map.take("no_data") {
        no_data.one_of(&[("hold", ())], flaws);
    }
    map.finish(flaws);
    gate
}

fn min_requests(map: &mut Reader<'_>, flaws: &mut Flaws) -> u64 {
    let given = map.take("min_requests").and_then(|n| n.number(1, MIN_REQUESTS_MAX, flaws));
    given.unwrap_or(MIN_REQUESTS)
}
