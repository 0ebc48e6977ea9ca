//! Reads how many instances of `web` there are, by what and when.

use super::figure::{count, decimal, few, flag, millis};
use crate::descriptor::{Scale, Window};
use crate::yaml::{Flaws, Node, Reader};

/// Instances of `web` in one scope.
const INSTANCES_MAX: u32 = 1000;
/// Requests in flight that one instance may be meant to have.
const IN_FLIGHT_MAX: f64 = 100_000.0;
/// Times with a minimum of their own.
const WINDOWS_MAX: usize = 50;
/// Without a request for at least and at most this long, none is left.
const IDLE_MS_MIN: u64 = 1000;
const IDLE_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Letters of a cron expression and of a time zone's name.
const CRON_CHARS_MAX: usize = 200;
const ZONE_CHARS_MAX: usize = 64;

pub(super) fn scale(node: &Node, flaws: &mut Flaws) -> Option<Scale> {
    let mut map = Reader::map(node, flaws)?;
    let min = map.take("min").map_or(Some(1), |n| count(n, 1, INSTANCES_MAX, flaws));
    let max_node = map.take("max");
    let max = max_node.map(|n| count(n, 1, INSTANCES_MAX, flaws));
    let in_flight = map.take("by").and_then(|n| by(n, flaws));
    let schedule: Vec<Window> = map
        .take("schedule")
        .map(|n| few(n, WINDOWS_MAX, flaws).iter().filter_map(|item| window(item, flaws)).collect())
        .unwrap_or_default();
    let idle_after_ms = map.take("idle").and_then(|n| idle(n, flaws));
    map.finish(flaws);
    let min = min?;
    let most_scheduled = schedule.iter().map(|window| window.min).fold(min, u32::max);
    let max = max.unwrap_or(Some(most_scheduled))?;
    if max < most_scheduled {
        let place = max_node.unwrap_or(node);
        flaws.hint(
            place,
            format!("at most {max} cannot be at least {most_scheduled}"),
            "raise `max`, or lower `min`",
        );
    }
    Some(Scale { min, max, in_flight, schedule, idle_after_ms })
}

fn by(node: &Node, flaws: &mut Flaws) -> Option<f64> {
    let mut target = None;
    for item in few(node, 1, flaws) {
        let mut map = Reader::map(item, flaws)?;
        if let Some(metric) = map.need("metric", flaws) {
            metric.one_of(&[("inflight_per_instance", ())], flaws);
        }
        target = map.need("target", flaws).and_then(|n| decimal(n, 0.1, IN_FLIGHT_MAX, flaws));
        map.finish(flaws);
    }
    target
}

fn window(node: &Node, flaws: &mut Flaws) -> Option<Window> {
    let mut map = Reader::map(node, flaws)?;
    let begins = map.need("cron", flaws).and_then(|n| cron(n, flaws));
    let until = map.need("until", flaws).and_then(|n| cron(n, flaws));
    let tz = map.need("tz", flaws).and_then(|n| zone(n, flaws));
    let min = map.need("min", flaws).and_then(|n| count(n, 0, INSTANCES_MAX, flaws));
    let ready_by = map.take("ready_by").and_then(|n| flag(n, flaws)).unwrap_or(false);
    map.finish(flaws);
    Some(Window { cron: begins?, until: until?, tz: tz?, min: min?, ready_by })
}

/// Five fields of cron by their shape; what they mean is read by whoever keeps the time.
fn cron(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let text = node.text(flaws)?;
    let is_sound = |field: &str| {
        field.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '*' | '/' | ',' | '-' | '#' | '?'))
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    if text.len() <= CRON_CHARS_MAX && fields.len() == 5 && fields.iter().all(|field| is_sound(field)) {
        return Some(fields.join(" "));
    }
    let hint = "minute, hour, day, month and day of the week: 0 16 * * fri";
    flaws.hint(node, format!("`{text}` is no time: cron has five fields"), hint);
    None
}

fn zone(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let text = node.text(flaws)?;
    let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if text.len() <= ZONE_CHARS_MAX && text.chars().all(is_sound) {
        return Some(text.to_owned());
    }
    flaws.hint(node, format!("`{text}` is no time zone"), "use its IANA name: Europe/London");
    None
}

fn idle(node: &Node, flaws: &mut Flaws) -> Option<u64> {
    let mut map = Reader::map(node, flaws)?;
    let after = map.need("after", flaws);
    map.finish(flaws);
    let after = after?;
    if matches!(&after.value, crate::yaml::Value::Scalar { text, .. } if text == "never") {
        return None;
    }
    millis(after, IDLE_MS_MIN, IDLE_MS_MAX, flaws)
}
