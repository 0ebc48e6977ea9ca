//! Telling the platform what happened in the world: transitions to the domain services, then pings and the clock.

use std::time::Duration;

use hob_sdk::core::{Timestamp, TopicName};
use hob_sdk::wire::{Draft, Notice};
use hob_sdk::{Client, ClientError, Publisher, Request};
use serde::Serialize;
use serde_json::json;
use takeaway_domain::{Outcome, Transition, Transitions};
use takeaway_world::{Entity, Output, Ping, Rider, SimTime};

/// Transitions in one request.
const BATCH_MAX: usize = 500;
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before what failed is told again.
const PAUSE: Duration = Duration::from_millis(200);

/// The platform, as the city speaks to it.
#[derive(Debug, Clone)]
pub(crate) struct City {
    client: Client,
    publisher: Publisher,
    clock: TopicName,
    pings: TopicName,
}

/// What a step or a decision made happen, sorted by whom it is told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    orders: Vec<Transition>,
    riders: Vec<Transition>,
    restaurants: Vec<Transition>,
    zones: Vec<Transition>,
    pings: Vec<Ping>,
}

/// Sorts outputs. `cause` names what made them happen, the same after every replay, and makes the transitions' ids.
fn sort(outputs: &[Output], cause: &str) -> Told {
    let mut told = Told::default();
    for (number, output) in outputs.iter().enumerate() {
        let id = format!("{cause}-{number}");
        match output {
            Output::Order { id: entity, change } => told.orders.push(transition(id, entity, change)),
            Output::Rider { id: entity, change } => told.riders.push(transition(id, entity, change)),
            Output::Restaurant { id: entity, change } => {
                told.restaurants.push(transition(id, entity, change))
            }
            Output::Zone { id: entity, change } => told.zones.push(transition(id, entity, change)),
            Output::Ping(ping) => told.pings.push(*ping),
            // The truth is for scoring: nobody on the platform may know it.
            Output::FaultStarted(_) | Output::FaultEnded(_) | Output::Refused { .. } => {}
        }
    }
    told
}

fn transition(id: String, entity: &impl ToString, change: &impl Serialize) -> Transition {
    let change = serde_json::to_value(change).unwrap_or_default();
    Transition { id, entity: entity.to_string(), change }
}

impl City {
    pub(crate) fn new(client: &Client) -> Self {
        let topic = |name: &str| name.parse().expect("it is the name of a topic");
        let publisher = Publisher::new(client);
        Self { client: client.clone(), publisher, clock: topic("city.clock"), pings: topic("rider.pings") }
    }

    pub(crate) fn origin(&self) -> String {
        self.client.href("").trim_end_matches('/').to_owned()
    }

    /// Tells the domain services what happened, until they have taken it; how many changes they refused.
    pub(crate) async fn changes(&self, outputs: &[Output], cause: &str) -> u64 {
        let Told { orders, riders, restaurants, zones, .. } = sort(outputs, cause);
        let (orders, riders, restaurants, zones) = tokio::join!(
            self.transitions("orders", orders),
            self.transitions("riders", riders),
            self.transitions("restaurants", restaurants),
            self.transitions("zones", zones),
        );
        orders + riders + restaurants + zones
    }

    /// Publishes where riders are, and then that it is `now`, until Hob has taken it. Each in a call of its own: pings
    /// need not wait for the disk, as the clock must.
    pub(crate) async fn tick(&self, outputs: &[Output], now: SimTime) {
        let origin = self.origin();
        let pings: Vec<Draft> = sort(outputs, "").pings.iter().map(|ping| self.ping(ping, &origin)).collect();
        let tick =
            Draft { topic: self.clock.clone(), notice: notice("tick", None, now, json!({ "time": now })) };
        self.publish(&pings, "where riders are cannot be published yet").await;
        self.publish(&[tick], "the clock cannot be published yet").await;
    }

    async fn publish(&self, drafts: &[Draft], what: &str) {
        while let Err(error) = self.publisher.publish_all(drafts).await {
            failed(&error, what).await;
        }
    }

    fn ping(&self, ping: &Ping, origin: &str) -> Draft {
        let data = json!({ "x": ping.x, "y": ping.y });
        let href = Some(Rider::href(origin, ping.rider));
        Draft { topic: self.pings.clone(), notice: notice("ping", href, ping.at, data) }
    }

    async fn transitions(&self, collection: &str, transitions: Vec<Transition>) -> u64 {
        let target = self.client.href(&format!("/{collection}/transitions"));
        let mut refused = 0;
        for batch in transitions.chunks(BATCH_MAX) {
            let body = Transitions { transitions: batch.to_vec() };
            refused += loop {
                match self.post(&target, &body).await {
                    Ok(outcome) => break outcome.refused.len() as u64,
                    Err(error) => failed(&error, "a service cannot be told yet").await,
                }
            };
        }
        refused
    }

    async fn post(&self, target: &str, body: &Transitions) -> Result<Outcome, ClientError> {
        let request = Request::post(target).json(body).repeatable().timeout(CALL_TIMEOUT);
        let outcome: Outcome = self.client.send(request).await?.json()?;
        for refused in &outcome.refused {
            tracing::error!(
                target,
                transition = refused.id,
                reason = refused.reason,
                "a service refused a change"
            );
        }
        Ok(outcome)
    }
}

fn notice(kind: &str, href: Option<String>, at: SimTime, data: serde_json::Value) -> Notice {
    Notice {
        href,
        t: Some(Timestamp::from_micros(at.unix_seconds() * 1_000_000)),
        data: Some(data),
        ..Notice::new(kind)
    }
}

async fn failed(error: &ClientError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
    tokio::time::sleep(PAUSE).await;
}
