//! The platform as the services of the takeaway would feed it: notices and what a fetch of each changed entity returns,
//! riders' positions as records of their stream, the city's clock. The rule engine behind it is the real one, and sees
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Scope, Timestamp, TopicName};
use hob_watch::{Command, Engine, Input, Output, Rules, Verb, What};
use hob_wire::{Event, Issue, IssueState, Observation, sequence_text};
use serde_json::{Value, json};
use takeaway_world::{
    Entities, Entity, Order, OrderId, Output as Happened, Ping, RestaurantId, Rider, RiderId, SimTime, ZoneId,
};

/// Where the services' entities are.
const ORIGIN: &str = "http://localhost:8080";
/// An operator who looked at an issue has done what they can: it does not come back before the day is over.
const LOOKED_AT_FOR: Duration = Duration::from_secs(24 * 3600);
/// Who works on issues.
const OPERATOR: &str = "operator";

/// The engine, and what it has said.
#[derive(Debug)]
pub(crate) struct Platform {
    engine: Engine,
    sequence: u64,
    now: SimTime,
    outputs: Vec<Output>,
    /// Ids of the issues that are open and nobody has looked at.
    open: BTreeSet<String>,
    /// When each rule first said that something is wrong with an order.
    pub(crate) flags: BTreeMap<String, BTreeMap<OrderId, SimTime>>,
    /// Issues that opened, by rule.
    pub(crate) opened: BTreeMap<String, u64>,
    /// Records, notices and observations that were taken.
    pub(crate) taken: u64,
}

/// Which entities a batch of happenings changed.
#[derive(Debug, Default)]
struct Changed {
    orders: BTreeSet<OrderId>,
    riders: BTreeSet<RiderId>,
    restaurants: BTreeSet<RestaurantId>,
    zones: BTreeSet<ZoneId>,
}

fn topic(name: &str) -> TopicName {
    name.parse().expect("it is the name of a topic")
}

fn timestamp(time: SimTime) -> Timestamp {
    Timestamp::from_micros(time.unix_seconds() * 1_000_000)
}

impl Platform {
    /// A platform with these rules, at the beginning of a day.
    pub(crate) fn new(rules: &Arc<Rules>, now: SimTime) -> Self {
        let scope: Scope = "demo/uk".parse().expect("it is the name of a scope");
        let mut platform = Self {
            engine: Engine::new(scope),
            sequence: 0,
            now,
            outputs: Vec::new(),
            open: BTreeSet::new(),
            flags: BTreeMap::new(),
            opened: BTreeMap::new(),
            taken: 0,
        };
        platform.take(None, What::Rules { rules: Arc::clone(rules), is_other_clock: false });
        platform
    }

    /// Takes what happened: a notice and an observation of every entity that changed, then positions.
    pub(crate) fn tell(&mut self, happened: &[Happened], entities: &Entities) {
        let mut changed = Changed::default();
        for one in happened {
            match one {
                Happened::Order { id, .. } => drop(changed.orders.insert(*id)),
                Happened::Rider { id, .. } => drop(changed.riders.insert(*id)),
                Happened::Restaurant { id, .. } => drop(changed.restaurants.insert(*id)),
                Happened::Zone { id, .. } => drop(changed.zones.insert(*id)),
                _ => {}
            }
        }
        self.observe_all(&changed.restaurants, &entities.restaurants);
        self.observe_all(&changed.zones, &entities.zones);
        self.observe_all(&changed.riders, &entities.riders);
        self.observe_all(&changed.orders, &entities.orders);
        for one in happened {
            if let Happened::Ping(ping) = one {
                self.ping(ping);
            }
        }
    }

    /// The city's clock says that it is `now`.
    pub(crate) fn tick(&mut self, now: SimTime) {
        self.now = now;
        self.take(Some(timestamp(now)), What::Clock);
    }

    /// The most pressing issue that nobody has looked at.
    pub(crate) fn most_pressing(&self) -> Option<&Issue> {
        let open = self.open.iter().filter_map(|id| self.engine.issue(id));
        open.min_by(|a, b| b.priority.cmp(&a.priority).then(a.opened.cmp(&b.opened)).then(a.id.cmp(&b.id)))
    }

    /// Somebody looks at an issue.
    pub(crate) fn acknowledge(&mut self, issue: &str) {
        let command = Command {
            verb: Verb::Acknowledge { held: Some(LOOKED_AT_FOR) },
            issue: issue.to_owned(),
            actor: OPERATOR.to_owned(),
            reason: String::new(),
            revision: None,
        };
        self.take(None, What::Command(command));
    }

    /// The orders that an issue is about.
    pub(crate) fn orders_of(issue: &Issue) -> Vec<OrderId> {
        let prefix = Order::href(ORIGIN, OrderId(0));
        let prefix = prefix.trim_end_matches("o0");
        let order = |href: &String| href.strip_prefix(prefix)?.parse().ok();
        let hrefs = [&issue.about].into_iter().chain(&issue.affects);
        let orders: BTreeSet<OrderId> = hrefs.filter_map(order).collect();
        orders.into_iter().collect()
    }

    fn observe_all<E: Entity>(&mut self, changed: &BTreeSet<E::Id>, known: &BTreeMap<E::Id, E>) {
        for id in changed {
            let Some(entity) = known.get(id) else { continue };
            let href = E::href(ORIGIN, *id);
            let notice = self.event(E::COLLECTION, "update", &href, self.now, None);
            self.take(None, What::Event(Box::new(notice)));
            let observation = Observation {
                href,
                topic: Some(topic(E::COLLECTION)),
                status: 200,
                etag: None,
                body: Some(entity.to_hal(ORIGIN)),
                error: None,
                cause: sequence_text(self.sequence),
                clock: timestamp(self.now),
            };
            self.take(None, What::Observed(Box::new(observation)));
        }
    }

    fn ping(&mut self, ping: &Ping) {
        let href = Rider::href(ORIGIN, ping.rider);
        let data = json!({ "x": ping.x, "y": ping.y });
        let record = self.event("rider.pings", "ping", &href, ping.at, Some(data));
        self.take(None, What::Event(Box::new(record)));
    }

    fn event(&self, of: &str, kind: &str, href: &str, at: SimTime, data: Option<Value>) -> Event {
        Event {
            specversion: "1.0".to_owned(),
            id: String::new(),
            source: String::new(),
            kind: if data.is_some() { kind.to_owned() } else { format!("{of}.{kind}") },
            subject: Some(href.to_owned()),
            time: timestamp(at),
            datacontenttype: None,
            dataschema: None,
            data,
            data_base64: None,
            topic: topic(of),
            sequence: sequence_text(self.sequence + 1),
            recordedtime: timestamp(at),
            requestid: None,
            traceparent: None,
            entityseq: None,
            entitytag: None,
            notbefore: None,
            environment: "demo".parse().expect("it is a name"),
            tenant: "uk".parse().expect("it is a name"),
            extensions: BTreeMap::new(),
        }
    }

    fn take(&mut self, clock: Option<Timestamp>, what: What) {
        self.sequence += 1;
        self.taken += 1;
        let recorded = timestamp(self.now);
        let mut outputs = std::mem::take(&mut self.outputs);
        self.engine.step(Input { sequence: self.sequence, recorded, clock, what }, &mut outputs);
        for output in outputs.drain(..) {
            self.note(&output);
        }
        self.outputs = outputs;
    }

    fn note(&mut self, output: &Output) {
        match output {
            Output::Transition { transition, .. } => {
                let issue = &transition.issue;
                if issue.state == IssueState::Open {
                    self.open.insert(issue.id.clone());
                } else {
                    self.open.remove(&issue.id);
                }
                if transition.transition == "opened" {
                    *self.opened.entry(issue.rule.clone()).or_default() += 1;
                }
                if issue.state != IssueState::Resolved {
                    self.flag(issue);
                }
            }
            Output::Touched { issue } => {
                if let Some(issue) = self.engine.issue(issue).cloned() {
                    self.flag(&issue);
                }
            }
            _ => {}
        }
    }

    fn flag(&mut self, issue: &Issue) {
        for order in Self::orders_of(issue) {
            self.flags.entry(issue.rule.clone()).or_default().entry(order).or_insert(self.now);
        }
    }
}
