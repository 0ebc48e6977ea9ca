//! Outside crates: each heavy one has one home, there is one TLS provider, and the lock file has a budget.

use super::Tree;

/// Heavy outside crates and the only crates that may import them.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["hob-api", "hob-ingest", "hob-sdk"]),
    ("cel", &["hob-watch"]),
    ("chrono-tz", &["hob-deploy"]),
    ("clap", &["hob", "xtask"]),
    ("croner", &["hob-deploy"]),
    ("anyhow", &["hob", "xtask"]),
    ("hyper", &["hob-api", "hob-router"]),
    ("hyper-util", &["hob-api", "hob-router"]),
    ("object_store", &["hob-store"]),
    ("redb", &["hob-store"]),
    ("reqwest", &["hob", "hob-agent", "hob-sdk"]),
    ("roaring", &["hob-store"]),
    ("rusqlite", &["hob-sdk"]),
    ("rustls", &["hob-router", "hob-sdk"]),
    ("rustls-native-certs", &["hob-sdk"]),
    ("saphyr-parser", &["hob-wire"]),
    ("zstd", &["hob-agent", "hob-deploy", "hob-store"]),
];

/// Packages in the lock file, at most.
const LOCK_BUDGET: usize = 370;
/// TLS providers that would stand beside ring.
const SECOND_PROVIDERS: &[&str] = &["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"];

pub(crate) fn homes(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for package in tree.packages() {
        let name = package["name"].as_str().unwrap_or_default();
        if name.starts_with("takeaway") {
            continue;
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"] == "dev" {
                continue;
            }
            if let Some((_, homes)) = HOMES.iter().find(|(outside, _)| *outside == on)
                && !homes.contains(&name)
            {
                findings.push(format!(
                    "{name} imports {on}, whose home is {}: use what that crate offers",
                    homes.join(", ")
                ));
            }
        }
    }
    findings
}

pub(crate) fn lock_file(tree: &Tree) -> Vec<String> {
    let Some(lock) = tree.files.get("Cargo.lock") else { return Vec::new() };
    let names: Vec<&str> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let mut findings = Vec::new();
    if names.len() > LOCK_BUDGET {
        findings.push(format!(
            "{} packages, the budget is {LOCK_BUDGET}: do without one, or raise it knowingly",
            names.len()
        ));
    }
    for second in SECOND_PROVIDERS.iter().filter(|second| names.contains(second)) {
        findings.push(format!("{second} stands beside ring: turn off the feature that brings it"));
    }
    findings
}

pub(crate) fn lints(tree: &Tree) -> Vec<String> {
    let manifests = tree.ending("Cargo.toml").filter(|(path, text)| {
        *path != "Cargo.toml" && !path.starts_with("fuzz/") && text.contains("[package]")
    });
    manifests
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| format!("{path} does not take the workspace's lints: add [lints] workspace = true"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::tidy::tests::tree;

    #[test]
    fn heavy_crates_stay_at_home() {
        let packages = |name: &str| Tree {
            files: BTreeMap::new(),
            metadata: json!({"packages": [{"name": name, "dependencies": [{"name": "redb", "kind": null}]}]}),
        };
        assert_eq!(homes(&packages("hob-bus")).len(), 1);
        assert_eq!(homes(&packages("hob-store")).len(), 0);
    }

    #[test]
    fn the_lock_file_keeps_its_budget_and_one_provider() {
        assert_eq!(lock_file(&tree("Cargo.lock", "name = \"aws-lc-rs\"\n")).len(), 1);
        let many = "name = \"x\"\n".repeat(LOCK_BUDGET + 1);
        assert_eq!(lock_file(&tree("Cargo.lock", &many)).len(), 1);
    }

    #[test]
    fn every_crate_takes_the_lints() {
        assert_eq!(lints(&tree("crates/x/Cargo.toml", "[package]\n")).len(), 1);
        assert_eq!(lints(&tree("crates/x/Cargo.toml", "[package]\n[lints]\nworkspace = true\n")).len(), 0);
    }
}
