//! A small past with a known end, and what reports say of it.

use hob_wire::{FileText, Observation, sequence_text};
use serde_json::json;

use super::*;

const ENTITIES: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, placed_at: ts, bad_at: ts, delivered_at: ts}
outcome: {bad: order.delivered_at > order.bad_at}
forget: {after: 30m, when: order.state == 'delivered'}
---
";

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(1_767_571_200_000_000 + minutes * 60_000_000)
}

fn rules(rule: &str) -> Arc<Rules> {
    let file = FileText { file: "r.yml".to_owned(), text: format!("{ENTITIES}{rule}") };
    Arc::new(crate::compile(&[file]).unwrap())
}

fn slow(minutes: u8) -> Arc<Rules> {
    rules(&format!(
        "{{rule: slow, about: order, when: order.state == 'placed', for: {minutes}m, issue: {{title: x}}, \
         budget: {{issues_per_order: 0.5, max_open: 1}}}}"
    ))
}

/// Orders are placed at 0, accepted after so many minutes, and delivered; too late is after forty.
fn past(orders: &[(i64, i64)]) -> Vec<Input> {
    let mut inputs = Vec::new();
    for minute in 0..=60 {
        let tick = |clock| Input { sequence: 0, recorded: at(0), clock, what: What::Clock };
        inputs.push(tick(Some(at(minute))));
        for (number, (accepted, delivered)) in orders.iter().enumerate() {
            let state = match minute {
                0 => "placed",
                _ if minute == *accepted => "accepted",
                _ if minute == *delivered => "delivered",
                _ => continue,
            };
            let time = if state == "delivered" { json!(at(minute).to_string()) } else { json!(null) };
            let body = json!({"id": number.to_string(), "state": state, "bad_at": at(40).to_string(), "delivered_at": time});
            let observation = Observation {
                href: format!("http://t/orders/{number}"),
                topic: Some("orders".parse().unwrap()),
                status: 200,
                etag: None,
                body: Some(body),
                error: None,
                cause: sequence_text(1),
                clock: at(minute),
            };
            inputs.push(Input { what: What::Observed(Box::new(observation)), ..tick(None) });
        }
    }
    inputs
}

#[test]
fn rules_are_held_against_what_became_of_it() {
    // Slow and late, slow and in time, quick and late, quick and in time, and one that never ends.
    let past = past(&[(9, 50), (7, 30), (1, 45), (1, 20), (8, 99)]);
    let trial = |minutes, with: Option<&str>| Trial { with: with.map(str::to_owned), rules: slow(minutes) };
    let trials = vec![trial(5, None), trial(8, Some("for=8m"))];
    let about = ["slow".to_owned()].into();
    let acted = ["http://t/orders/1".to_owned()].into();
    let scope: Scope = "production/uk".parse().unwrap();
    let report = backtest(&scope, trials, Some(slow(8)), &about, past.clone(), &acted);
    assert_eq!((report.entities, report.bad, report.open, report.acted), (4, 2, 1, 1));
    assert_eq!((report.kind.as_str(), report.outcome.as_str()), ("order", "bad"));
    assert_eq!((report.since, report.until), (at(0), at(60)));
    let five = &report.rules[0];
    assert_eq!((five.issues, five.flagged, five.open_most), (3, 2, 3));
    assert_eq!((five.precision, five.recall), (Some(1.0), Some(0.5)));
    assert_eq!((five.unacted, five.acted), ([1, 1], [1, 0]));
    assert_eq!((five.lead, five.latency), (Some([2100.0; 3]), Some([300.0; 3])));
    assert_eq!((five.extra, five.missed), (Some(1), Some(0)));
    assert_eq!(
        five.over_budget,
        ["0.7500 issues for each entity; at most 0.5", "3 open at a time; at most 1"]
    );
    assert_eq!(five.samples.len(), 3);
    assert_eq!(
        (five.samples[0].bad, five.samples[1].bad, five.samples[2].bad),
        (Some(true), Some(false), None)
    );
    let eight = &report.rules[1];
    assert_eq!(
        (eight.with.as_deref(), eight.issues, eight.extra, eight.missed),
        (Some("for=8m"), 2, Some(0), Some(0))
    );
    assert!(report.notes[0].contains("1 of 4 entities were acted on"));
    let again = backtest(&scope, vec![trial(5, None)], None, &about, past, &acted);
    assert_eq!((again.rules[0].issues, again.rules[0].extra), (3, None));
}
