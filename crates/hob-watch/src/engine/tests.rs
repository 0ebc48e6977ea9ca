//! The engine driven by hand: a small city in a few lines, and what the rules say of it.

mod triggers;

use std::sync::Arc;

use hob_core::{Scope, Timestamp};
use hob_wire::{Event, FileText, IssueState, Observation, ResolveAs, sequence_text};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Engine, Input, Output, What};
use crate::command::{Command, Refusal, Verb};
use crate::model::Rules;

mod actions;
mod family;
mod lifecycle;
mod simulation;

const RULES: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, placed_at: ts, promised_at: ts, zone: string}
links: {rider: rider}
label: order {{order.id}}
forget: {after: 30m, when: \"order.state == 'delivered'\"}
figures:
  - {name: placed, when: 'true'}
  - {name: delivered, when: \"order.state == 'delivered'\", tone: good}
---
entity: rider
from: {topic: riders, stream: pings, key: rider}
fields: {id: string, on_job: bool, since: ts}
---
rule: waiting
about: order
when: order.state == 'placed'
for: 4m
keep: 1m
issue: {title: 'order {{order.id}} waits for {{held}}', priority: 60, reopen_within: 10m}
---
rule: late
about: order
deadline: {field: order.promised_at, before: 5m, unless: \"order.state == 'delivered'\"}
gate: rider.on_job == false || order.promised_at - now < duration('2m')
issue: {title: '{{order.id}} due in {{left}}', priority: 40, urgency: {field: order.promised_at, within: 10m}, affects: rider}
---
rule: zone
about: order
when: order.zone == 'north' && order.state == 'stuck'
issue: {title: 'north is stuck', key: 'zone/{{order.zone}}', expire: 1h}
---
rule: stopped
about: rider
stopped: {metres: 50, for: 5m, while: rider.on_job, from: rider.since}
issue: {title: '{{rider.id}} stands for {{held}}', priority: 80}
";

fn rules(text: &str) -> Arc<Rules> {
    let file = FileText { file: "r.yml".to_owned(), text: text.to_owned() };
    Arc::new(crate::rules::compile(&[file]).unwrap())
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(1_767_571_200_000_000 + minutes * 60_000_000)
}

struct Play {
    engine: Engine,
    sequence: u64,
    told: Vec<String>,
    inputs: Vec<Input>,
    /// Transitions as they stand in the log.
    logged: Vec<String>,
    /// The request that causes events.
    request: Option<String>,
}

impl Play {
    fn new(text: &str) -> Self {
        let scope: Scope = "production/uk".parse().unwrap();
        let mut play = Self {
            engine: Engine::new(scope),
            sequence: 0,
            told: Vec::new(),
            inputs: Vec::new(),
            logged: Vec::new(),
            request: None,
        };
        play.step(None, What::Rules { rules: rules(text), is_other_clock: false });
        play.clock(0);
        play
    }

    fn step(&mut self, clock: Option<Timestamp>, what: What) -> Vec<Output> {
        self.sequence += 1;
        let recorded = Timestamp::from_micros(i64::try_from(self.sequence).unwrap());
        let input = Input { sequence: self.sequence, recorded, clock, what };
        self.inputs.push(input.clone());
        let mut out = Vec::new();
        self.engine.step(input, &mut out);
        for output in &out {
            if let Output::Transition { transition, .. } = output {
                self.logged.push(serde_json::to_string(transition).unwrap());
                let minute = (self.engine.clock().as_micros() - at(0).as_micros()) / 60_000_000;
                self.told.push(format!("{minute} {} {}", transition.transition, transition.issue.title));
            }
        }
        out
    }

    fn clock(&mut self, minutes: i64) {
        self.step(Some(at(minutes)), What::Clock);
    }

    /// Lets the clock run to a minute in steps of ten seconds.
    fn run(&mut self, to: i64) {
        while self.engine.clock() < at(to) {
            let next = self.engine.clock().plus(std::time::Duration::from_secs(10));
            self.step(Some(next), What::Clock);
        }
    }

    fn saw(&mut self, href: &str, body: Value) {
        self.observe(href, 200, Some(body));
    }

    fn observe(&mut self, href: &str, status: u16, body: Option<Value>) {
        let topic = if href.contains("/orders/") { "orders" } else { "riders" };
        let observation = Observation {
            href: href.to_owned(),
            topic: Some(topic.parse().unwrap()),
            status,
            etag: None,
            body,
            error: (status == 0).then(|| "no answer".to_owned()),
            cause: sequence_text(1),
            clock: self.engine.clock(),
        };
        self.step(None, What::Observed(Box::new(observation)));
    }

    fn event(&mut self, topic: &str, subject: Option<&str>, data: Option<Value>) {
        let what = self.event_input(topic, subject, data);
        self.step(None, what);
    }

    fn event_input(&self, topic: &str, subject: Option<&str>, data: Option<Value>) -> What {
        let event = Event {
            specversion: "1.0".to_owned(),
            id: self.sequence.to_string(),
            source: "/services/x".to_owned(),
            kind: format!("{topic}.update"),
            subject: subject.map(str::to_owned),
            time: self.engine.clock(),
            dataschema: None,
            data_base64: None,
            notbefore: None,
            extensions: std::collections::BTreeMap::new(),
            datacontenttype: None,
            data,
            topic: topic.parse().unwrap(),
            sequence: sequence_text(self.sequence + 1),
            recordedtime: Timestamp::from_micros(7),
            requestid: self.request.clone(),
            traceparent: None,
            entityseq: None,
            entitytag: None,
            environment: "production".parse().unwrap(),
            tenant: "uk".parse().unwrap(),
        };
        What::Event(Box::new(event))
    }

    fn command(&mut self, verb: Verb, issue: &str) -> Option<Refusal> {
        self.command_of("anna", verb, issue, None)
    }

    fn command_of(&mut self, actor: &str, verb: Verb, issue: &str, revision: Option<u32>) -> Option<Refusal> {
        let (actor, reason) = (actor.to_owned(), "looked at it".to_owned());
        let command = Command { verb, issue: issue.to_owned(), actor, reason, revision };
        let out = self.step(None, What::Command(command));
        out.into_iter().find_map(|output| match output {
            Output::Answer { refusal, .. } => Some(refusal),
            _ => None,
        })?
    }

    fn only_issue(&self) -> &hob_wire::Issue {
        let issues: Vec<_> = self.engine.issues().collect();
        assert_eq!(issues.len(), 1, "{issues:?}");
        issues[0]
    }

    fn told(&self) -> Vec<&str> {
        self.told.iter().map(String::as_str).collect()
    }
}

const O1: &str = "http://t/orders/o1";
const R1: &str = "http://t/riders/r1";

fn order(state: &str) -> Value {
    json!({"id": "o1", "state": state, "placed_at": at(0).to_string(), "promised_at": at(40).to_string(), "zone": "north"})
}

#[test]
fn a_condition_that_holds_opens_and_its_end_resolves() {
    let mut play = Play::new(RULES);
    play.event("orders", Some(O1), None);
    play.saw(O1, order("placed"));
    play.run(6);
    assert_eq!(play.told(), ["4 opened order o1 waits for 4m"]);
    let issue = play.only_issue();
    assert_eq!((issue.priority, issue.key.as_str(), issue.opened), (60, O1, at(4)));
    let kinds: Vec<&str> = issue.evidence.iter().map(|piece| piece.kind.as_str()).collect();
    assert_eq!(kinds, ["event", "entity", "rule"]);
    assert_eq!(issue.evidence[0].text, "orders.update");
    assert_eq!(issue.evidence[1].text, "order o1");
    assert_eq!(issue.evidence[1].values["state"], "placed");
    assert_eq!(issue.evidence[2].text, "order.state == 'placed' for 4m");
    assert_eq!(issue.evidence[2].values["order.state"], "placed");
    assert_eq!(issue.evidence[2].values["held"], "4m");
    play.saw(O1, order("accepted"));
    play.run(8);
    assert_eq!(play.told()[1..], ["7 resolved order o1 waits for 4m"]);
    assert_eq!(play.only_issue().resolution.as_deref(), Some("the condition is no longer true"));
    // It comes back within ten minutes: the same issue.
    play.saw(O1, order("placed"));
    play.run(13);
    assert_eq!(play.told()[2..], ["12 reopened order o1 waits for 4m"]);
    assert_eq!(play.only_issue().reopenings, 1);
}

#[test]
fn unknown_pauses_and_never_resolves() {
    let mut play = Play::new(RULES);
    play.saw(O1, order("placed"));
    play.run(2);
    play.observe(O1, 0, None);
    play.run(10);
    play.saw(O1, order("placed"));
    play.run(11);
    assert_eq!(play.told(), [""; 0]);
    play.run(12);
    assert_eq!(play.told(), ["12 opened order o1 waits for 4m"]);
    play.observe(O1, 500, None);
    play.run(20);
    play.saw(O1, json!({"id": "o1"}));
    play.run(25);
    assert_eq!(play.told().len(), 1);
    play.observe(O1, 404, None);
    assert_eq!(play.told()[1..], ["25 resolved order o1 waits for 4m"]);
}

#[test]
fn a_deadline_waits_for_its_gate_and_ranks_by_urgency() {
    let mut play = Play::new(RULES);
    let mut body = order("accepted");
    body["_links"] = json!({"rider": {"href": R1}});
    play.saw(R1, json!({"id": "r1", "on_job": true}));
    play.saw(O1, body.clone());
    play.run(36);
    assert_eq!(play.told(), [""; 0]);
    play.run(39);
    assert_eq!(play.told(), ["38 opened o1 due in 1m"]);
    assert_eq!(play.only_issue().affects, [R1]);
    assert!(play.only_issue().priority > 60, "{}", play.only_issue().priority);
    // The same order with an idle rider: the gate is open at once.
    let mut play = Play::new(RULES);
    play.saw(O1, body);
    play.run(36);
    assert_eq!(play.told(), [""; 0], "the rider is not known yet");
    play.saw(R1, json!({"id": "r1", "on_job": false}));
    assert_eq!(play.told(), ["36 opened o1 due in 4m"]);
    play.saw(O1, order("delivered"));
    assert_eq!(play.told()[1..], ["36 resolved o1 due in 4m"]);
}

#[test]
fn what_is_overdue_is_so_since_its_time() {
    let mut play = Play::new(
        "{entity: order, from: {topic: orders}}\n---\n{rule: overdue, about: order, \
         deadline: {field: order.promised_at, after: 8m}, issue: {title: 'late by {{held}}'}}\n",
    );
    play.saw(O1, order("placed"));
    play.run(60);
    assert_eq!(play.told(), ["48 opened late by 8m"]);
    play.saw(O1, json!({"id": "o1", "promised_at": null}));
    assert_eq!(play.told()[1..], ["60 resolved late by 8m"]);
}

#[test]
fn entities_share_an_issue_by_key() {
    let mut play = Play::new(RULES);
    for number in 1..=3 {
        let mut body = order("stuck");
        body["id"] = json!(format!("o{number}"));
        play.saw(&format!("http://t/orders/o{number}"), body);
    }
    assert_eq!(play.told(), ["0 opened north is stuck"]);
    assert_eq!(play.only_issue().affects.len(), 2);
    play.saw("http://t/orders/o1", order("accepted"));
    play.saw("http://t/orders/o2", order("accepted"));
    assert_eq!(play.told().len(), 1);
    play.saw("http://t/orders/o3", order("accepted"));
    assert_eq!(play.told()[1..], ["0 resolved north is stuck"]);
}

#[test]
fn issues_expire_and_stay_silent_until_it_was_over_once() {
    let mut play = Play::new(RULES);
    let mut body = order("stuck");
    body["promised_at"] = Value::Null;
    play.saw(O1, body.clone());
    play.run(90);
    assert_eq!(play.told(), ["0 opened north is stuck", "60 resolved north is stuck"]);
}

#[test]
fn people_acknowledge_and_resolve() {
    let mut play = Play::new(RULES);
    play.saw(O1, order("placed"));
    play.run(4);
    let id = play.only_issue().id.clone();
    assert_eq!(play.command(Verb::Acknowledge { held: None }, "nobody"), Some(Refusal::Unknown));
    assert_eq!(play.command(Verb::Acknowledge { held: None }, &id), None);
    assert_eq!(play.only_issue().assignee.as_deref(), Some("anna"));
    assert_eq!(play.only_issue().priority, 40);
    let by = Some("anna".to_owned());
    let already = Refusal::Already { state: IssueState::Acknowledged, by: by.clone() };
    assert_eq!(play.command(Verb::Acknowledge { held: None }, &id), Some(already));
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::FalseAlarm) }, &id), None);
    let already = Refusal::Already { state: IssueState::Resolved, by };
    assert_eq!(play.command(Verb::Resolve { how: Some(ResolveAs::FalseAlarm) }, &id), Some(already));
    // The condition holds on: silence, until it was false once.
    play.run(9);
    play.saw(O1, order("accepted"));
    play.saw(O1, order("placed"));
    play.run(12);
    assert_eq!(play.told().len(), 3, "{:?}", play.told());
    play.run(13);
    assert_eq!(play.told()[3..], ["13 opened order o1 waits for 4m"]);
}

#[test]
fn a_rider_who_stands_is_found_and_one_who_is_silent_is_not() {
    let mut play = Play::new(RULES);
    play.saw(R1, json!({"id": "r1", "on_job": true, "since": at(0).to_string()}));
    for minute in 0..=6 {
        play.clock(minute);
        play.event("pings", Some(R1), Some(json!({"x": 8 * minute, "y": 0})));
    }
    assert_eq!(play.told(), ["5 opened r1 stands for 5m"]);
    play.event("pings", None, Some(json!({"rider": "r1", "x": 500, "y": 0})));
    assert_eq!(play.told()[1..], ["6 resolved r1 stands for 5m"]);
    play.run(30);
    assert_eq!(play.told().len(), 2, "no pings: nothing is known to stand");
    // A new leg begins: standing is counted from there.
    play.saw(R1, json!({"id": "r1", "on_job": true, "since": at(31).to_string()}));
    for minute in 31..=35 {
        play.clock(minute);
        play.event("pings", Some(R1), Some(json!({"x": 500, "y": 0})));
    }
    assert_eq!(play.told().len(), 2);
    play.clock(36);
    play.event("pings", Some(R1), Some(json!({"x": 500, "y": 0})));
    assert_eq!(play.told()[2..], ["36 opened r1 stands for 5m"]);
    play.event("pings", Some(R1), Some(json!({"x": "north"})));
    play.saw(R1, json!({"id": "r1", "on_job": false, "since": at(36).to_string()}));
    assert_eq!(play.told()[3..], ["36 resolved r1 stands for 5m"]);
}

#[test]
fn figures_count_what_was_forgotten_too() {
    let mut play = Play::new(RULES);
    play.saw(O1, order("delivered"));
    play.saw("http://t/orders/o2", order("accepted"));
    let values = |play: &Play| play.engine.figures().iter().map(|count| count.value).collect::<Vec<_>>();
    assert_eq!(values(&play), [2, 1]);
    play.run(31);
    assert_eq!(play.engine.state().entities.len(), 1);
    assert_eq!(values(&play), [2, 1]);
    play.saw(O1, order("delivered"));
    assert_eq!(values(&play), [2, 1], "a late fetch of what was forgotten");
    play.observe("http://t/orders/o2", 410, None);
    assert_eq!(values(&play), [1, 1]);
}

#[test]
fn other_rules_take_over() {
    let mut play = Play::new(RULES);
    play.saw(O1, order("placed"));
    play.run(5);
    let changed = RULES.replace("for: 4m", "for: 20m").replace("rule: zone", "rule: other");
    play.step(None, What::Rules { rules: rules(&changed), is_other_clock: false });
    assert_eq!(play.told().len(), 1, "the open issue stays while its condition holds");
    let without = changed.replace("rule: waiting", "rule: renamed");
    play.step(None, What::Rules { rules: rules(&without), is_other_clock: false });
    assert_eq!(play.told()[1..], ["5 resolved order o1 waits for 4m"]);
    play.run(26);
    assert_eq!(play.told()[2..], ["25 opened order o1 waits for 20m"]);
}

#[test]
fn another_clock_starts_over_what_was_waited_for() {
    let mut play = Play::new(RULES);
    play.saw(O1, order("placed"));
    play.run(3);
    play.step(None, What::Rules { rules: rules(RULES), is_other_clock: true });
    play.clock(-600);
    assert_eq!(play.engine.clock(), at(-600));
    play.run(-597);
    assert_eq!(play.told(), [""; 0]);
    play.run(-595);
    assert_eq!(play.told().len(), 1);
}

/// What the log may hold, as small numbers.
fn arbitrary_inputs() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0_u8..8, 0_u8..4, 0_u8..6), 1..120)
}

fn act(play: &mut Play, (what, which, how): (u8, u8, u8)) {
    let orders = format!("http://t/orders/o{which}");
    let rider = format!("http://t/riders/r{}", which % 2);
    let now = play.engine.clock();
    match what {
        0 | 1 => {
            let state = ["placed", "accepted", "stuck", "delivered", "placed", "odd"][usize::from(how)];
            let mut body = order(state);
            body["id"] = json!(format!("o{which}"));
            body["promised_at"] =
                json!(now.plus(std::time::Duration::from_secs(60 * u64::from(how))).to_string());
            if how != 4 {
                body["_links"] = json!({"rider": {"href": rider}});
            }
            play.saw(&orders, body);
        }
        2 => play.saw(
            &rider,
            json!({"id": format!("r{}", which % 2), "on_job": how > 2, "since": at(0).to_string()}),
        ),
        3 => play.observe(&orders, [0, 500, 404, 304, 200, 503][usize::from(how)], None),
        4 => play.event("pings", Some(&rider), Some(json!({"x": u32::from(how) * 20, "y": 0}))),
        5 => {
            let ids: Vec<String> = play.engine.issues().map(|issue| issue.id.clone()).collect();
            if let Some(id) = ids.get(usize::from(which)) {
                let is_over = play.engine.issue(id).is_some_and(|issue| issue.state == IssueState::Resolved);
                let verb = if is_over && how > 2 { Verb::Reopen } else { some_verb(how, &ids) };
                play.command(verb, id);
            }
        }
        6 => play.event("orders", Some(&orders), None),
        _ if which == 3 => play.clock((now.as_micros() - at(0).as_micros()) / 60_000_000 + 20),
        _ => play.run((now.as_micros() - at(0).as_micros()) / 60_000_000 + 1 + i64::from(how)),
    }
}

fn some_verb(how: u8, ids: &[String]) -> Verb {
    match how {
        0 => Verb::Acknowledge { held: Some(std::time::Duration::from_secs(120)) },
        1 => Verb::Snooze { until: None, held: Some(std::time::Duration::from_secs(90)), until_worse: true },
        2 => Verb::Resolve { how: Some(ResolveAs::Fixed) },
        3 => Verb::Resolve { how: Some(ResolveAs::Verify) },
        4 => Verb::Resolve { how: Some(ResolveAs::FalseAlarm) },
        _ => Verb::Merge { into: ids.first().cloned().unwrap_or_default() },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn replays_are_the_same_from_any_checkpoint(actions in arbitrary_inputs(), cut in 0_usize..1000) {
        let mut play = Play::new(RULES);
        actions.iter().for_each(|action| act(&mut play, *action));
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
            (out, engine.state_hash(), engine.figures())
        };
        let straight = replay(None);
        prop_assert_eq!(straight.1, play.engine.state_hash());
        let cut = replay(Some(cut % play.inputs.len()));
        prop_assert_eq!(&straight, &cut);
    }

    #[test]
    fn there_is_one_open_issue_per_key_and_unknown_resolves_nothing(actions in arbitrary_inputs()) {
        let mut play = Play::new(RULES);
        for action in actions {
            let open_before: Vec<String> = open(&play);
            act(&mut play, action);
            let mut keys: Vec<(String, String)> = play
                .engine
                .issues()
                .filter(|issue| issue.state != IssueState::Resolved)
                .map(|issue| (issue.rule.clone(), issue.key.clone()))
                .collect();
            let all = keys.len();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), all);
            // A failed fetch is not a reason for anything to end.
            if action.0 == 3 && [0, 1, 5].contains(&action.2) {
                prop_assert_eq!(open_before, open(&play));
            }
        }
    }
}

fn open(play: &Play) -> Vec<String> {
    let open = play.engine.issues().filter(|issue| issue.state != IssueState::Resolved);
    open.map(|issue| issue.id.clone()).collect()
}
