//! Issues in every state, over `kill -9`: the rule engine stands where it stood, to the last byte, and what was being
//! called is not called again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::core::{Caller, Core};

/// How long anything may take.
const WAIT_MAX: Duration = Duration::from_secs(60);

const PLATFORM: &str = "\
platform: kills
environments: [test]
tenants: [one]
services: ['*']
rules: ['*.rules.yml']
clocks: {test/one: city.clock}
";

const SHOP: &str = "\
service: shop
kind: domain
package: {include: [shop]}
processes:
  worker: {run: [shop]}
topics:
  - {name: order.states, kind: stream}
  - {name: city.clock, kind: stream}
";

const RULES: &str = "\
entity: order
from: {stream: order.states}
---
rule: short
about: order
when: order.state == 'short'
issue: {title: '{{order.zone}} is short', key: 'zone/{{order.zone}}', priority: 70}
---
rule: waits
about: order
when: order.state in ['short', 'waits']
issue: {title: '{{order.id}} waits', parent: 'zone/{{order.zone}}', reopen_within: 1h}
actions:
  - {do: force, mode: auto, guard: {trusted: true}}
  - {do: call, mode: approve}
---
rule: noisy
about: order
when: order.state == 'noisy'
budget: {max_open: 1}
issue: {title: '{{order.id}} is noisy'}
";

struct City {
    core: Core,
    caller: Caller,
}

async fn city(folder: &std::path::Path) -> City {
    let mut core = Core::of(folder);
    core.start().await.unwrap();
    core.apply(&[("hob.yml", PLATFORM), ("shop/service.yml", SHOP), ("orders.rules.yml", RULES)]);
    let caller = core.caller();
    City { core, caller }
}

impl City {
    async fn clock(&self, minute: u32) {
        let body = json!([{"type": "tick", "t": format!("2026-01-05T12:{minute:02}:00Z")}]);
        self.caller.must("POST", "/v1/topics/city.clock/events", &body).await;
    }

    async fn order(&self, id: &str, state: &str, links: Value) {
        let data = json!({"id": id, "state": state, "zone": "north", "_links": links});
        let body = json!([{"type": "seen", "href": format!("http://shop.test/orders/{id}"), "data": data}]);
        self.caller.must("POST", "/v1/topics/order.states/events", &body).await;
    }

    /// The unresolved or other issue with this title, once it is there.
    async fn issue(&self, title: &str) -> String {
        let has = |page: &Value| {
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let found = items.into_iter().find(|issue| issue["title"] == title)?;
            found["id"].as_str().map(str::to_owned)
        };
        until(title, async || has(&self.caller.get("/v1/issues?limit=1000").await)).await
    }

    async fn post(&self, id: &str, verb: &str, body: Value) -> Value {
        self.caller.must("POST", &format!("/v1/issues/{id}/{verb}"), &body).await
    }

    /// The only action in this state, once there is one.
    async fn action(&self, state: &str) -> Value {
        let path = format!("/v1/actions?state={state}");
        until(&path, async || self.caller.get(&path).await["items"].get(0).cloned()).await
    }

    async fn kill_and_start(&mut self) {
        self.core.kill();
        self.core.start().await.unwrap();
        self.caller = self.core.caller();
    }

    /// Everything that is to be the same.
    async fn all(&self) -> [Value; 4] {
        let mut all = Vec::new();
        let paths = [
            "/v1/rules/standing",
            "/v1/issues?limit=1000",
            "/v1/actions?limit=1000",
            "/v1/issues/figures?by=day",
        ];
        for path in paths {
            all.push(self.caller.get(path).await);
        }
        all.try_into().unwrap()
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    let mut every = tokio::time::interval(Duration::from_millis(20));
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        every.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issues_in_every_state_are_the_same_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut city = city(folder.path()).await;
    city.clock(0).await;
    let none = || json!({});
    for number in 1..=9 {
        city.order(&format!("o{number}"), "waits", none()).await;
    }
    for number in 10..=14 {
        city.order(&format!("o{number}"), "noisy", none()).await;
    }
    // The router is away: what the rule does by itself fails.
    let links = json!({"force": {"href": "/force"}, "call": {"href": "/call"}});
    city.order("o15", "short", links).await;
    let mut ids = Vec::new();
    for number in 1..=9 {
        ids.push(city.issue(&format!("o{number} waits")).await);
    }
    assert_eq!(city.action("failed").await["relation"], "force");
    assert_eq!(city.action("waiting").await["relation"], "call");
    city.post(&ids[0], "acknowledge", json!({"for": "20m"})).await;
    city.post(&ids[1], "assign", json!({"to": "ben"})).await;
    city.post(&ids[2], "snooze", json!({"for": "10m", "until_worse": true})).await;
    city.post(&ids[3], "resolve", json!({"as": "false-alarm"})).await;
    city.post(&ids[4], "resolve", json!({"as": "fixed"})).await;
    city.post(&ids[5], "resolve", json!({"as": "verify"})).await;
    city.post(&ids[6], "merge", json!({"into": ids[7]})).await;
    city.post(&ids[7], "note", json!({"text": "two in one"})).await;
    city.post(&ids[8], "resolve", json!({"as": "false-alarm"})).await;
    city.post(&ids[8], "reopen", json!({"reason": "it is one"})).await;
    let parent = city.issue("north is short").await;
    // Its own condition is over; it waits for its children.
    city.order("o15", "waits", json!({})).await;
    let waits = format!("/v1/issues/{parent}");
    until("the parent waits", async || city.caller.get(&waits).await.get("waits").cloned()).await;
    // Of this one nothing can be told any more.
    let body = json!([{"type": "seen", "href": "http://shop.test/orders/o2", "data": {"id": "o2"}}]);
    city.caller.must("POST", "/v1/topics/order.states/events", &body).await;
    let frozen = format!("/v1/issues/{}", ids[1]);
    until("it is unknown", async || city.caller.get(&frozen).await.get("unknown").cloned()).await;
    city.caller.must("POST", "/v1/actions/pause", &json!({"reason": "a drill"})).await;
    let before = city.all().await;
    let states: Vec<&str> =
        before[1]["items"].as_array().unwrap().iter().filter_map(|i| i["state"].as_str()).collect();
    for state in ["open", "acknowledged", "resolved"] {
        assert!(states.contains(&state), "{states:?}");
    }
    assert!(before[1]["items"].as_array().unwrap().iter().any(|issue| issue["storm"] == true));
    for _ in 0..3 {
        city.kill_and_start().await;
        let sequence = before[0]["sequence"].clone();
        let is_there = async || {
            let standing = city.caller.get("/v1/rules/standing").await;
            (standing["sequence"] == sequence).then_some(())
        };
        until("the engine stands where it stood", is_there).await;
        assert_eq!(city.all().await, before);
    }
    // And it goes on: what was snoozed wakes, what was to be checked is.
    city.clock(12).await;
    let woken = format!("/v1/issues/{}", ids[2]);
    until("the snooze is over", async || {
        city.caller.get(&woken).await.get("snoozed").is_none().then_some(())
    })
    .await;
    let fixed = city.caller.get(&format!("/v1/issues/{}", ids[4])).await;
    assert_eq!((&fixed["state"], &fixed["reopenings"]), (&json!("open"), &json!(1)), "{fixed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_under_way_at_a_kill_is_not_called_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut city = city(folder.path()).await;
    // In the router's place: somebody who takes every call and answers none.
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, port) = (Arc::clone(&calls), city.core.router_port());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap_or(0);
            if String::from_utf8_lossy(&request[..read]).starts_with("POST /force") {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            held.push(stream);
        }
    });
    city.clock(0).await;
    city.order("o1", "waits", json!({"force": {"href": "/force"}})).await;
    until("the call", async || (calls.load(Ordering::SeqCst) == 1).then_some(())).await;
    assert_eq!(city.action("running").await["relation"], "force");
    city.kill_and_start().await;
    let failed = city.action("failed").await;
    assert!(failed["reason"].as_str().unwrap().contains("not known"), "{failed}");
    city.kill_and_start().await;
    assert_eq!(city.action("failed").await, failed);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
