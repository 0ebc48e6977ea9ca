//! Reads `service.yml`, telling every flaw with its place.

mod figure;
mod health;
mod layer;
mod process;
mod release;
mod route;
mod sandbox;
mod scale;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hob_core::Scope;

use self::layer::Layers;
use crate::Flaw;
use crate::descriptor::topic::topic;
use crate::descriptor::{Kind, PackageSpec, RouteSpec, Scale, Service, StepTerms, Strategy, TopicSpec, When};
use crate::yaml::{Flaws, Node, Reader, parse_documents};

/// Keys of the full descriptor that are not built yet.
const LATER: &[&str] = &["extends", "events", "flags", "alerts", "procedures", "metrics"];

impl Service {
    /// Reads a descriptor's text as it is where no layer says otherwise, and checks every layer by itself; `file`
    /// names it in the flaws. Either all of it is right, or every flaw is told.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Flaw>> {
        let (document, mut flaws) = document(file, text)?;
        let layers = Layers::find(&document, &mut flaws);
        let service = service(&document, &mut flaws);
        for layered in layers.each(&document) {
            if flaws.found.is_empty() {
                self::service(&layered, &mut flaws);
            }
        }
        finish(service, flaws)
    }

    /// Reads a descriptor's text as it is in one scope: its environment's layer, then its tenant's, then both's.
    pub fn read_in(file: &str, text: &str, scope: &Scope) -> Result<Self, Vec<Flaw>> {
        let (document, mut flaws) = document(file, text)?;
        let layered = Layers::find(&document, &mut flaws).apply(&document, scope);
        let service = service(&layered, &mut flaws);
        finish(service, flaws)
    }
}

fn document(file: &str, text: &str) -> Result<(Node, Flaws), Vec<Flaw>> {
    let mut documents = parse_documents(file, text).map_err(|flaw| vec![flaw])?;
    let mut flaws = Flaws::new(file);
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => Ok((document, flaws)),
        (last, before) => {
            let start = Node { line: 1, column: 1, value: crate::yaml::Value::List(Vec::new()) };
            let found = before + usize::from(last.is_some());
            flaws.at(&start, format!("expected one document, found {found}"));
            Err(flaws.found)
        }
    }
}

fn finish(service: Option<Service>, flaws: Flaws) -> Result<Service, Vec<Flaw>> {
    match service {
        Some(service) if flaws.found.is_empty() => Ok(service),
        _ => Err(flaws.found),
    }
}

fn service(node: &Node, flaws: &mut Flaws) -> Option<Service> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER);
    map.beside(&layer::KEYS);
    let name = map.need("service", flaws).and_then(|n| n.parse(flaws));
    let kinds = [("domain", Kind::Domain), ("edge", Kind::Edge)];
    let kind = map.need("kind", flaws).and_then(|n| n.one_of(&kinds, flaws));
    let owner = map.take("owner").and_then(|n| n.parse(flaws));
    let build = map.take("build").and_then(|n| n.text(flaws).map(str::to_owned));
    let package = map.need("package", flaws).and_then(|n| package(n, flaws));
    let processes = map.need("processes", flaws).map(|n| process::processes(n, flaws));
    let env = map.take("env").map(|n| environment(n, flaws)).unwrap_or_default();
    let health = map.take("health").and_then(|n| health::health(n, flaws)).unwrap_or_default();
    let sandbox = map.take("sandbox").and_then(|n| sandbox::sandbox(n, flaws)).unwrap_or_default();
    let warmup = map.take("warmup").and_then(|n| health::warmup(n, flaws));
    let drain = map.take("drain").and_then(|n| health::drain(n, flaws)).unwrap_or_default();
    let routes: Vec<RouteSpec> = items(map.take("routes"), flaws, route::route);
    let release = map.take("release").and_then(|n| release::release(n, flaws)).unwrap_or_default();
    let scale = map.take("scale").and_then(|n| scale::scale(n, flaws));
    let topics: Vec<TopicSpec> = items(map.take("topics"), flaws, topic);
    map.finish(flaws);
    let service = Service {
        service: name?,
        kind: kind?,
        owner,
        build,
        package: package?,
        processes: processes?,
        env,
        health,
        sandbox,
        warmup,
        drain,
        routes,
        release,
        scale,
        topics,
    };
    check(&service, node, flaws);
    Some(service)
}

/// Contradictions between the parts of one descriptor.
fn check(service: &Service, node: &Node, flaws: &mut Flaws) {
    let web = service.processes.iter().find(|(name, _)| name.as_str() == "web").map(|(_, web)| web);
    let is_routed = !service.routes.is_empty();
    let mut tell = |key: &str, what: &str, hint: &str| {
        flaws.hint(node.get(key).unwrap_or(node), what, hint);
    };
    if service.kind == Kind::Edge && !service.topics.is_empty() {
        tell("topics", "an edge service owns no topics", "make it `kind: domain`, or leave the topics out");
    }
    if is_routed && !web.is_some_and(|web| web.listens && web.when == When::Always) {
        tell("routes", "routes lead to the process `web`", "declare `web` with `port: http`");
    }
    let release = &service.release;
    if !is_routed && (release.steps.iter().any(StepTerms::is_partial) || !release.gates.is_empty()) {
        let what = "shares and gates are about requests, and this service takes none";
        tell("release", what, "declare `routes`, or leave `steps` and `gates` out");
    }
    let swaps = web.is_some_and(|web| web.strategy == Strategy::StopThenStart);
    if swaps && release.steps.iter().any(StepTerms::is_partial) {
        let what = "`web` stops before it starts: two releases cannot share its requests";
        tell("release", what, "leave the `steps` out, or make `web` blue_green");
    }
    let Some(scale) = &service.scale else { return };
    if web.is_none() || (swaps && *scale != Scale::default()) {
        tell(
            "scale",
            "only a `web` that may overlap is scaled",
            "leave `scale` out, or declare such a `web`",
        );
    } else if scale.idle_after_ms.is_some() && !is_routed {
        tell("scale", "no request would ever wake it", "declare `routes`, or leave `idle` out");
    }
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
