//! Observations a second, pings a second and bytes an entity of the rule engine, on one core, with twenty rules.
//!
//! `rules-bench [observations|pings|entities|all]`: a line of JSON each. Inputs are made before the clock runs, a chunk at a
//! time, so that what is measured is the engine and the freeing of what it was given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_core::Timestamp;
use hob_watch::{Engine, Input, What};
use hob_wire::{Event, FileText, Observation};
use serde_json::{Value, json};

const RULES: &str = include_str!("../rules.yml");
const BEGIN: i64 = 1_767_571_200_000_000;
const CHUNK: u64 = 20_000;

struct Play {
    engine: Engine,
    sequence: u64,
    seconds: i64,
    out: Vec<hob_watch::Output>,
    issues: u64,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(BEGIN + seconds * 1_000_000)
}

impl Play {
    fn new() -> Self {
        let file = FileText { file: "rules.yml".to_owned(), text: RULES.to_owned() };
        let rules = hob_watch::compile(&[file]).expect("the rules are good");
        let engine = Engine::new("bench/uk".parse().expect("a scope"));
        let mut play = Self { engine, sequence: 0, seconds: 0, out: Vec::new(), issues: 0 };
        let what = What::Rules { rules: Arc::new(rules), is_other_clock: false };
        let first = play.input(None, what);
        play.engine.step(first, &mut Vec::new());
        play.tick();
        play
    }

    fn input(&mut self, clock: Option<Timestamp>, what: What) -> Input {
        self.sequence += 1;
        Input { sequence: self.sequence, recorded: at(0), clock, what }
    }

    fn tick(&mut self) {
        let tick = self.input(Some(at(self.seconds)), What::Clock);
        self.take(vec![tick]);
    }

    fn take(&mut self, inputs: Vec<Input>) -> Duration {
        let begin = Instant::now();
        for input in inputs {
            self.engine.step(input, &mut self.out);
        }
        let opened = self.out.iter().filter(|out| matches!(out, hob_watch::Output::Transition { .. }));
        self.issues += opened.count() as u64;
        self.out.clear();
        begin.elapsed()
    }

    fn observed(&mut self, topic: &str, href: String, body: Value) -> Input {
        let observation = Observation {
            href,
            topic: topic.parse().ok(),
            status: 200,
            etag: None,
            body: Some(body),
            error: None,
            cause: "1".to_owned(),
            clock: at(self.seconds),
        };
        self.input(None, What::Observed(Box::new(observation)))
    }

    fn ping(&mut self, rider: u64, x: u64) -> Input {
        let event = Event {
            specversion: "1.0".to_owned(),
            id: self.sequence.to_string(),
            source: "/services/city".to_owned(),
            kind: "rider.pings".to_owned(),
            subject: Some(format!("http://takeaway.test/riders/{rider}")),
            time: at(self.seconds),
            dataschema: None,
            data_base64: None,
            notbefore: None,
            extensions: BTreeMap::new(),
            datacontenttype: None,
            data: Some(json!({"x": x, "y": 5})),
            topic: "rider.pings".parse().expect("a topic"),
            sequence: String::new(),
            recordedtime: at(0),
            requestid: None,
            traceparent: None,
            entityseq: None,
            entitytag: None,
            environment: "bench".parse().expect("a name"),
            tenant: "uk".parse().expect("a name"),
        };
        self.input(None, What::Event(Box::new(event)))
    }

    fn restaurants(&mut self, count: u64) {
        let inputs = (0..count).map(|number| {
            let body = json!({"id": format!("p{number}"), "accepting": true, "open_orders": 3, "oldest_unaccepted_at": null,
                "oldest_due_at": at(7200).to_string(), "x": number * 300, "y": 0});
            self.observed("restaurants", format!("http://takeaway.test/restaurants/{number}"), body)
        });
        let inputs: Vec<Input> = inputs.collect();
        self.take(inputs);
    }

    fn rider(&mut self, number: u64) -> Input {
        let body = json!({"id": format!("c{number}"), "state": "to_customer", "state_since": at(0).to_string(), "on_job": true,
            "app": "4.2", "_links": {"self": {"href": format!("http://takeaway.test/riders/{number}")},
            "restaurant": {"href": format!("http://takeaway.test/restaurants/{}", number % 300)},
            "orders": [{"href": format!("http://takeaway.test/orders/{number}")}]}});
        self.observed("riders", format!("http://takeaway.test/riders/{number}"), body)
    }

    fn order(&mut self, number: u64, step: u64) -> Input {
        let placed = self.seconds - step as i64 * 120;
        let later = |seconds: i64| json!(at(placed + seconds).to_string());
        let reached = |least: u64, seconds: i64| if step >= least { later(seconds) } else { Value::Null };
        let state = ["placed", "accepted", "accepted", "assigned", "picked_up", "delivered"][step.min(5) as usize];
        let body = json!({"id": format!("o{number}"), "state": state, "restaurant": format!("p{}", number % 300),
            "zone": format!("z{}", number % 20), "quoted_minutes": 40, "travel_minutes": number % 30,
            "placed_at": later(0), "promised_at": later(2400), "unacceptable_at": later(3600),
            "accepted_at": reached(1, 120), "expected_ready_at": later(1500), "dispatchable_at": later(700),
            "assigned_at": reached(3, 360), "ready_at": reached(3, 300), "picked_up_at": reached(4, 480),
            "delivered_at": reached(5, 600), "updated_at": at(self.seconds).to_string(),
            "_links": {"self": {"href": format!("http://takeaway.test/orders/{number}")},
                "restaurant": {"href": format!("http://takeaway.test/restaurants/{}", number % 300)},
                "rider": {"href": format!("http://takeaway.test/riders/{}", number % 2000)}}});
        self.observed("orders", format!("http://takeaway.test/orders/{number}"), body)
    }
}

/// Orders through their lives, five hundred thousand observations of them.
fn observations() {
    let mut play = Play::new();
    play.restaurants(300);
    let riders: Vec<Input> = (0..2000).map(|number| play.rider(number)).collect();
    play.take(riders);
    let (mut spent, mut count, mut first) = (Duration::ZERO, 0, 0);
    while count < 300_000 {
        for step in 0..6 {
            play.seconds += 1;
            let inputs: Vec<Input> = (first..first + CHUNK / 6).map(|number| play.order(number, step)).collect();
            count += inputs.len();
            spent += play.take(inputs);
            let begin = Instant::now();
            play.tick();
            spent += begin.elapsed();
        }
        first += CHUNK / 6;
    }
    report("observations", count, spent, &play);
}

/// Riders who ping every ten seconds while they move.
fn pings() {
    let mut play = Play::new();
    play.restaurants(300);
    let riders: Vec<Input> = (0..CHUNK).map(|number| play.rider(number)).collect();
    play.take(riders);
    let (mut spent, mut count) = (Duration::ZERO, 0);
    for round in 0..150 {
        play.seconds += 10;
        let inputs: Vec<Input> = (0..CHUNK).map(|number| play.ping(number, number * 7 + round * 60)).collect();
        count += inputs.len();
        spent += play.take(inputs);
        let begin = Instant::now();
        play.tick();
        spent += begin.elapsed();
    }
    report("pings", count, spent, &play);
}

fn report(what: &str, count: usize, spent: Duration, play: &Play) {
    let rate = count as f64 / spent.as_secs_f64();
    let line = json!({"what": what, "inputs": count, "seconds": spent.as_secs_f64(), "per_second": rate.round(),
        "rules": 20, "transitions": play.issues});
    println!("{line}");
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// A million orders and riders.
fn entities() {
    for (what, count) in [("riders", 200_000_u64), ("orders", 800_000)] {
        let mut play = Play::new();
        play.restaurants(300);
        let before = resident();
        for first in (0..count).step_by(CHUNK as usize) {
            let inputs: Vec<Input> = (first..first + CHUNK)
                .map(|number| if what == "riders" { play.rider(number) } else { play.order(number, 3) })
                .collect();
            play.take(inputs);
            if what == "riders" {
                let inputs: Vec<Input> = (first..first + CHUNK).map(|number| play.ping(number, number)).collect();
                play.take(inputs);
            }
        }
        let bytes = resident().saturating_sub(before) / count;
        println!("{}", json!({"what": what, "entities": count, "bytes_each": bytes}));
    }
}

fn main() {
    let what = std::env::args().nth(1).unwrap_or_else(|| "all".to_owned());
    let is = |name: &str| what == name || what == "all";
    if is("observations") {
        observations();
    }
    if is("pings") {
        pings();
    }
    if is("entities") {
        entities();
    }
}
