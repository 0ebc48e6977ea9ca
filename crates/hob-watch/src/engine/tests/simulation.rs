//! Lives of issues with seeds: rules of every kind, people who do anything at any time, calls that end somehow; what must
//! hold after every step, and that a replay is the same to the byte.

use std::collections::{BTreeMap, BTreeSet};

use hob_wire::Issue;

use super::*;

const CITY: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, zone: string, due: ts}
links: {rider: rider}
forget: {after: 20m, when: order.state == 'gone'}
outcome: {unacceptable: order.zone == 'south'}
---
entity: rider
from: {topic: riders}
fields: {id: string, on_job: bool}
---
rule: zone
about: order
when: order.state == 'stuck'
keep: 1m
issue: {title: '{{order.zone}}', key: 'zone/{{order.zone}}', expire: 40m, urgency: {field: order.due, within: 30m}}
---
rule: alone
about: order
when: order.state in ['stuck', 'late']
for: 1m
budget: {max_open: 3}
issue: {title: '{{order.id}}', parent: ['order/{{order.id}}', 'zone/{{order.zone}}'], reopen_within: 5m, verify: 2m}
actions:
  - {do: force, mode: auto, guard: {trusted: true, per_entity: 2/10m, stop_after_failures: 4}}
  - {do: call, mode: approve}
---
rule: twice
about: order
when: order.state == 'late'
issue: {title: 'late', key: 'late/{{order.zone}}', at_least: 2/10m, parent: 'zone/{{order.zone}}'}
";

struct Random(u64);

impl Random {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.roll(of.len().max(1) as u64)).unwrap();
        of.get(at)
    }
}

fn live(seed: u64, steps: usize) -> Play {
    let mut play = Play::new(CITY);
    let mut random = Random(seed);
    for _ in 0..steps {
        let before: BTreeMap<String, Issue> =
            play.engine.issues().map(|issue| (issue.id.clone(), issue.clone())).collect();
        step(&mut play, &mut random);
        check(&play, &before);
    }
    play
}

fn step(play: &mut Play, random: &mut Random) {
    let number = random.roll(8);
    let href = format!("http://t/orders/o{number}");
    match random.roll(10) {
        0..=3 => {
            let state = random.one(&["stuck", "late", "fine", "stuck", "gone"]).unwrap();
            let due = play.engine.clock().plus(std::time::Duration::from_secs(60 * random.roll(40)));
            let mut body = json!({
                "id": format!("o{number}"), "state": state,
                "zone": if number < 5 { "north" } else { "south" }, "due": due.to_string(),
            });
            if random.roll(2) == 0 {
                body["_links"] =
                    json!({"force": {"href": "/force"}, "call": {"href": "/call", "method": "PUT"}});
            }
            play.saw(&href, body);
        }
        4 => play.observe(&href, *random.one(&[0, 500, 404, 304]).unwrap(), None),
        5 => {
            let caused: Vec<String> = play.engine.actions().map(|action| action.id.clone()).collect();
            play.request = random.one(&caused).cloned().filter(|_| random.roll(3) == 0);
            play.event("orders", Some(&href), None);
        }
        6 => person(play, random),
        7 => result(play, random),
        _ => {
            let now = (play.engine.clock().as_micros() - at(0).as_micros()) / 60_000_000;
            play.run(now + 1 + i64::try_from(random.roll(4)).unwrap());
        }
    }
}

fn person(play: &mut Play, random: &mut Random) {
    let ids: Vec<String> = play.engine.issues().map(|issue| issue.id.clone()).collect();
    let (Some(id), Some(other)) = (random.one(&ids).cloned(), random.one(&ids).cloned()) else { return };
    let held = Some(std::time::Duration::from_secs(60 * (1 + random.roll(5))));
    let verb = match random.roll(14) {
        0 | 1 => Verb::Acknowledge { held },
        2 => Verb::Assign { to: Some("ben".to_owned()) },
        3 => Verb::Snooze { until: None, held, until_worse: random.roll(2) == 0 },
        4 => Verb::Resolve { how: None },
        5 => Verb::Resolve { how: Some(ResolveAs::Fixed) },
        6 => Verb::Resolve { how: Some(ResolveAs::Verify) },
        7 => Verb::Resolve { how: Some(ResolveAs::FalseAlarm) },
        8 => Verb::Reopen,
        9 => Verb::Merge { into: other },
        10 => Verb::Label { label: Some("false-alarm".to_owned()).filter(|_| random.roll(2) == 0) },
        11 => Verb::Note { text: "a word".to_owned() },
        12 => Verb::Act { relation: "call".to_owned(), action: None, again: random.roll(2) == 0 },
        _ if random.roll(4) == 0 => Verb::PauseActions,
        _ => Verb::ResumeActions,
    };
    let revision = play.engine.issue(&id).map(|issue| issue.revision).filter(|_| random.roll(3) == 0);
    let actor = *random.one(&["anna", "ben", "cleo"]).unwrap();
    play.command_of(actor, verb, &id, revision);
}

fn result(play: &mut Play, random: &mut Random) {
    let command = |verb| Command {
        verb,
        issue: String::new(),
        actor: "hob".into(),
        reason: String::new(),
        revision: None,
    };
    if let Some(action) = random.one(&play.engine.under_way()).map(|action| action.id.clone()) {
        let status = *random.one(&[200, 204, 404, 409, 500, 0]).unwrap();
        play.step(None, What::Command(command(Verb::Acted { action, status, error: None })));
    } else if let Some(action) = random.one(&play.engine.to_do()).map(|action| action.id.clone()) {
        play.step(None, What::Command(command(Verb::Begun { action })));
    }
}

/// What holds whatever happens.
fn check(play: &Play, before: &BTreeMap<String, Issue>) {
    let engine = &play.engine;
    let open: Vec<&Issue> = engine.issues().filter(|issue| issue.state != IssueState::Resolved).collect();
    let keys: BTreeSet<(&str, &str)> = open.iter().map(|i| (i.rule.as_str(), i.key.as_str())).collect();
    assert_eq!(keys.len(), open.len(), "two live issues of one key");
    for id in before.keys() {
        assert!(engine.issue(id).is_some(), "{id} is lost");
    }
    for issue in engine.issues() {
        let is_over = issue.state == IssueState::Resolved;
        assert_eq!(is_over, issue.resolved.is_some());
        let children = open.iter().filter(|child| child.parent.as_ref() == Some(&issue.id)).count();
        assert_eq!(issue.children as usize, children, "{issue:?}");
        assert!(!is_over || children == 0, "a parent ended before its children");
        assert!(!is_over || (issue.actions.is_empty() && issue.snoozed.is_none() && issue.unknown.is_none()));
        // Nothing changes its state without a transition.
        if let Some(was) = before.get(&issue.id).filter(|was| was.state != issue.state) {
            assert!(issue.revision > was.revision, "{was:?} {issue:?}");
        }
        let held = engine.state().entities.iter().flat_map(|(_, row)| row.cells.iter());
        let held = held.filter(|(_, _, cell)| cell.issue.as_ref() == Some(&issue.id)).count();
        assert!(!is_over || held == 0, "a cell holds what is over");
    }
}

#[test]
fn issues_live_by_their_rules_whatever_happens() {
    for seed in 0..40 {
        let play = live(seed, 250);
        let mut engine = Engine::new("production/uk".parse().unwrap());
        let mut out = Vec::new();
        for (number, input) in play.inputs.iter().enumerate() {
            engine.step(input.clone(), &mut out);
            if number % 97 == 0 {
                let row = serde_json::from_slice(&serde_json::to_vec(engine.state()).unwrap()).unwrap();
                let rules = Arc::clone(engine.rules());
                engine = Engine::restored("production/uk".parse().unwrap(), row, rules);
            }
        }
        assert_eq!(engine.state().issues, play.engine.state().issues, "seed {seed}");
        assert_eq!(engine.state().desk, play.engine.state().desk, "seed {seed}");
        assert_eq!(engine.state_hash(), play.engine.state_hash(), "seed {seed}");
        let told: Vec<String> = out
            .iter()
            .filter_map(|output| match output {
                Output::Transition { transition, .. } => Some(serde_json::to_string(transition).unwrap()),
                _ => None,
            })
            .collect();
        assert_eq!(told, play.logged, "seed {seed}");
        let kinds: BTreeSet<&str> = play.told.iter().filter_map(|told| told.split(' ').nth(1)).collect();
        assert!(kinds.len() > 5, "seed {seed} was dull: {kinds:?}");
    }
}
