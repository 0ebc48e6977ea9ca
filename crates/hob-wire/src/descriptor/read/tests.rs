//! Whole descriptors, and every flaw by its words.

use proptest::prelude::*;

use super::*;
use crate::descriptor::{Gate, Isolation};

const ORDERS: &str = "service: orders
kind: domain
owner: ordering
build: ../build orders
package: {include: [bin]}
processes:
  web: {run: [bin/orders], port: http, replicas: 2}
  worker: {run: [bin/orders, work], strategy: stop_then_start}
env: {LOG: info}
health: {readiness: {http: /health/ready, every: 500ms}}
routes: [{host: 'orders.${tenant}.test', path: /orders/}]
topics: [{name: orders, kind: notify}]
";

#[test]
fn reads_a_whole_descriptor() {
    insta::assert_json_snapshot!(Service::read("service.yml", ORDERS).unwrap(), @r#"
    {
      "service": "orders",
      "kind": "domain",
      "owner": "ordering",
      "build": "../build orders",
      "package": {
        "include": [
          "bin"
        ]
      },
      "processes": {
        "web": {
          "run": [
            "bin/orders"
          ],
          "listens": true,
          "replicas": 2,
          "strategy": "blue_green"
        },
        "worker": {
          "run": [
            "bin/orders",
            "work"
          ],
          "listens": false,
          "replicas": 1,
          "strategy": "stop_then_start"
        }
      },
      "env": {
        "LOG": "info"
      },
      "health": {
        "readiness": {
          "http": "/health/ready",
          "every_ms": 500,
          "timeout_ms": 1000,
          "fall": 3,
          "rise": 1
        }
      },
      "routes": [
        {
          "host": "orders.${tenant}.test",
          "path": "/orders"
        }
      ],
      "topics": [
        {
          "name": "orders",
          "kind": "notify"
        }
      ]
    }
    "#);
}

fn check(from: &str, to: &str, flaw: &str) {
    assert!(ORDERS.contains(from), "{from}");
    let flaws = Service::read("service.yml", &ORDERS.replace(from, to)).unwrap_err();
    let told: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains(flaw)), "{told:?}");
}

#[test]
fn every_flaw_has_its_place() {
    check(
        "kind: domain",
        "kind: domian",
        "service.yml:2:7: `domian` is not known here; did you mean `domain`?",
    );
    check(
        "service: orders",
        "sevice: orders",
        "service.yml:1:1: unknown key `sevice`; did you mean `service`?",
    );
    check("service: orders", "sevice: orders", "service.yml:1:1: the key `service` is missing");
    check("[bin]", "[../bin]", "service.yml:5:21: `../bin` leaves the service's folder");
    check("[bin]", "[/bin]", "leaves the service's folder");
    check("replicas: 2", "replicas: -2", "expected a whole number from 0 to 1000, found `-2`");
    check("port: http, ", "", "routes lead to the process `web`");
    check("strategy: stop_then_start", "strategy: stop_then_start, replicas: 2", "has one instance");
    check("every: 500ms", "every: 5", "as a duration");
    check("every: 500ms", "every: 1ms", "out of range");
    check("path: /orders/", "path: orders", "is no path");
    check("name: orders", "name: hob.orders", "one of Hob's own");
    check("kind: domain", "kind: edge", "an edge service owns no topics");
    check("{LOG: info}", "{HOB_URL: x}", "set by Hob");
    check("owner:", "flags: {}\nowner:", "`flags` is not supported yet");
}

#[test]
fn all_flaws_are_told_at_once() {
    let flaws = Service::read("service.yml", "service: Orders\nkind: x\nnope: 1\n").unwrap_err();
    assert_eq!(flaws.len(), 5, "{flaws:?}");
}

/// Every key that says on what terms a service ships.
const SHIPPED: &str = "service: orders
kind: domain
package: {include: [bin]}
processes:
  web:
    run: [bin/orders]
    port: http
    replicas: 2
    resources: {cpu: 0.5, memory: 256Mi, pids: 200}
    stop: {signal: INT, timeout: 45s}
  migrate: {run: [bin/migrate], when: pre_release, timeout: 2m}
sandbox: {isolation: L2, read: [/etc/ssl/certs], write: [data], connect: [5432]}
health:
  startup: {notify: true, http: /health/ready, deadline: 90s}
  readiness: {http: /health/ready, every: 2s, fall: 3, rise: 2, host: orders.internal}
  liveness: {tcp: true, every: 10s, fall: 6, then: restart}
warmup: {requests: [{get: /menus/top?n=3}, /menus], rounds: 3, until: {p95: 80ms}, max: 30s, slow_start: 20s}
drain: {inflight: 20s, websockets: {close: 1012, spread: 5s}}
routes:
  - {path: /orders, limit: {per: client_ip, rate: 90/m, burst: 40}, timeout: 5s, retry: {connect: true, idempotent: false, budget: 2.5%}}
release:
  keep: 4
  standby: 1h
  surge: 1
  deadline: 15m
  steps: [{headers: {X-Canary: always}, for: 1m}, {weight: 5, for: 2m}, {tenant: ie, for: 5m}, {weight: 100}]
  gates:
    - {rule: http_error_ratio, max: 1%, min_requests: 200, no_data: hold}
    - {compare: http_latency, vs: control, tolerance: 25%, confidence: 98%}
  bake: 15m
scale:
  min: 2
  max: 40
  by: [{metric: inflight_per_instance, target: 20}]
  schedule: [{cron: '0 16 * * fri', tz: Europe/London, min: 12, until: '0 23 * * fri', ready_by: true}]
  idle: {after: 10m}
environments:
  qa: {processes: {web: {replicas: 1}}, env: {LOG: debug}, release: {steps: [{weight: 100}], gates: null, bake: 0s}}
tenants: {ie: {env: {CURRENCY: EUR}}}
overrides: {qa/ie: {scale: null, env: {LOG: null}}}
env: {LOG: info, CURRENCY: GBP}
";

#[test]
fn reads_every_term() {
    let service = Service::read("service.yml", SHIPPED).unwrap();
    insta::assert_json_snapshot!(service);
}

#[test]
fn layers_are_merged_for_their_scope() {
    let read = |scope: &str| Service::read_in("service.yml", SHIPPED, &scope.parse().unwrap()).unwrap();
    let web = |service: &Service| service.processes.values().map(|process| process.replicas).max();
    assert_eq!(read("prod/uk"), Service::read("service.yml", SHIPPED).unwrap());
    let qa = read("qa/uk");
    assert_eq!((web(&qa), qa.env["LOG"].as_str(), qa.env["CURRENCY"].as_str()), (Some(1), "debug", "GBP"));
    assert_eq!((qa.release.gates.as_slice(), qa.release.keep), ([].as_slice(), 4), "what is not named stays");
    let both = read("qa/ie");
    assert_eq!((both.scale, both.env.get("LOG"), both.env["CURRENCY"].as_str()), (None, None, "EUR"));
    assert_eq!(both.sandbox.isolation, Some(Isolation::L2));
}

#[test]
fn every_flaw_of_the_terms_is_told() {
    for (from, to, flaw) in [
        ("cpu: 0.5", "cpu: -1", "expected a number from 0.001 to 1024, found `-1`"),
        ("cpu: 0.5", "cpu: inf", "expected a number"),
        ("256Mi", "256", "`256` starts nothing; write its unit"),
        ("signal: INT", "signal: KILL", "`KILL` is not known here"),
        ("when: pre_release, ", "", "only a process that runs once has a timeout; add `when: pre_release`"),
        ("when: pre_release", "when: pre_release, port: http", "a process that runs once has no `port`"),
        ("isolation: L2", "isolation: L9", "`L9` is not known here"),
        ("write: [data]", "write: [../data]", "`../data` leaves its folder"),
        ("connect: [5432]", "connect: [db]", "expected a whole number from 1 to 65535"),
        ("notify: true, http: /health/ready, ", "", "nothing says that it has started"),
        ("notify: true", "notify: yes", "`yes` is not known here"),
        ("{tcp: true,", "{tcp: true, http: /x,", "a probe is made by HTTP or by TCP"),
        ("then: restart", "then: reboot", "`reboot` is not known here"),
        ("p95: 80ms", "p99: 80ms", "unknown key `p99`; did you mean `p95`?"),
        ("close: 1012", "close: 1006", "1006 may not be sent"),
        ("90/m", "90", "`90` is no rate above 0"),
        ("90/m", "0/s", "`0/s` is no rate above 0"),
        ("per: client_ip", "per: user", "`user` is not known here"),
        ("budget: 2.5%", "budget: 2.5", "write it with its sign"),
        ("surge: 1", "surge: 0", "expected a whole number from 1 to 1000"),
        ("{weight: 5, for: 2m}", "{weight: 5}", "the key `for` is missing"),
        ("{weight: 5, for: 2m}", "{for: 2m}", "a step says who goes first"),
        ("{tenant: ie, for: 5m}", "{weight: 3, for: 5m}", "3 % after 5 % takes requests back"),
        ("X-Canary: always", "'X Canary': always", "is no name of a header"),
        ("http_error_ratio", "http_error_rate", "did you mean `http_error_ratio`?"),
        ("compare: http_latency", "compare: p95", "`p95` is not known here; it may be http_latency"),
        ("no_data: hold", "no_data: pass", "`pass` is not known here; it may be hold"),
        ("max: 1%, ", "", "the key `max` is missing"),
        ("max: 40", "max: 5", "at most 5 cannot be at least 12"),
        ("'0 16 * * fri'", "'0 16 * *'", "cron has five fields"),
        ("Europe/London", "'GMT 1'", "is no time zone"),
        ("after: 10m", "after: soon", "as a duration"),
        ("environments:\n  qa: {", "environments:\n  qa: {topics: [], ", "`topics` is the same everywhere"),
        ("environments:\n  qa: {", "environments:\n  qa: {relase: {}, ", "did you mean `release`?"),
        ("LOG: debug", "LOG: [debug]", "service.yml:38:52: expected a text, found a list"),
        ("qa/ie", "qa", "as a scope"),
    ] {
        assert!(SHIPPED.contains(from), "{from}");
        let flaws = Service::read("service.yml", &SHIPPED.replace(from, to)).unwrap_err();
        let told: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(flaw)), "{from} -> {to}: {told:?}");
    }
}

#[test]
fn parts_that_contradict_each_other_are_told() {
    for (from, to, flaw) in [
        ("{weight: 5, for: 2m}, ", "", "nothing"),
        ("port: http\n", "strategy: stop_then_start\n    port: http\n", "`web` stops before it starts"),
    ] {
        let text = SHIPPED.replace("replicas: 2\n", "replicas: 1\n").replace(from, to);
        let told: Vec<String> = match Service::read("service.yml", &text) {
            Ok(_) => vec!["nothing".to_owned()],
            Err(flaws) => flaws.iter().map(ToString::to_string).collect(),
        };
        assert!(told.iter().any(|line| line.contains(flaw)), "{told:?}");
    }
    let steps = SHIPPED.find("  steps:").unwrap();
    let end = steps + SHIPPED[steps..].find("\n").unwrap();
    let without = format!("{}{}", &SHIPPED[..steps], &SHIPPED[end + 1..]);
    let flaws = Service::read("service.yml", &without).unwrap_err();
    assert!(flaws[0].to_string().contains("latency is compared while both releases take requests"));
    let gates = Service::read("service.yml", SHIPPED).unwrap().release.gates;
    assert_eq!(gates[1], Gate::Latency { tolerance: 0.25, confidence: 0.98, min_requests: 100 });
}

proptest! {
    /// Lines and words of the descriptor anywhere in it: what is read has at least a meaning, and nothing panics.
    #[test]
    fn no_descriptor_panics(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..40), 1..6),
        junk in "[-a-z0-9:%/{}\\[\\], ]{0,12}",
    ) {
        let mut text = SHIPPED.to_owned();
        for (from, to, length) in cuts {
            let from = from.index(text.len());
            let piece: String = text.chars().skip(from).take(length).chain(junk.chars()).collect();
            let to = to.index(text.len());
            let end = (to + length).min(text.len());
            text.replace_range(to..end, &piece);
        }
        let _ = Service::read("service.yml", &text);
        let _ = Service::read_in("service.yml", &text, &"qa/ie".parse().unwrap());
    }
}

#[test]
fn the_page_about_it_is_right() {
    let page = include_str!("../../../../../docs/descriptor.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let service = Service::read("descriptor.md", text).unwrap();
    assert_eq!(service.release.gates.len(), 2);
    Service::read_in("descriptor.md", text, &"qa/ie".parse().unwrap()).unwrap();
}
