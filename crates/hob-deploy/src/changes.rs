//! How one release differs from another, in the words of those who wrote it. Values of variables are not told: some
//! are secrets.

use std::collections::BTreeMap;

use hob_wire::{Change, Service};

use crate::model::ReleaseRow;

/// What going from `old` to `new` changes; nothing when there is no old one, because then everything is new.
pub(crate) fn between(old: Option<&ReleaseRow>, new: &ReleaseRow) -> Vec<Change> {
    let Some(old) = old else { return Vec::new() };
    let mut changes = Vec::new();
    if old.package != new.package {
        changes.push(Change { change: "change".to_owned(), what: "package".to_owned() });
    }
    compare(&old.env, &new.env, "variable", &mut changes);
    compare(&parts(&old.descriptor, "process"), &parts(&new.descriptor, "process"), "process", &mut changes);
    compare(&parts(&old.descriptor, ""), &parts(&new.descriptor, ""), "", &mut changes);
    changes
}

/// Processes by name, or the terms by the descriptor's keys, each in a comparable form.
fn parts(service: &Service, of: &str) -> BTreeMap<String, String> {
    if of == "process" {
        let processes = service.processes.iter();
        return processes.map(|(name, process)| (name.to_string(), format!("{process:?}"))).collect();
    }
    let mut parts = BTreeMap::new();
    let mut note = |key: &str, text: String| drop(parts.insert(key.to_owned(), text));
    note("health", format!("{:?}", service.health));
    note("sandbox", format!("{:?}", service.sandbox));
    note("warmup", format!("{:?}", service.warmup));
    note("drain", format!("{:?}", service.drain));
    note("routes", format!("{:?}", service.routes));
    note("release", format!("{:?}", service.release));
    note("scale", format!("{:?}", service.scale));
    note("topics", format!("{:?}", service.topics));
    parts
}

fn compare(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    kind: &str,
    changes: &mut Vec<Change>,
) {
    let mut note = |change: &str, key: &str| {
        let what = if kind.is_empty() { key.to_owned() } else { format!("{kind} {key}") };
        changes.push(Change { change: change.to_owned(), what });
    };
    for (key, value) in new {
        match old.get(key) {
            None => note("add", key),
            Some(known) if known != value => note("change", key),
            Some(_) => {}
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        note("remove", key);
    }
}

#[cfg(test)]
mod tests {
    use hob_core::{Digest, Timestamp};

    use super::*;
    use crate::declare::tests::service;

    fn row(package: &[u8], text: &str) -> ReleaseRow {
        let descriptor = service(text);
        let env = descriptor.env.clone();
        let config = Digest::of(b"config");
        let created = Timestamp::EPOCH;
        let package = Digest::of(package);
        ReleaseRow { number: 1, package, config, git: None, created, descriptor, env, promoted_from: None }
    }

    #[test]
    fn changes_are_told_by_name_and_never_by_value() {
        let old = "service: orders
kind: domain
package: {include: [bin]}
processes: {web: {run: [bin/web], port: http}, worker: {run: [bin/work]}}
env: {LOG: info, DB: secret}
routes: [{path: /orders}]
";
        let new = old
            .replace("worker: {run: [bin/work]}", "mailer: {run: [bin/mail]}")
            .replace("LOG: info, DB: secret", "DB: other, NEW: x")
            .replace("/orders", "/v2");
        let told: Vec<String> = between(Some(&row(b"a", old)), &row(b"b", &new))
            .into_iter()
            .map(|change| format!("{} {}", change.change, change.what))
            .collect();
        assert_eq!(
            told,
            [
                "change package",
                "change variable DB",
                "add variable NEW",
                "remove variable LOG",
                "add process mailer",
                "remove process worker",
                "change routes",
            ]
        );
        assert!(between(Some(&row(b"a", old)), &row(b"a", old)).is_empty());
        assert!(between(None, &row(b"a", old)).is_empty());
    }
}
