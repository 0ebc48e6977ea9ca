//! The house has floors, and a crate imports only from below.

use serde_json::Value;

use super::Tree;

/// The floors from the ground up.
pub(crate) const FLOORS: &[&[&str]] = &[
    &["hob-core"],
    &["hob-wire"],
    &["hob-store", "hob-sdk"],
    &["hob-bus"],
    &["hob-deploy", "hob-metrics", "hob-records", "hob-watch"],
    &["hob-agent", "hob-router", "hob-ingest", "hob-api"],
    &["hob"],
];

/// Crates for development only: any crate may have them as dev-dependencies.
const DEVELOPMENT: &[&str] = &["hob-test"];

/// Agent and router speak to the platform over HTTP, so they see only what a stranger would.
const STRANGERS: &[(&str, &[&str])] = &[
    ("hob-agent", &["hob-core", "hob-wire", "hob-sdk"]),
    ("hob-router", &["hob-core", "hob-wire", "hob-sdk"]),
];

pub(crate) fn floors(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for package in tree.packages() {
        let name = package["name"].as_str().unwrap_or_default();
        if !name.starts_with("hob") || DEVELOPMENT.contains(&name) {
            continue;
        }
        let Some(floor) = floor(name) else {
            findings
                .push(format!("{name} has no floor: put it into FLOORS, or make it a module of its user"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let in_development = dependency["kind"] == "dev";
            let allowed = match self::floor(on) {
                // A crate may test itself with its features turned on.
                Some(_) if on == name => in_development,
                Some(below) => below < floor,
                None => !on.starts_with("takeaway") && (in_development || !DEVELOPMENT.contains(&on)),
            };
            let stranger = STRANGERS.iter().find(|(crate_name, _)| *crate_name == name);
            let seen =
                stranger.is_none_or(|(_, may)| in_development || !ours(dependency) || may.contains(&on));
            if !allowed || !seen {
                findings.push(format!("{name} imports {on}: only lower floors may be imported; declare a port there and wire it in hob"));
            }
        }
    }
    findings
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

fn ours(dependency: &Value) -> bool {
    dependency["path"].is_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn check(name: &str, on: &str, kind: Value, findings: usize) {
        let dependency = json!({"name": on, "kind": kind, "path": "/x"});
        let metadata = json!({"packages": [{"name": name, "dependencies": [dependency]}]});
        let tree = Tree { files: BTreeMap::new(), metadata };
        assert_eq!(floors(&tree).len(), findings, "{name} -> {on}");
    }

    #[test]
    fn only_lower_floors_are_imported() {
        check("hob-bus", "hob-store", Value::Null, 0);
        check("hob-store", "hob-bus", Value::Null, 1);
        check("hob-deploy", "hob-watch", Value::Null, 1);
        check("hob-agent", "hob-bus", Value::Null, 1);
        check("hob-agent", "hob-sdk", Value::Null, 0);
        check("hob-bus", "hob-test", json!("dev"), 0);
        check("hob-bus", "hob-test", Value::Null, 1);
        check("hob-attic", "hob-core", Value::Null, 1);
        check("hob", "takeaway-world", Value::Null, 1);
    }
}
