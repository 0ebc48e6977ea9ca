//! Reads `hob.yml`, telling every flaw with its place.

use std::collections::BTreeMap;

use hob_core::Name;

use crate::platform::Platform;
use crate::yaml::{Flaws, Node, Reader, Value, parse_documents};
use crate::{Flaw, Network};

/// Environments or tenants of one platform.
const NAMES_MAX: usize = 64;
/// Networks that stand before the routers.
const NETWORKS_MAX: usize = 64;

/// Keys of the full file that are not built yet.
const LATER: &[&str] = &["ports", "channels"];

impl Platform {
    /// Reads the platform's file; `file` names it in the flaws. Either all of it is right, or every flaw is told.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Flaw>> {
        let documents = parse_documents(file, text).map_err(|flaw| vec![flaw])?;
        let mut flaws = Flaws::new(file);
        let nothing = Node { line: 1, column: 1, value: Value::Map(Vec::new()) };
        let platform = platform(documents.first().unwrap_or(&nothing), &mut flaws);
        match platform {
            Some(platform) if flaws.found.is_empty() => Ok(platform),
            _ => Err(flaws.found),
        }
    }
}

fn platform(node: &Node, flaws: &mut Flaws) -> Option<Platform> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER);
    let name = map.need("platform", flaws).and_then(|n| n.parse(flaws));
    let environments = map.need("environments", flaws).map(|n| names(n, flaws)).unwrap_or_default();
    let tenants = map.need("tenants", flaws).map(|n| names(n, flaws)).unwrap_or_default();
    let services = map.take("services").map(|n| n.texts(flaws)).unwrap_or_default();
    let rules = map.take("rules").map(|n| n.texts(flaws)).unwrap_or_default();
    let public_url = map.take("public_url").and_then(|n| origin(n, flaws));
    let trusted_proxies = map.take("trusted_proxies").map(|n| networks(n, flaws)).unwrap_or_default();
    let clocks = map.take("clocks").map(|n| clocks(n, &environments, &tenants, flaws)).unwrap_or_default();
    map.finish(flaws);
    let platform = name?;
    Some(Platform { platform, environments, tenants, services, rules, public_url, trusted_proxies, clocks })
}

fn names(node: &Node, flaws: &mut Flaws) -> Vec<Name> {
    let items = node.list(flaws);
    if items.is_empty() || items.len() > NAMES_MAX {
        flaws.at(node, format!("expected 1 to {NAMES_MAX} names, found {}", items.len()));
    }
    let mut names: Vec<Name> = Vec::new();
    for item in items {
        match item.parse::<Name>(flaws) {
            Some(name) if names.contains(&name) => flaws.at(item, format!("`{name}` stands here twice")),
            Some(name) => names.push(name),
            None => {}
        }
    }
    names
}

fn networks(node: &Node, flaws: &mut Flaws) -> Vec<Network> {
    let items = node.list(flaws);
    if items.len() > NETWORKS_MAX {
        flaws.at(node, format!("expected at most {NETWORKS_MAX} networks, found {}", items.len()));
    }
    items.iter().filter_map(|item| item.parse(flaws)).collect()
}

fn origin(node: &Node, flaws: &mut Flaws) -> Option<String> {
    let text = node.text(flaws)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', ' ']) => Some(text.to_owned()),
        _ => {
            flaws.hint(
                node,
                format!("`{text}` is no origin"),
                "write scheme and host only: https://example.com",
            );
            None
        }
    }
}

fn clocks(
    node: &Node,
    environments: &[Name],
    tenants: &[Name],
    flaws: &mut Flaws,
) -> BTreeMap<String, hob_core::TopicName> {
    let mut clocks = BTreeMap::new();
    for (key, value) in node.entries(flaws) {
        let Some(scope) = key.parse::<hob_core::Scope>(flaws) else { continue };
        if !environments.contains(&scope.environment) || !tenants.contains(&scope.tenant) {
            flaws.hint(key, format!("there is no scope `{scope}`"), "use a declared environment and tenant");
        }
        if let Some(topic) = value.parse(flaws) {
            clocks.insert(scope.to_string(), topic);
        }
    }
    clocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEAWAY: &str = "platform: takeaway
environments: [demo]
tenants: [uk, ie]
services: ['*']
rules: ['rules/*.yml']
public_url: http://${tenant}.takeaway.test
trusted_proxies: [127.0.0.1, 10.0.0.0/8]
clocks: {demo/uk: city.clock}
";

    #[test]
    fn reads_a_whole_file() {
        let platform = Platform::read("hob.yml", TAKEAWAY).unwrap();
        assert_eq!(platform.default_scope().to_string(), "demo/uk");
        assert_eq!(platform.scopes().len(), 2);
        assert_eq!(platform.trusted_proxies.len(), 2);
        let scope = platform.default_scope();
        assert_eq!(platform.clock_topic(&scope).map(|t| t.as_str()), Some("city.clock"));
    }

    fn check(from: &str, to: &str, flaw: &str) {
        let flaws = Platform::read("hob.yml", &TAKEAWAY.replace(from, to)).unwrap_err();
        let told: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(flaw)), "{told:?}");
    }

    #[test]
    fn every_flaw_has_its_place() {
        check(
            "tenants: [uk, ie]",
            "tenant: [uk]",
            "hob.yml:3:1: unknown key `tenant`; did you mean `tenants`?",
        );
        check("[demo]", "[]", "hob.yml:2:15: expected 1 to 64 names, found 0");
        check("[uk, ie]", "[uk, uk]", "`uk` stands here twice");
        check("http://${tenant}.takeaway.test", "takeaway.test/x", "is no origin");
        check("demo/uk", "prod/uk", "there is no scope `prod/uk`");
        check("demo/uk", "uk", "as a scope");
        check("10.0.0.0/8", "10.0.0.0/40", "as a network");
        check(TAKEAWAY, "", "the key `platform` is missing");
    }
}
