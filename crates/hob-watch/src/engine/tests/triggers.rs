//! Each trigger, alone: when it begins, when it ends, and what it makes of what is missing, late or from the future.

use std::sync::Arc;

use hob_core::Timestamp;
use hob_wire::{IssueState, Observation, sequence_text};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Engine;
use super::{Play, What, at};

const CITY: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, zone: string, shop: string, ready_at: ts, due_at: ts, eta: number}
links: {rider: rider}
derive:
  waits_at: order.ready_at + duration('8m')
  waits: order.state == 'accepted' && order.waits_at <= now
---
entity: rider
from: {topic: riders, stream: pings, key: rider}
fields: {id: string, state: enum, app: string}
links: {orders: [order], shop: shop}
---
{entity: shop, from: {topic: shops}, fields: {id: string, x: number, y: number}}
---
{entity: zone, from: {field: order.zone}, links: {orders: [order]}}
---
";

impl Play {
    fn city(rules: &str) -> Self {
        Self::new(&format!("{CITY}{rules}"))
    }

    fn see(&mut self, what: &str, body: Value) {
        let (topic, _) = what.split_once('/').unwrap();
        let observation = Observation {
            href: format!("http://t/{what}"),
            topic: Some(topic.parse().unwrap()),
            status: 200,
            etag: None,
            body: Some(body),
            error: None,
            cause: sequence_text(1),
            clock: self.engine.clock(),
        };
        self.step(None, What::Observed(Box::new(observation)));
    }

    fn minute(&self) -> i64 {
        (self.engine.clock().as_micros() - at(0).as_micros()) / 60_000_000
    }

    fn ping(&mut self, rider: &str, x: i64) {
        self.event("pings", Some(&format!("http://t/riders/{rider}")), Some(json!({"x": x, "y": 0})));
    }

    /// Lets time pass with a ping each minute.
    fn pings(&mut self, rider: &str, to: i64, x: i64) {
        while self.engine.clock() < at(to) {
            let minute = (self.engine.clock().as_micros() - at(0).as_micros()) / 60_000_000;
            self.run(minute + 1);
            self.ping(rider, x);
        }
    }

    fn check(&self, expect: &[&str]) {
        assert_eq!(self.told(), expect);
    }
}

fn order(id: &str, state: &str, zone: &str) -> Value {
    json!({"id": id, "state": state, "zone": zone, "shop": "s1", "ready_at": at(0).to_string(), "eta": 30,
        "due_at": at(40).to_string()})
}

#[test]
fn absence_counts_from_the_last_sign_and_ends_with_the_next() {
    let mut play = Play::city(
        "{rule: silent, about: rider, absent: {event: pings, within: 3m, while: rider.state == 'busy'}, \
         issue: {title: 'silent for {{held}}'}}",
    );
    play.see("riders/r1", json!({"id": "r1", "state": "idle"}));
    play.run(10);
    play.see("riders/r1", json!({"id": "r1", "state": "busy"}));
    play.run(12);
    play.ping("r1", 0);
    play.run(16);
    play.check(&["15 opened silent for 3m"]);
    play.ping("r1", 0);
    play.check(&["15 opened silent for 3m", "16 resolved silent for 3m"]);
    // What is unknown stops the wait.
    play.run(18);
    play.observe("http://t/riders/r1", 500, None);
    play.run(30);
    play.see("riders/r1", json!({"id": "r1", "state": "busy"}));
    assert_eq!(play.told().len(), 2);
    play.run(32);
    assert_eq!(play.told()[2..], ["31 opened silent for 3m"]);
    play.see("riders/r1", json!({"id": "r1", "state": "idle"}));
    assert_eq!(play.told()[3..], ["32 resolved silent for 3m"]);
    play.run(40);
    assert_eq!(play.told().len(), 4);
}

#[test]
fn a_clock_that_jumps_makes_nobody_absent() {
    let mut play = Play::city(
        "{rule: silent, about: rider, absent: {event: pings, within: 3m}, issue: {title: silent}}",
    );
    play.see("riders/r1", json!({"id": "r1", "state": "idle"}));
    play.ping("r1", 0);
    play.clock(600);
    play.check(&[]);
    play.clock(500);
    assert_eq!(play.engine.clock(), at(600), "a clock never goes back");
    play.run(604);
    play.check(&["603 opened silent"]);
}

#[test]
fn records_from_the_future_and_late_ones_change_nothing() {
    let mut play = Play::city(
        "{rule: silent, about: rider, absent: {event: pings, within: 3m}, issue: {title: silent}}",
    );
    play.see("riders/r1", json!({"id": "r1", "state": "idle"}));
    play.run(1);
    // Some minutes ahead: seen now, not then.
    play.event_at("pings", "http://t/riders/r1", at(30), json!({"x": 0, "y": 0}));
    // Hours ahead: not taken.
    play.event_at("pings", "http://t/riders/r1", at(600), json!({"x": 0, "y": 0}));
    assert_eq!(play.engine.state().strays, 1);
    play.run(5);
    play.check(&["4 opened silent"]);
    // Late: older than what was seen.
    play.event_at("pings", "http://t/riders/r1", at(-30), json!({"x": 0, "y": 0}));
    play.check(&["4 opened silent"]);
}

impl Play {
    fn event_at(&mut self, topic: &str, subject: &str, time: Timestamp, data: Value) {
        let what = match self.event_input(topic, Some(subject), Some(data)) {
            What::Event(mut event) => {
                event.time = time;
                What::Event(event)
            }
            other => other,
        };
        self.step(None, what);
    }
}

#[test]
fn entities_are_counted_by_zone() {
    let mut play = Play::city(
        "{rule: short, about: zone, count: {of: order, where: order.waits, by: zone, at_least: 3}, keep: 1m, \
         issue: {title: '{{count}} wait in {{zone.id}}', key: 'zone/{{zone.id}}/short'}}",
    );
    for number in 1..=4 {
        let zone = if number == 4 { "south" } else { "north" };
        play.see(&format!("orders/o{number}"), order(&format!("o{number}"), "accepted", zone));
    }
    play.run(7);
    play.check(&[]);
    play.run(9);
    play.check(&["8 opened 3 wait in north"]);
    let issue = play.only_issue().clone();
    assert_eq!((issue.about.as_str(), issue.key.as_str()), ("zone/north", "zone/north/short"));
    assert_eq!(issue.affects, ["http://t/orders/o1", "http://t/orders/o2", "http://t/orders/o3"]);
    assert_eq!(play.engine.members("short", "zone/north").len(), 3);
    // One moves to the other zone, one is delivered: the zone that nobody names any more is gone.
    play.see("orders/o1", order("o1", "accepted", "south"));
    play.run(11);
    play.check(&["8 opened 3 wait in north", "10 resolved 3 wait in north"]);
    play.see("orders/o2", order("o2", "accepted", "south"));
    play.check(&["8 opened 3 wait in north", "10 resolved 3 wait in north", "11 opened 3 wait in south"]);
    play.see("orders/o3", order("o3", "x", "south"));
    assert!(!play.engine.state().entities.contains_key("zone/north"));
    play.observe("http://t/orders/o1", 404, None);
    play.observe("http://t/orders/o2", 404, None);
    play.run(13);
    assert_eq!(play.told()[3..], ["12 resolved 3 wait in south"]);
}

#[test]
fn a_count_of_which_a_part_is_unknown_is_unknown() {
    let mut play = Play::city(
        "{rule: short, about: zone, count: {of: order, where: order.state == 'accepted', at_least: 2}, issue: {title: short}}",
    );
    play.see("orders/o1", order("o1", "accepted", "north"));
    play.see("orders/o2", order("o2", "accepted", "north"));
    play.check(&["0 opened short"]);
    play.observe("http://t/orders/o1", 500, None);
    play.run(5);
    play.check(&["0 opened short"]);
    play.see("orders/o2", order("o2", "x", "north"));
    play.check(&["0 opened short", "5 resolved short"]);
}

#[test]
fn entities_by_a_field_that_holds_an_id_wait_for_who_has_it() {
    let mut play = Play::city(
        "{rule: busy, about: shop, count: {of: order, where: order.state == 'accepted', by: order.shop, at_least: 2, for: 2m}, \
         issue: {title: '{{shop.id}} has {{count}}'}}",
    );
    play.see("orders/o1", order("o1", "accepted", "north"));
    play.see("orders/o2", order("o2", "accepted", "north"));
    play.run(1);
    play.see("shops/s1", json!({"id": "s1"}));
    play.run(3);
    play.check(&["2 opened s1 has 2"]);
}

#[test]
fn events_are_counted_within_a_time() {
    let rule = "{rule: cancels, about: shop, count: {of: orders.cancelled, by: shop, at_least: 2, within: 10m}, \
         issue: {title: '{{count}} cancelled'}}";
    let mut play = Play::new(&format!(
        "{}{rule}",
        CITY.replace("links: {rider: rider}", "links: {rider: rider, shop: shop}")
    ));
    play.see("shops/s1", json!({"id": "s1"}));
    for number in 1..=3 {
        let mut body = order("o1", "accepted", "north");
        body["_links"] = json!({"shop": {"href": "http://t/shops/s1"}});
        play.see(&format!("orders/o{number}"), body);
    }
    let cancel = |play: &mut Play, number: u8, kind: &str| {
        play.event_of("orders", kind, &format!("http://t/orders/o{number}"));
    };
    cancel(&mut play, 1, "orders.cancelled");
    cancel(&mut play, 1, "orders.update");
    play.run(5);
    cancel(&mut play, 2, "orders.cancelled");
    play.check(&["5 opened 2 cancelled"]);
    play.run(9);
    cancel(&mut play, 3, "orders.cancelled");
    play.run(14);
    assert_eq!(play.told().len(), 1);
    play.run(16);
    assert_eq!(play.told()[1..], ["15 resolved 2 cancelled"]);
}

impl Play {
    fn event_of(&mut self, topic: &str, kind: &str, subject: &str) {
        let what = match self.event_input(topic, Some(subject), None) {
            What::Event(mut event) => {
                kind.clone_into(&mut event.kind);
                What::Event(event)
            }
            other => other,
        };
        self.step(None, what);
    }
}

#[test]
fn rules_about_a_topic_tell_its_keys_apart() {
    let mut play = Play::city(
        "rule: large\nabout: {topic: card.payments, by: shop}\nwhen: event.amount > 100\n\
         issue: {title: '{{event.shop}} paid {{event.amount}}'}\n---\n\
         {rule: quiet, about: card.payments, flatline: {within: 10m, below: 2}, issue: {title: quiet}}",
    );
    let pay = |play: &mut Play, shop: &str, amount: i64| {
        play.event("card.payments", None, Some(json!({"shop": shop, "amount": amount})));
    };
    pay(&mut play, "s1", 50);
    pay(&mut play, "s2", 500);
    play.check(&["0 opened s2 paid 500"]);
    pay(&mut play, "s2", 5);
    play.run(9);
    pay(&mut play, "s1", 50);
    assert_eq!(play.told().len(), 2);
    play.run(11);
    assert_eq!(play.told()[2..], ["10 opened quiet"]);
    pay(&mut play, "s1", 50);
    assert_eq!(play.told()[3..], ["11 resolved quiet"]);
}

#[test]
fn rates_and_spikes_need_a_past() {
    let mut play = Play::city(
        "{rule: slow, about: rider, rate: {of: pings, below: 1/2m, window: 5m}, issue: {title: slow}}\n---\n\
         {rule: spike, about: card.payments, spike: {window: 5m, against: 20m, factor: 3, at_least: 10}, issue: {title: spike}}",
    );
    play.see("riders/r1", json!({"id": "r1"}));
    let pay = |play: &mut Play, count: u32| {
        (0..count).for_each(|_| play.event("card.payments", None, Some(json!({"shop": "s1"}))));
    };
    for minute in 1..=40 {
        play.pings("r1", minute, 0);
        pay(&mut play, 2);
    }
    play.check(&[]);
    play.run(41);
    pay(&mut play, 30);
    play.check(&["41 opened spike"]);
    play.run(50);
    assert_eq!(play.told(), ["41 opened spike", "44 opened slow", "46 resolved spike"]);
}

#[test]
fn fields_that_move_are_seen() {
    let mut play = Play::city(
        "{rule: eta, about: order, change: {field: order.eta, by: 10, within: 15m, direction: up}, issue: {title: eta}}\n---\n\
         {rule: due, about: order, change: {field: order.due_at, by: 10m, within: 15m}, issue: {title: due}}\n---\n\
         {rule: hops, about: order, change: {field: order.state, at_least: 3, within: 15m}, issue: {title: hops}}",
    );
    let set = |play: &mut Play, field: &str, value: Value| {
        let mut body = order("o1", "accepted", "north");
        body[field] = value;
        play.see("orders/o1", body);
    };
    set(&mut play, "eta", json!(30));
    play.run(5);
    set(&mut play, "eta", json!(20));
    play.check(&[]);
    play.run(6);
    set(&mut play, "eta", json!(31));
    play.check(&["6 opened eta"]);
    play.run(30);
    play.check(&["6 opened eta", "21 resolved eta"]);
    set(&mut play, "due_at", json!(at(51).to_string()));
    assert_eq!(play.told()[2..], ["30 opened due"]);
    play.run(60);
    for state in ["a", "b"] {
        set(&mut play, "state", json!(state));
    }
    assert_eq!(play.told().iter().filter(|told| told.contains("hops")).count(), 0);
    set(&mut play, "state", json!("c"));
    assert_eq!(play.told().last(), Some(&"60 opened hops"));
}

#[test]
fn fences_are_around_what_a_rider_goes_to() {
    let mut play = Play::city(
        "{rule: dwells, about: rider, fence: {around: shop, metres: 100, dwell: 5m}, issue: {title: dwells}}\n---\n\
         {rule: left, about: rider, fence: {around: shop, metres: 100, exit: true}, issue: {title: left}}",
    );
    play.see("shops/s1", json!({"id": "s1", "x": 0, "y": 0}));
    let link = json!({"shop": {"href": "http://t/shops/s1"}});
    play.see("riders/r1", json!({"id": "r1", "_links": link}));
    play.pings("r1", 3, 500);
    play.pings("r1", 8, 90);
    play.check(&[]);
    play.pings("r1", 9, 90);
    play.check(&["9 opened dwells"]);
    play.pings("r1", 10, 500);
    play.check(&["9 opened dwells", "10 resolved dwells", "10 opened left"]);
    // Another shop is another fence.
    play.see("shops/s1", json!({"id": "s1", "x": 5000, "y": 0}));
    assert_eq!(play.told().last(), Some(&"10 resolved left"));
}

#[test]
fn new_values_are_news_once_enough_is_known() {
    let mut play = Play::city(
        "{rule: app, about: rider, new_term: {field: rider.app, ttl: 7h, for: 30m, max: 3}, issue: {title: '{{rider.app}}'}}",
    );
    let app = |play: &mut Play, rider: &str, app: &str| {
        play.see(&format!("riders/{rider}"), json!({"id": rider, "app": app}));
    };
    app(&mut play, "r1", "1.0");
    app(&mut play, "r2", "1.1");
    play.run(61);
    app(&mut play, "r3", "1.1");
    play.check(&[]);
    app(&mut play, "r3", "2.0");
    play.check(&["61 opened 2.0"]);
    play.run(95);
    play.check(&["61 opened 2.0", "91 resolved 2.0"]);
    assert_eq!(play.engine.state().terms["app"].seen.len(), 3);
    app(&mut play, "r1", "2.1");
    assert_eq!(play.engine.state().terms["app"].seen.len(), 3, "the oldest went");
}

#[test]
fn gates_read_lists_and_what_is_worked_out() {
    let mut play = Play::city(
        "{rule: stuck, about: rider, when: rider.state == 'stuck', \
         gate: \"orders.exists(o, o.due_at - now < duration('20m'))\", issue: {title: stuck, affects: orders}}\n---\n\
         {rule: empty, about: zone, when: \"!orders.exists(o, o.state != 'done')\", issue: {title: '{{zone.id}} is done'}}",
    );
    play.see("orders/o1", order("o1", "accepted", "north"));
    let orders = json!({"orders": [{"href": "http://t/orders/o1"}, {"href": "http://t/orders/o2"}]});
    play.see("riders/r1", json!({"id": "r1", "state": "stuck", "_links": orders}));
    play.run(19);
    play.check(&[]);
    play.run(21);
    play.check(&["20 opened stuck"]);
    assert_eq!(play.only_issue().affects.len(), 2);
    play.see("orders/o1", order("o1", "done", "north"));
    assert_eq!(play.told()[1..], ["21 opened north is done"]);
}

#[test]
fn garbage_and_fields_that_nobody_has_are_told_and_end_nothing() {
    let mut play = Play::city(
        "{rule: stuck, about: order, when: order.state == 'stuck', issue: {title: stuck}}\n---\n\
         {rule: never, about: order, when: order.due_at < now, issue: {title: never}}",
    );
    play.see("orders/o1", json!({"id": "o1", "state": "stuck"}));
    play.check(&["0 opened stuck"]);
    assert_eq!(play.engine.trouble("never").as_deref(), Some("there is no field `due_at`"));
    assert_eq!(play.engine.trouble("stuck"), None);
    for garbage in [json!([1, 2]), json!("<html>"), json!(null)] {
        play.see("orders/o1", garbage);
        play.run(play.minute() + 1);
        play.check(&["0 opened stuck"]);
        assert_eq!(play.engine.trouble("stuck").as_deref(), Some("`order` is not known yet"));
    }
    play.see("orders/o1", json!({"id": "o1", "state": "x"}));
    assert_eq!(play.told()[1..], ["3 resolved stuck"]);
}

#[test]
fn a_changed_rule_is_warmed_by_the_past() {
    let text = "{rule: waits, about: order, when: order.state == 'accepted', for: 9m, issue: {title: '{{held}}'}}\n---\n\
         {rule: pings, about: rider, count: {of: pings, at_least: 3, within: 20m}, issue: {title: '{{count}}'}}";
    let mut play = Play::city(text);
    play.see("orders/o1", order("o1", "accepted", "north"));
    play.see("riders/r1", json!({"id": "r1"}));
    play.pings("r1", 2, 0);
    play.run(6);
    let past = play.inputs.clone();
    let changed =
        super::rules(&format!("{CITY}{}", text.replace("9m", "5m").replace("at_least: 3", "at_least: 2")));
    play.step(None, What::Rules { rules: changed, is_other_clock: false });
    play.check(&[]);
    assert_eq!(play.engine.looks_back(), std::time::Duration::from_secs(20 * 60));
    let mut out = Vec::new();
    play.engine.warm(past, &mut out);
    let mut titles: Vec<String> = play.engine.issues().map(|issue| issue.title.clone()).collect();
    titles.sort();
    assert_eq!(titles, ["2", "6m"]);
    assert_eq!(out.len(), 2);
}

#[test]
fn a_rule_that_costs_too_much_is_off_until_it_is_changed() {
    let text = "{rule: stuck, about: order, when: order.state == 'stuck', issue: {title: stuck}}";
    let mut play = Play::city(text);
    play.see("orders/o1", order("o1", "stuck", "north"));
    let overrun = What::Overrun { rule: "stuck".to_owned(), reason: "2 ms an evaluation".to_owned() };
    play.step(None, overrun.clone());
    play.step(None, overrun);
    play.check(&["0 opened stuck", "0 resolved stuck"]);
    assert_eq!(play.engine.trouble("stuck").as_deref(), Some("2 ms an evaluation"));
    play.see("orders/o2", order("o2", "stuck", "north"));
    assert_eq!(play.told().len(), 2);
    let same = super::rules(&format!("{CITY}{text}"));
    play.step(None, What::Rules { rules: same, is_other_clock: false });
    assert_eq!(play.told().len(), 2);
    let changed = super::rules(&format!("{CITY}{}", text.replace("title: stuck", "title: still")));
    play.step(None, What::Rules { rules: changed, is_other_clock: false });
    assert_eq!(play.told().len(), 4);
    let open = play.engine.issues().filter(|issue| issue.state == IssueState::Open).count();
    assert_eq!(open, 2);
}

const ALL: &str = "\
{rule: short, about: zone, count: {of: order, where: order.waits, at_least: 2, for: 1m}, keep: 1m, issue: {title: '{{count}}'}}
---
{rule: new, about: zone, count: {of: order, where: order.state == 'accepted', at_least: 2, within: 5m}, issue: {title: '{{count}}'}}
---
{rule: silent, about: rider, absent: {event: pings, within: 3m, while: rider.state == 'busy'}, issue: {title: '{{held}}'}}
---
{rule: shop, about: shop, count: {of: order, by: order.shop, at_least: 2}, issue: {title: '{{count}}'}}
---
{rule: pings, about: rider, count: {of: pings, at_least: 3, within: 4m}, issue: {title: '{{count}}'}}
---
{rule: slow, about: rider, rate: {of: pings, below: 1/m, window: 2m}, issue: {title: x}}
---
{rule: flat, about: rider, flatline: {within: 4m, below: 2}, issue: {title: x}}
---
{rule: spike, about: rider, spike: {window: 1m, against: 3m, factor: 2}, issue: {title: x}}
---
{rule: eta, about: order, change: {field: order.eta, by: 2, within: 6m}, issue: {title: x}}
---
{rule: hops, about: order, change: {field: order.state, at_least: 2, within: 6m}, issue: {title: x}}
---
{rule: fence, about: rider, fence: {around: shop, metres: 50, dwell: 2m}, issue: {title: '{{held}}'}}
---
{rule: app, about: rider, new_term: {field: rider.app, ttl: 14m, for: 2m, max: 3}, issue: {title: x}}
---
{rule: gate, about: rider, when: rider.state == 'busy', gate: \"orders.exists(o, o.due_at < now)\", issue: {title: x}}
---
{rule: zone, about: zone, when: \"orders.exists(o, o.eta > 4)\", for: 1m, issue: {title: x}}
";

fn do_one(play: &mut Play, (what, which, how): (u8, u8, u8)) {
    let now = play.engine.clock();
    let minute = (now.as_micros() - at(0).as_micros()) / 60_000_000;
    let (order_href, rider) = (format!("orders/o{which}"), format!("r{}", which % 2));
    match what {
        0..=2 => {
            let state = ["placed", "accepted", "accepted", "done", "x", "accepted"][usize::from(how)];
            let mut body = order(&format!("o{which}"), state, ["north", "south"][usize::from(how % 2)]);
            body["eta"] = json!(how);
            body["shop"] = json!(format!("s{}", how % 3));
            body["due_at"] = json!(at(minute + i64::from(which)).to_string());
            body["_links"] = json!({"rider": {"href": format!("http://t/riders/{rider}")}});
            play.see(&order_href, body);
        }
        3 => {
            let links = json!({"orders": [{"href": "http://t/orders/o0"}, {"href": "http://t/orders/o1"}],
                "shop": {"href": format!("http://t/shops/s{}", how % 2)}});
            let state = if how > 1 { "busy" } else { "idle" };
            play.see(
                &format!("riders/{rider}"),
                json!({"id": rider, "state": state, "app": format!("{how}"), "_links": links}),
            );
        }
        4 => play.observe(
            &format!("http://t/{order_href}"),
            [0, 500, 404, 304, 200, 503][usize::from(how)],
            None,
        ),
        5 => play.see(
            &format!("shops/s{}", how % 3),
            json!({"id": format!("s{}", how % 3), "x": 20 * which, "y": 0}),
        ),
        6 | 7 => play.ping(&rider, i64::from(how) * 20),
        8 => play.event_at(
            "pings",
            &format!("http://t/riders/{rider}"),
            at(minute + i64::from(how) * 30 - 60),
            json!({"x": how}),
        ),
        9 if how == 5 && which == 3 => play.clock(minute + 10),
        _ => play.run(minute + 1 + i64::from(how % 2)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_triggers_go_on_from_any_checkpoint(
        actions in prop::collection::vec((0_u8..12, 0_u8..4, 0_u8..6), 1..100),
        cut in 0_usize..1000,
    ) {
        let mut play = Play::city(ALL);
        actions.iter().for_each(|action| do_one(&mut play, *action));
        let replay = |from: Option<usize>| {
            let mut engine = Engine::new("production/uk".parse().unwrap());
            let mut out = Vec::new();
            for (index, input) in play.inputs.iter().enumerate() {
                engine.step(input.clone(), &mut out);
                if from == Some(index) {
                    let row = serde_json::from_slice(&serde_json::to_vec(engine.state()).unwrap()).unwrap();
                    let rules = Arc::clone(engine.rules());
                    engine = Engine::restored("production/uk".parse().unwrap(), row, rules);
                }
            }
            (out, serde_json::to_string(engine.state()).unwrap())
        };
        let straight = replay(None);
        prop_assert_eq!(&straight, &replay(None));
        let cut = replay(Some(cut % play.inputs.len()));
        prop_assert_eq!(&straight.0, &cut.0);
        prop_assert_eq!(&straight.1, &cut.1);
    }
}
