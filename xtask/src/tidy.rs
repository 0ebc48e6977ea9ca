//! Rules of this code base that a machine can hold. Every finding says what to do instead; every check has a test.

mod docs;
mod floors;
mod packages;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// What the checks look at: the files that git knows or would take in, and what cargo says of the workspace.
pub(crate) struct Tree {
    /// Texts by path below the root; files that are no UTF-8 are left out.
    pub(crate) files: BTreeMap<String, String>,
    /// `cargo metadata` of the workspace, without dependencies' own.
    pub(crate) metadata: Value,
}

/// One rule.
pub(crate) struct Check {
    /// Its name in findings.
    pub(crate) name: &'static str,
    /// What it finds: a sentence each, with the way out.
    pub(crate) run: fn(&Tree) -> Vec<String>,
}

/// All rules.
pub(crate) const CHECKS: &[Check] = &[
    Check { name: "floors", run: floors::floors },
    Check { name: "homes", run: packages::homes },
    Check { name: "lock file", run: packages::lock_file },
    Check { name: "crate lints", run: packages::lints },
    Check { name: "headers", run: sources::headers },
    Check { name: "length", run: sources::length },
    Check { name: "file names", run: sources::names },
    Check { name: "leftovers", run: sources::leftovers },
    Check { name: "error pages", run: docs::error_pages },
    Check { name: "map", run: docs::map },
    Check { name: "dependencies page", run: docs::dependencies },
    Check { name: "own words", run: docs::own_words },
];

impl Tree {
    /// Reads the tree below `root`.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let listed =
            output(Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root))?;
        let mut files = BTreeMap::new();
        for path in listed.lines() {
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                files.insert(path.to_owned(), text);
            }
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
        let metadata = output(Command::new(cargo).args(arguments).current_dir(root))?;
        Ok(Self { files, metadata: serde_json::from_str(&metadata).context("read cargo metadata")? })
    }

    /// Files whose path ends so.
    pub(crate) fn ending(&self, end: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(move |(path, _)| path.ends_with(end)).map(|(p, t)| (p.as_str(), t.as_str()))
    }

    /// The workspace's packages.
    pub(crate) fn packages(&self) -> &[Value] {
        self.metadata["packages"].as_array().map_or(&[], Vec::as_slice)
    }
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("read a command's output")
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A tree with one file.
    pub(crate) fn tree(path: &str, text: &str) -> Tree {
        Tree {
            files: BTreeMap::from([(path.to_owned(), text.to_owned())]),
            metadata: json!({"packages": []}),
        }
    }

    #[test]
    fn this_code_base_is_tidy() {
        let tree = Tree::read(&crate::root()).unwrap();
        let findings: Vec<String> = CHECKS
            .iter()
            .flat_map(|check| {
                (check.run)(&tree).into_iter().map(|finding| format!("{}: {finding}", check.name))
            })
            .collect();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}
