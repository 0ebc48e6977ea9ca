//! Plays the tests of rule files: a clock that ticks each second, what the test says is seen, and what the rule does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Scope, Timestamp, TopicName, format_duration, parse_duration};
use hob_wire::{Event, Flaw, Observation, sequence_text};
use serde_json::{Map, Value, json};

use crate::engine::{Engine, Input, Output, What};
use crate::model::{Case, EntityKind, Given, Happening, Rules, Step};
use crate::value::FieldType;

/// When every test begins: 2026-01-05T12:00:00Z.
const BEGIN: Timestamp = Timestamp::from_micros(1_767_614_400_000_000);
/// How far the clock moves at a time.
const TICK: Duration = Duration::from_secs(1);
/// How long a test goes on after all that is expected.
const AFTER: Duration = Duration::from_secs(60);

/// What became of one test of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseOutcome {
    /// The rule.
    pub rule: String,
    /// The test.
    pub name: String,
    /// The file in which it stands.
    pub file: String,
    /// What the rule's issues did: `opened at 5m`.
    pub did: Vec<String>,
    /// What is wrong, at the expectation that was not met; nothing when the test passed.
    pub flaw: Option<Flaw>,
}

/// Plays all tests of all rules, by rule, then in the order of the file.
pub fn run_cases(rules: &Arc<Rules>) -> Vec<CaseOutcome> {
    let cases = rules.rules.values().flat_map(|rule| rule.cases.iter().map(move |case| (rule, case)));
    let play = |(rule, case): (&Arc<crate::model::Rule>, &Case)| {
        let did = Play::new(rules).run(&rule.name, case);
        let flaw = compare(&case.expect, &did, case).map(|(what, line, column)| Flaw {
            file: rule.file.clone(),
            line,
            column,
            what,
            hint: None,
        });
        let did = did.iter().map(|(transition, at)| words(transition, *at)).collect();
        CaseOutcome { rule: rule.name.clone(), name: case.name.clone(), file: rule.file.clone(), did, flaw }
    };
    cases.map(play).collect()
}

fn words(transition: &str, at: Duration) -> String {
    let at = if at.is_zero() { "0s".to_owned() } else { format_duration(at) };
    format!("{transition} at {at}")
}

/// The first thing that is otherwise than expected, and where that stands.
fn compare(
    expected: &[Happening],
    did: &[(String, Duration)],
    case: &Case,
) -> Option<(String, usize, usize)> {
    for (index, happening) in expected.iter().enumerate() {
        let wanted = words(&happening.transition, happening.at);
        let what = match did.get(index) {
            None => format!("`{}` expects `{wanted}`; nothing more happened", case.name),
            Some((transition, at)) => {
                if *transition == happening.transition && at.abs_diff(happening.at) <= TICK {
                    continue;
                }
                format!("`{}` expects `{wanted}`; it was {}", case.name, words(transition, *at))
            }
        };
        return Some((what, happening.line, happening.column));
    }
    let (transition, at) = did.get(expected.len())?;
    let what = format!("`{}` expects no more; but an issue was {}", case.name, words(transition, *at));
    Some((what, case.line, case.column))
}

struct Play<'a> {
    rules: &'a Arc<Rules>,
    engine: Engine,
    sequence: u64,
    bodies: BTreeMap<String, Map<String, Value>>,
    outputs: Vec<Output>,
}

impl<'a> Play<'a> {
    fn new(rules: &'a Arc<Rules>) -> Self {
        let scope: Scope = "test/test".parse().expect("it is a scope");
        let engine = Engine::new(scope);
        let mut play = Self { rules, engine, sequence: 0, bodies: BTreeMap::new(), outputs: Vec::new() };
        play.step(None, What::Rules { rules: Arc::clone(rules), is_other_clock: false });
        play.step(Some(BEGIN), What::Clock);
        play
    }

    fn step(&mut self, clock: Option<Timestamp>, what: What) {
        self.sequence += 1;
        let input = Input { sequence: self.sequence, recorded: BEGIN, clock, what };
        self.engine.step(input, &mut self.outputs);
    }

    fn run(mut self, rule: &str, case: &Case) -> Vec<(String, Duration)> {
        let mut did = Vec::new();
        let last = case.expect.iter().map(|happening| happening.at).max().unwrap_or_default();
        let end = case.until.max(last).saturating_add(AFTER);
        let mut steps = case.steps.iter().peekable();
        let mut at = Duration::ZERO;
        while at <= end {
            if !at.is_zero() {
                self.step(Some(BEGIN.plus(at)), What::Clock);
            }
            while let Some(step) = steps.next_if(|step| step.at <= at) {
                self.happen(step);
            }
            for output in self.outputs.drain(..) {
                if let Output::Transition { transition, .. } = output
                    && transition.issue.rule == rule
                {
                    did.push((transition.transition, at));
                }
            }
            at += TICK;
        }
        // What happens after everything that is looked at is nobody's business.
        did.retain(|(_, at)| *at <= case.until.max(last));
        did
    }

    fn happen(&mut self, step: &Step) {
        if let Given::Record { topic, data } = &step.given {
            let event = self.record(topic, None, topic.as_str(), Some(Value::Object(data.clone())));
            return self.step(None, event);
        }
        let Some((kind, id)) = &step.entity else { return };
        let Some(kind) = self.rules.entities.get(kind).cloned() else { return };
        let href = href(&kind.name, id);
        let what = match &step.given {
            Given::Fields(fields) => {
                let body = self.bodies.entry(href.clone()).or_default();
                if kind.has_field("id") {
                    body.entry("id").or_insert_with(|| json!(id));
                }
                merge(body, fields, &kind);
                let body = body.clone();
                self.seen(&kind, &href, 200, Some(Value::Object(body)))
            }
            Given::Gone => self.seen(&kind, &href, 404, None),
            Given::Failed => self.seen(&kind, &href, 500, None),
            Given::Position(data) => {
                let data = Some(Value::Object(data.clone()));
                kind.stream.as_ref().map(|topic| self.record(topic, Some(&href), topic.as_str(), data))
            }
            Given::Event(name) => {
                let topics = kind.topic.iter().chain(&kind.stream);
                let other = self.rules.counting_events.keys();
                let of = |topic: &&TopicName| name.starts_with(topic.as_str());
                let topic = topics.chain(other).filter(of).max_by_key(|topic| topic.as_str().len());
                topic.map(|topic| self.record(topic, Some(&href), name, None))
            }
            Given::Record { .. } => None,
        };
        if let Some(what) = what {
            self.step(None, what);
        }
    }

    /// An entity is observed, or is the record of its stream.
    fn seen(&self, kind: &EntityKind, href: &str, status: u16, body: Option<Value>) -> Option<What> {
        if kind.topic.is_none() {
            let topic = kind.stream.as_ref()?;
            return Some(self.record(topic, Some(href), topic.as_str(), body));
        }
        let observation = Observation {
            href: href.to_owned(),
            topic: kind.topic.clone(),
            status,
            etag: None,
            body,
            error: None,
            cause: sequence_text(self.sequence),
            clock: self.engine.clock(),
        };
        Some(What::Observed(Box::new(observation)))
    }

    fn record(&self, topic: &TopicName, subject: Option<&str>, kind: &str, data: Option<Value>) -> What {
        let name = |text: &str| text.parse().expect("it is a name");
        What::Event(Box::new(Event {
            specversion: "1.0".to_owned(),
            id: self.sequence.to_string(),
            source: "/test".to_owned(),
            kind: kind.to_owned(),
            subject: subject.map(str::to_owned),
            time: self.engine.clock(),
            dataschema: None,
            data_base64: None,
            notbefore: None,
            extensions: BTreeMap::new(),
            datacontenttype: None,
            data,
            topic: topic.clone(),
            sequence: sequence_text(self.sequence + 1),
            recordedtime: BEGIN,
            requestid: None,
            traceparent: None,
            entityseq: None,
            entitytag: None,
            environment: name("test"),
            tenant: name("test"),
        }))
    }
}

fn href(kind: &str, id: &str) -> String {
    format!("http://test/{kind}/{id}")
}

/// Puts fields over those of before. Times are told from the beginning, links by kind and id.
fn merge(body: &mut Map<String, Value>, fields: &Map<String, Value>, kind: &EntityKind) {
    for (name, value) in fields {
        if name == "links" {
            let links = body.entry("_links").or_insert_with(|| json!({}));
            for (relation, target) in value.as_object().into_iter().flatten() {
                links[relation] = match target {
                    Value::Array(targets) => targets.iter().map(link).collect(),
                    Value::Null => json!([]),
                    target => link(target),
                };
            }
            continue;
        }
        let is_time = kind.fields.get(name) == Some(&FieldType::Time);
        let time = value.as_str().filter(|_| is_time).and_then(from_begin);
        let value = time.map_or_else(|| value.clone(), |time| json!(time.to_string()));
        body.insert(name.clone(), value);
    }
}

fn link(target: &Value) -> Value {
    let text = target.as_str().unwrap_or_default();
    let (kind, id) = text.split_once('/').unwrap_or((text, "1"));
    json!({"href": href(kind, id)})
}

/// `5m` after the beginning of the test, or `-5m` before it.
fn from_begin(text: &str) -> Option<Timestamp> {
    match text.strip_prefix('-') {
        Some(text) => Some(BEGIN.minus(parse_duration(text).ok()?)),
        None => Some(BEGIN.plus(parse_duration(text).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use hob_wire::FileText;

    use super::*;

    const RULES: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, due_at: ts}
links: {rider: rider}
---
entity: rider
from: {topic: riders, stream: pings}
fields: {id: string, state: enum}
---
rule: waits
about: order
when: order.state == 'placed' && rider.state == 'idle'
for: 4m
issue: {title: x}
tests:
  - name: waits four minutes
    at:
      0s: {order/o1: {state: placed, links: {rider: rider/r1}}, rider/r1: {state: idle}}
      2m: {order/o1: failed}
      3m: {order/o1: {state: placed}}
      6m: {order/o1: {state: accepted}}
    expect: [opened at 5m, resolved at 6m]
  - at: {0s: {order/o1: {state: placed}}, 10m: {order/o1: gone}}
    expect: nothing
  - at: {0s: {order/o1: {state: placed, links: {rider: rider/r1}}, rider/r1: {state: idle}}, 9m: {}}
    expect: opened at 3m
---
rule: due
about: order
deadline: {field: order.due_at, before: 5m}
issue: {title: x}
tests:
  - {at: {0s: {order/o1: {due_at: 20m}}, 30m: {}}, expect: opened at 15m}
  - {at: {0s: {order/o1: {due_at: 20m}}, 30m: {}}, expect: nothing}
---
rule: stands
about: rider
stopped: {metres: 50, for: 5m}
issue: {title: x}
tests:
  - at: {0s: 'ping(51.50, -0.10)', 5m: 'ping(51.50, -0.10)', 6m: 'ping(51.60, -0.10)'}
    expect: [opened at 5m, resolved at 6m]
";

    #[test]
    fn tests_of_rules_are_played() {
        let file = FileText { file: "r.yml".to_owned(), text: RULES.to_owned() };
        let rules = Arc::new(crate::compile(&[file]).unwrap());
        let outcomes = run_cases(&rules);
        let flaws: Vec<String> =
            outcomes.iter().filter_map(|outcome| outcome.flaw.as_ref().map(ToString::to_string)).collect();
        assert_eq!(
            flaws,
            [
                "r.yml:34:60: `test 2` expects no more; but an issue was opened at 15m",
                "r.yml:26:13: `test 3` expects `opened at 3m`; it was opened at 4m",
            ]
        );
        assert_eq!(outcomes.len(), 6);
        assert_eq!(outcomes[2].did, ["opened at 5m", "resolved at 6m"].map(str::to_owned).to_vec());
    }
}
