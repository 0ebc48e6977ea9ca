//! The watch over a real store and bus: from a notice to an issue, and through deaths at any moment.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_bus::{Bus, Filter, Publisher, hob_topics};
use hob_core::{Clock, Scope, Timestamp};
use hob_store::{Store, StoreOptions};
use hob_wire::{
    Draft, Event, FileText, Issue, IssueState, Notice, Observation, TopicKind, TopicTerms, sequence_text,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Pace;
use crate::engine::{Engine, Input, Output, What};
use crate::handle::{IssueFilter, Watch};
use crate::inputs::{Taken, hob_topic, take};
use crate::rows::ScopeClock;
use crate::{Act, Acted, Command, Error, Fetch, Fetched, Verb};

const RULES: &str = "\
entity: order
from: {topic: orders}
fields: {id: string, state: enum, promised_at: ts}
forget: {after: 1h, when: \"order.state == 'delivered'\"}
figures: [{name: placed, when: 'true'}, {name: delivered, when: \"order.state == 'delivered'\"}]
---
entity: rider
from: {topic: riders, stream: rider.pings}
---
rule: waiting
about: order
when: order.state == 'placed'
for: 4m
issue: {title: 'order {{order.id}} waits for {{held}}', priority: 60, reopen_within: 5m}
---
rule: late
about: order
deadline: {field: order.promised_at, before: 5m, unless: order.state == 'delivered'}
issue: {title: '{{order.id}} is due in {{left}}', urgency: {field: order.promised_at, within: 10m}}
---
rule: stopped
about: rider
stopped: {metres: 50, for: 5m}
issue: {title: 'a rider stands for {{held}}'}
";

fn scope() -> Scope {
    "demo/uk".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_767_571_200_000_000 + seconds * 1_000_000)
}

fn files() -> Vec<FileText> {
    vec![FileText { file: "r.yml".to_owned(), text: RULES.to_owned() }]
}

/// A server of entities, a line of HTTP at a time.
#[derive(Clone, Default)]
struct Entities {
    bodies: Arc<Mutex<BTreeMap<String, (u16, Value)>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Entities {
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let entities = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(entities.clone().answer(stream));
            }
        });
        origin
    }

    fn set(&self, path: &str, status: u16, body: Value) {
        self.bodies.lock().unwrap().insert(path.to_owned(), (status, body));
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.requests.lock().unwrap().push(path.clone());
        let found = self.bodies.lock().unwrap().get(&path).cloned();
        let (status, body) = found.unwrap_or((404, Value::Null));
        let etag = format!("\"{:x}\"", body.to_string().len());
        let status =
            if status == 200 && head.contains(&format!("if-none-match: {etag}")) { 304 } else { status };
        let body = if status == 200 { body.to_string() } else { String::new() };
        let answer =
            format!("HTTP/1.1 {status} x\r\netag: {etag}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// The least HTTP client that can read [`Entities`].
struct PlainFetch;

async fn get(href: &str, etag: Option<&str>) -> std::io::Result<Fetched> {
    let (host, path) = href.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
    let mut stream = TcpStream::connect(host).await?;
    let etag = etag.map(|etag| format!("if-none-match: {etag}\r\n")).unwrap_or_default();
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\n{etag}\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).map(str::to_owned);
    Ok(Fetched { status, etag, body: (status == 200).then(|| body.as_bytes().to_vec()), error: None })
}

impl Fetch for PlainFetch {
    fn fetch<'a>(
        &'a self,
        href: &'a str,
        etag: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Fetched> + Send + 'a>> {
        Box::pin(
            async move { get(href, etag).await.unwrap_or_else(|error| Fetched::failed(error.to_string())) },
        )
    }
}

impl Act for PlainFetch {
    fn act<'a>(&'a self, action: &'a hob_wire::Action) -> Pin<Box<dyn Future<Output = Acted> + Send + 'a>> {
        Box::pin(async move {
            let fetched = get(&action.href, None).await.unwrap_or_else(|e| Fetched::failed(e.to_string()));
            Acted { status: fetched.status, error: fetched.error }
        })
    }
}

fn ack() -> Verb {
    Verb::Acknowledge { held: None }
}

fn over() -> Verb {
    Verb::Resolve { how: Some(hob_wire::ResolveAs::FalseAlarm) }
}

async fn decide(platform: &Platform, verb: Verb, issue: &str, actor: &str) -> Result<Arc<Issue>, Error> {
    let (issue, actor, reason) = (issue.to_owned(), actor.to_owned(), "on it".to_owned());
    platform.watch.decide(&scope(), Command { verb, issue, actor, reason, revision: None }).await
}

/// A platform in a folder, which can die and come back.
struct Platform {
    folder: TempDir,
    store: Store,
    bus: Bus,
    watch: Watch,
}

async fn open(folder: TempDir) -> Platform {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let store = loop {
        // Tasks of the life before let go of the folder as they are dropped.
        match Store::open(folder.path(), StoreOptions::default()).await {
            Ok(store) => break store,
            Err(error) if tokio::time::Instant::now() > deadline => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let bus = Bus::open(&store, Clock::system()).await.unwrap();
    bus.set_clocks([(scope(), "city.clock".parse().unwrap())].into());
    let owner = "city".parse().unwrap();
    for (name, kind) in [
        ("orders", TopicKind::Notify),
        ("riders", TopicKind::Notify),
        ("rider.pings", TopicKind::Stream),
        ("city.clock", TopicKind::Stream),
    ] {
        bus.put_topic(&scope(), &owner, &name.parse().unwrap(), TopicTerms { kind, ..TopicTerms::default() })
            .await
            .unwrap();
    }
    let pace = Pace { every: Duration::from_millis(50), inputs: 20, pause: Duration::ZERO };
    let watch =
        Watch::open_at_pace(&store, &bus, (Arc::new(PlainFetch), Arc::new(PlainFetch)), vec![scope()], pace);
    watch.set_rules(vec![scope()], &files()).await.unwrap();
    Platform { folder, store, bus, watch }
}

impl Platform {
    /// Dies without a word, and comes back.
    async fn die(self) -> Self {
        let Self { folder, store, bus, watch } = self;
        drop(watch);
        bus.close().await;
        drop((bus, store));
        open(folder).await
    }

    async fn publish(
        &self,
        topic: &str,
        kind: &str,
        href: Option<&str>,
        t: Option<Timestamp>,
        data: Option<Value>,
    ) {
        let publisher = Publisher {
            scope: scope(),
            service: "city".parse().unwrap(),
            request_id: None,
            traceparent: None,
        };
        let draft = Draft { topic: topic.parse().unwrap(), notice: notice(kind, href, t, data) };
        self.bus.publish(&publisher, vec![draft]).await.unwrap();
    }

    async fn clock(&self, seconds: i64) {
        self.publish("city.clock", "tick", None, Some(at(seconds)), Some(json!({}))).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&[Arc<Issue>]) -> bool) -> Vec<Arc<Issue>> {
        let mut changes = self.watch.changes(&scope()).unwrap();
        let wait = async {
            loop {
                changes.borrow_and_update();
                let issues = self.watch.issues(&scope(), &IssueFilter::default()).unwrap();
                if is_so(&issues) {
                    return issues;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), wait).await {
            Ok(issues) => issues,
            Err(_) => panic!("{what}: {:?}", self.watch.issues(&scope(), &IssueFilter::default())),
        }
    }

    async fn log(&self, topics: &[&str]) -> Vec<Event> {
        let topics = topics.iter().map(|topic| topic.parse().unwrap()).collect();
        let filter = Filter::topics(scope(), topics);
        let (mut events, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let page = self.bus.events(&filter, from, 1000).await.unwrap();
            events.extend(page.events);
            after = page.next;
        }
        events
    }
}

fn notice(kind: &str, href: Option<&str>, t: Option<Timestamp>, data: Option<Value>) -> Notice {
    Notice { href: href.map(str::to_owned), t, data, ..Notice::new(kind) }
}

fn order(number: u64, state: &str, due: i64) -> Value {
    json!({"id": format!("o{number}"), "state": state, "promised_at": at(due).to_string()})
}

#[tokio::test]
async fn a_notice_becomes_an_issue_and_people_end_it() {
    let platform = open(tempfile::tempdir().unwrap()).await;
    let entities = Entities::default();
    let origin = entities.serve().await;
    let href = format!("{origin}/orders/7");
    entities.set("/orders/7", 200, order(7, "placed", 9000));
    platform.clock(0).await;
    platform.publish("orders", "create", Some(&href), None, None).await;
    platform.publish("orders", "update", Some(&format!("{origin}/orders/8")), None, None).await;
    let placed =
        |figures: crate::Figures| figures.figures.iter().any(|f| f.name == "order.placed" && f.value == 1);
    platform.until("the order is known", |_| placed(platform.watch.figures(&scope()).unwrap())).await;
    platform.clock(250).await;
    let issues = platform.until("an issue opens", |issues| issues.len() == 1).await;
    assert_eq!(issues[0].title, "order o7 waits for 4m");
    assert_eq!(issues[0].evidence[0].text, "orders.create");
    let id = issues[0].id.clone();

    let taken = decide(&platform, ack(), &id, "anna").await.unwrap();
    assert_eq!((taken.state, taken.assignee.as_deref()), (IssueState::Acknowledged, Some("anna")));
    let again = decide(&platform, ack(), &id, "ben").await.unwrap_err();
    assert!(matches!(again, Error::IssueState { .. }));
    assert_eq!(again.to_string(), format!("acknowledge issue {id}: it is acknowledged already, by anna"));
    assert!(matches!(decide(&platform, over(), "x", "ben").await, Err(Error::IssueUnknown { .. })));

    entities.set("/orders/7", 200, order(7, "accepted", 9000));
    platform.publish("orders", "update", Some(&href), None, None).await;
    platform.until("it resolves by itself", |issues| issues[0].state == IssueState::Resolved).await;
    let told: Vec<String> =
        platform.log(&[hob_topics::ISSUES]).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(told, ["opened", "acknowledged", "resolved"]);
    let rules = platform.watch.rules(&scope()).unwrap();
    let waiting = rules.iter().find(|rule| rule.name == "waiting").unwrap();
    assert_eq!((waiting.open, waiting.opened_total, waiting.state), (0, 1, "watching"));
    // Rules that are the same are no news; wrong ones change nothing.
    let commands = platform.log(&[hob_topics::COMMANDS]).await.len();
    platform.watch.set_rules(vec![scope()], &files()).await.unwrap();
    let wrong = vec![FileText { file: "r.yml".to_owned(), text: RULES.replace("for:", "fro:") }];
    assert!(matches!(platform.watch.set_rules(vec![scope()], &wrong).await, Err(Error::BadRules { .. })));
    assert_eq!(platform.log(&[hob_topics::COMMANDS]).await.len(), commands);
}

#[tokio::test]
async fn an_order_whose_service_fails_is_unknown_until_it_answers_again() {
    let platform = open(tempfile::tempdir().unwrap()).await;
    let entities = Entities::default();
    let origin = entities.serve().await;
    let href = format!("{origin}/orders/7");
    entities.set("/orders/7", 200, order(7, "placed", 9000));
    platform.clock(0).await;
    platform.publish("orders", "create", Some(&href), None, None).await;
    let observed = |count: usize| {
        let platform = &platform;
        async move {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
            while platform.log(&[hob_topics::OBSERVATIONS]).await.len() < count {
                assert!(tokio::time::Instant::now() < deadline, "no {count} observations");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    observed(1).await;
    platform.clock(250).await;
    platform.until("an issue opens", |issues| issues.len() == 1).await;
    entities.set("/orders/7", 500, Value::Null);
    platform.publish("orders", "update", Some(&href), None, None).await;
    observed(2).await;
    platform.clock(900).await;
    let rules = || platform.watch.rules(&scope()).unwrap();
    platform
        .until("the rule says why", |_| {
            rules().iter().any(|rule| rule.name == "waiting" && rule.state == "unknown")
        })
        .await;
    assert_eq!(platform.watch.issues(&scope(), &IssueFilter::default()).unwrap()[0].state, IssueState::Open);
    entities.set("/orders/7", 404, Value::Null);
    platform.publish("orders", "delete", Some(&href), None, None).await;
    let issues = platform.until("it is gone", |issues| issues[0].state == IssueState::Resolved).await;
    assert_eq!(issues[0].resolution.as_deref(), Some("the entity is gone"));
}

/// A day of small things, told by a seed: observations, pings, clocks and people.
async fn day(platform: &Platform, seed: &mut u64, clock: &mut i64) {
    let mut roll = |sides: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % sides
    };
    let number = roll(5);
    match roll(5) {
        0 | 1 => {
            let state = ["placed", "placed", "accepted", "delivered"][usize::try_from(roll(4)).unwrap()];
            let failed = roll(6) == 0;
            let observation = Observation {
                href: format!("http://t.test/orders/{number}"),
                topic: Some("orders".parse().unwrap()),
                status: if failed { 503 } else { 200 },
                etag: None,
                body: (!failed).then(|| order(number, state, *clock + 60 * i64::try_from(roll(10)).unwrap())),
                error: None,
                cause: sequence_text(1),
                clock: at(*clock),
            };
            let data = serde_json::to_value(observation).unwrap();
            let notice = notice("observed", Some("http://t.test/orders"), None, Some(data));
            let topic = hob_topic(hob_topics::OBSERVATIONS);
            platform.bus.publish_as_hob(&scope(), &topic, vec![notice]).await.unwrap();
        }
        2 => {
            let rider = format!("http://t.test/riders/{}", number % 2);
            let data = json!({"x": 100 * (roll(8) / 7), "y": 0});
            platform.publish("rider.pings", "ping", Some(&rider), Some(at(*clock)), Some(data)).await;
        }
        3 if roll(3) == 0 => {
            let issues = platform.watch.issues(&scope(), &IssueFilter::default()).unwrap();
            if let Some(issue) = issues.first() {
                let outcome = match roll(2) {
                    0 => decide(platform, ack(), &issue.id, "anna").await,
                    _ => decide(platform, over(), &issue.id, "anna").await,
                };
                assert!(
                    matches!(
                        outcome,
                        Ok(_)
                            | Err(Error::IssueState { .. }
                                | Error::IssueUnknown { .. }
                                | Error::IssueChildren { .. })
                    ),
                    "{outcome:?}"
                );
            }
        }
        _ => {
            *clock += 10 + i64::try_from(roll(60)).unwrap();
            platform.clock(*clock).await;
        }
    }
}

/// What one engine that never died makes of the log.
async fn uninterrupted(platform: &Platform) -> (Vec<(String, Value)>, hob_core::Digest) {
    let topics =
        ["orders", "riders", "rider.pings", "city.clock", hob_topics::OBSERVATIONS, hob_topics::COMMANDS];
    let mut engine = Engine::new(scope());
    let mut out = Vec::new();
    let mut clock = ScopeClock::Unset;
    for event in platform.log(&topics).await {
        match take(event, &clock) {
            Taken::Input(input) => engine.step(*input, &mut out),
            Taken::Rules { input, clock: other, .. } => {
                let rules = Arc::new(crate::compile(&files()).unwrap());
                let what = What::Rules { rules, is_other_clock: other != clock };
                clock = other;
                engine.step(Input { what, ..*input }, &mut out);
            }
            Taken::Nothing => {}
        }
    }
    let told = out.into_iter().filter_map(|output| match output {
        Output::Transition { id, transition } => Some((id, serde_json::to_value(transition).unwrap())),
        _ => None,
    });
    (told.collect(), engine.state_hash())
}

#[tokio::test]
async fn the_issue_log_is_the_same_however_often_it_dies() {
    let mut seed = 7;
    let mut clock = 0;
    let mut platform = open(tempfile::tempdir().unwrap()).await;
    platform.clock(0).await;
    for life in 0..8 {
        for _ in 0..(20 + 7 * life) {
            day(&platform, &mut seed, &mut clock).await;
        }
        platform = platform.die().await;
    }
    clock += 7200;
    platform.clock(clock).await;
    let last = platform.log(&["city.clock"]).await.last().unwrap().position();
    platform.watch.taken(&scope(), last).await;
    let (expected, hash) = uninterrupted(&platform).await;
    let published: Vec<(String, Value)> = platform
        .log(&[hob_topics::ISSUES])
        .await
        .into_iter()
        .map(|event| (event.id, event.data.unwrap()))
        .collect();
    assert!(expected.len() > 20, "the day is too quiet: {}", expected.len());
    for (ours, its) in published.iter().zip(&expected) {
        assert_eq!(ours, its);
    }
    assert_eq!(published.len(), expected.len());
    assert_eq!(platform.watch.state_hash(&scope()), hash);
}
