//! Reads `service.yml`, telling every flaw with its place.

use std::collections::BTreeMap;

use hob_core::{Name, format_duration};

use crate::Flaw;
use crate::descriptor::topic::topic;
use crate::descriptor::{
    Check, Drain, Health, Kind, PackageSpec, Process, ReleaseTerms, Resources, Retry, RouteSpec, Sandbox,
    Service, Stop, Strategy, TopicSpec, When,
};
use crate::yaml::{Flaws, Node, Reader, parse_documents};

/// Instances of one process in one scope.
pub(crate) const REPLICAS_MAX: u64 = 1000;
/// Readiness is asked for this often unless told otherwise.
const PROBE_EVERY_MS: u64 = 1000;
/// A readiness probe may take this long unless told otherwise.
const PROBE_TIMEOUT_MS: u64 = 1000;
/// Neither may a probe be more frequent than this, nor rarer than [`PROBE_MS_MAX`].
const PROBE_MS_MIN: u64 = 50;
const PROBE_MS_MAX: u64 = 300_000;

/// Keys of the full descriptor that are not built yet.
const LATER: &[&str] = &[
    "extends",
    "sandbox",
    "warmup",
    "drain",
    "release",
    "scale",
    "events",
    "flags",
    "alerts",
    "procedures",
    "environments",
    "tenants",
    "overrides",
    "metrics",
];
const LATER_PROCESS: &[&str] = &["resources", "stop", "when", "timeout"];
const LATER_HEALTH: &[&str] = &["startup", "liveness", "checks"];
const LATER_ROUTE: &[&str] = &["class", "limit", "timeout", "retry", "cache"];

impl Service {
    /// Reads a descriptor's text; `file` names it in the flaws. Either all of it is right, or every flaw is told.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Flaw>> {
        let documents = parse_documents(file, text).map_err(|flaw| vec![flaw])?;
        let mut flaws = Flaws::new(file);
        let service = match documents.as_slice() {
            [document] => service(document, &mut flaws),
            _ => {
                let start = Node { line: 1, column: 1, value: crate::yaml::Value::List(Vec::new()) };
                flaws.at(&start, format!("expected one document, found {}", documents.len()));
                None
            }
        };
        match service {
            Some(service) if flaws.found.is_empty() => Ok(service),
            _ => Err(flaws.found),
        }
    }
}

fn service(node: &Node, flaws: &mut Flaws) -> Option<Service> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER);
    let name = map.need("service", flaws).and_then(|n| n.parse(flaws));
    let kinds = [("domain", Kind::Domain), ("edge", Kind::Edge)];
    let kind = map.need("kind", flaws).and_then(|n| n.one_of(&kinds, flaws));
    let owner = map.take("owner").and_then(|n| n.parse(flaws));
    let build = map.take("build").and_then(|n| n.text(flaws).map(str::to_owned));
    let package = map.need("package", flaws).and_then(|n| package(n, flaws));
    let processes = map.need("processes", flaws).map(|n| processes(n, flaws));
    let env = map.take("env").map(|n| environment(n, flaws)).unwrap_or_default();
    let health = map.take("health").map(|n| health(n, flaws)).unwrap_or_default();
    let routes: Vec<RouteSpec> = items(map.take("routes"), flaws, route);
    let topics: Vec<TopicSpec> = items(map.take("topics"), flaws, topic);
    if let (Some(Kind::Edge), Some(first)) = (kind, node.get("topics").filter(|_| !topics.is_empty())) {
        flaws.hint(
            first,
            "an edge service owns no topics",
            "make it `kind: domain`, or leave the topics out",
        );
    }
    if let (Some(processes), Some(routes_node)) =
        (&processes, node.get("routes").filter(|_| !routes.is_empty()))
        && !processes.get("web").is_some_and(|web| web.listens)
    {
        flaws.hint(routes_node, "routes lead to the process `web`", "declare `web` with `port: http`");
    }
    map.finish(flaws);
    Some(Service {
        service: name?,
        kind: kind?,
        owner,
        build,
        package: package?,
        processes: processes?,
        env,
        health,
        sandbox: Sandbox::default(),
        warmup: None,
        drain: Drain::default(),
        routes,
        release: ReleaseTerms::default(),
        scale: None,
        topics,
    })
}

fn items<T>(node: Option<&Node>, flaws: &mut Flaws, read: fn(&Node, &mut Flaws) -> Option<T>) -> Vec<T> {
    let Some(node) = node else { return Vec::new() };
    node.list(flaws).iter().filter_map(|item| read(item, flaws)).collect()
}

fn package(node: &Node, flaws: &mut Flaws) -> Option<PackageSpec> {
    let mut map = Reader::map(node, flaws)?;
    let include = map.need("include", flaws)?;
    let paths = include.texts(flaws);
    if paths.is_empty() && flaws.found.is_empty() {
        flaws.hint(include, "the package would be empty", "name the files and folders that it holds");
    }
    for item in include.list(flaws) {
        if let Some(path) = item.text(flaws)
            && (path.starts_with('/') || path.split('/').any(|part| part == ".."))
        {
            flaws.hint(item, format!("`{path}` leaves the service's folder"), "name a path below it");
        }
    }
    map.finish(flaws);
    Some(PackageSpec { include: paths })
}

fn processes(node: &Node, flaws: &mut Flaws) -> BTreeMap<Name, Process> {
    let mut all = BTreeMap::new();
    for (name, value) in node.entries(flaws) {
        if let (Some(name), Some(process)) = (name.parse(flaws), process(value, flaws)) {
            all.insert(name, process);
        }
    }
    if all.is_empty() && flaws.found.is_empty() {
        flaws.at(node, "a service has at least one process");
    }
    all
}

fn process(node: &Node, flaws: &mut Flaws) -> Option<Process> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER_PROCESS);
    let run_node = map.need("run", flaws);
    let run = run_node.map(|n| n.texts(flaws)).unwrap_or_default();
    if let (Some(run_node), true) = (run_node, run.is_empty()) {
        flaws.hint(run_node, "there is nothing to run", "write the program and its arguments as a list");
    }
    let listens = map.take("port").and_then(|n| n.one_of(&[("http", true)], flaws)).unwrap_or(false);
    let replicas = map.take("replicas").and_then(|n| n.number(0, REPLICAS_MAX, flaws)).unwrap_or(1);
    let words = [("blue_green", Strategy::BlueGreen), ("stop_then_start", Strategy::StopThenStart)];
    let strategy = map.take("strategy").and_then(|n| n.one_of(&words, flaws)).unwrap_or_default();
    if strategy == Strategy::StopThenStart && replicas > 1 {
        let place = map.take("replicas").unwrap_or(node);
        flaws.hint(place, "a process that stops before it starts has one instance", "set `replicas: 1`");
    }
    map.finish(flaws);
    let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
    Some(Process {
        run,
        listens,
        replicas,
        strategy,
        when: When::Always,
        timeout_ms: None,
        resources: Resources::default(),
        stop: Stop::default(),
    })
}

fn environment(node: &Node, flaws: &mut Flaws) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, value) in node.entries(flaws) {
        let Some(name) = key.text(flaws) else { continue };
        let well_formed = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !well_formed {
            flaws.hint(key, format!("`{name}` is no name of a variable"), "use letters, digits and _");
        } else if name.starts_with("HOB_") {
            flaws.hint(key, format!("`{name}` is set by Hob"), "names that begin with HOB_ are taken");
        }
        if value.is_null() {
            env.insert(name.to_owned(), String::new());
        } else if let Some(text) = value.text(flaws) {
            env.insert(name.to_owned(), text.to_owned());
        }
    }
    env
}

fn health(node: &Node, flaws: &mut Flaws) -> Health {
    let Some(mut map) = Reader::map(node, flaws) else { return Health::default() };
    map.later(LATER_HEALTH);
    let readiness = map.take("readiness").and_then(|n| readiness(n, flaws));
    map.finish(flaws);
    Health { readiness, ..Health::default() }
}

fn readiness(node: &Node, flaws: &mut Flaws) -> Option<Check> {
    let mut map = Reader::map(node, flaws)?;
    let http = map.need("http", flaws).and_then(|n| path(n, flaws));
    let every_ms = map.take("every").map_or(Some(PROBE_EVERY_MS), |n| probe_millis(n, flaws));
    let timeout_ms = map.take("timeout").map_or(Some(PROBE_TIMEOUT_MS), |n| probe_millis(n, flaws));
    map.finish(flaws);
    Some(Check {
        http: Some(http?),
        host: None,
        every_ms: every_ms?,
        timeout_ms: timeout_ms?,
        fall: 3,
        rise: 1,
    })
}

fn probe_millis(node: &Node, flaws: &mut Flaws) -> Option<u64> {
    let duration = node.duration(flaws)?;
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if (PROBE_MS_MIN..=PROBE_MS_MAX).contains(&millis) {
        return Some(millis);
    }
    let told = format_duration(duration);
    flaws.at(node, format!("{told} is out of range: from {PROBE_MS_MIN}ms to {}s", PROBE_MS_MAX / 1000));
    None
}

fn path(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let text = node.text(flaws)?;
    if text.starts_with('/') && !text.contains(['?', '#', ' ']) && text.is_ascii() {
        return Some(text.to_owned());
    }
    flaws.hint(node, format!("`{text}` is no path"), "begin it with /, without query");
    None
}

fn route(node: &Node, flaws: &mut Flaws) -> Option<RouteSpec> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER_ROUTE);
    let host_node = map.take("host");
    let host = host_node.and_then(|n| n.text(flaws)).map(str::to_ascii_lowercase);
    if let (Some(host_node), Some(host)) = (host_node, &host) {
        let bare = host.replace("${environment}", "e").replace("${tenant}", "t");
        if bare.is_empty() || !bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
            let hint = "write it without scheme and port; ${environment} and ${tenant} are filled in";
            flaws.hint(host_node, format!("`{host}` is no host"), hint);
        }
    }
    let path = map.need("path", flaws).and_then(|n| path(n, flaws));
    map.finish(flaws);
    let path = path?;
    let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
    Some(RouteSpec { host, path, limit: None, timeout_ms: None, retry: Retry::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check("owner:", "scale: {}\nowner:", "`scale` is not supported yet");
    }

    #[test]
    fn all_flaws_are_told_at_once() {
        let flaws = Service::read("service.yml", "service: Orders\nkind: x\nnope: 1\n").unwrap_err();
        assert_eq!(flaws.len(), 5, "{flaws:?}");
    }
}
