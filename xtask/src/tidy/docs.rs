//! Documents that must agree with the code, and words that have no place in it.

use std::collections::BTreeSet;

use super::Tree;
use super::floors::FLOORS;

const CODES: &str = "crates/hob-core/src/codes.rs";
const PAGES: &str = "docs/errors/";

/// Words in two halves (so that this file does not find itself): paths of one machine, names of hosts that mirror
/// packages. The project speaks of itself alone.
const FOREIGN: &[(&str, &str)] = &[
    ("../sha", "red"),
    ("/work/", "main"),
    ("/root/", "."),
    ("crates", ".io"),
    ("registry.npm", "js"),
    ("pypi", ".org"),
];

pub(crate) fn error_pages(tree: &Tree) -> Vec<String> {
    let Some(source) = tree.files.get(CODES) else { return Vec::new() };
    let mut findings = Vec::new();
    let numbers = source.lines().filter_map(|line| {
        let (name, rest) = line.trim().split_once(" = ")?;
        let upper = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        rest.split_once(", ").filter(|_| upper)?.0.parse::<u16>().ok()
    });
    let codes: BTreeSet<String> = numbers.map(|number| format!("HOB-{number:04}")).collect();
    let pages: BTreeSet<String> = tree
        .files
        .keys()
        .filter_map(|path| path.strip_prefix(PAGES)?.strip_suffix(".md"))
        .map(str::to_owned)
        .collect();
    findings
        .extend(codes.difference(&pages).map(|code| format!("{code} has no page: write {PAGES}{code}.md")));
    findings
        .extend(pages.difference(&codes).map(|page| format!("{PAGES}{page}.md explains no code: delete it")));
    findings
}

pub(crate) fn map(tree: &Tree) -> Vec<String> {
    let Some(map) = tree.files.get("ARCHITECTURE.md") else {
        return vec!["there is no ARCHITECTURE.md: write the map".to_owned()];
    };
    let mut findings = Vec::new();
    if map.lines().count() > 300 {
        findings.push("ARCHITECTURE.md is longer than 300 lines: it is a map, not the land".to_owned());
    }
    for (floor, name) in
        FLOORS.iter().enumerate().flat_map(|(floor, names)| names.iter().map(move |n| (floor, n)))
    {
        if !map.lines().any(|line| line.starts_with(&format!("| {floor} | `{name}` |"))) {
            findings.push(format!("ARCHITECTURE.md does not list `{name}` on floor {floor}: add its row"));
        }
    }
    findings
}

pub(crate) fn dependencies(tree: &Tree) -> Vec<String> {
    let (Some(manifest), Some(page)) = (tree.files.get("Cargo.toml"), tree.files.get("docs/dependencies.md"))
    else {
        return vec!["docs/dependencies.md is missing: one line for each outside crate".to_owned()];
    };
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let names = section.unwrap_or_default().lines().filter_map(|line| line.split_once(" = "));
    let outside = names.filter(|(_, value)| !value.contains("path = ")).map(|(name, _)| name.trim());
    outside
        .filter(|name| !page.contains(&format!("| `{name}` |")))
        .map(|name| {
            format!("{name} is not in docs/dependencies.md: say what for, why this one, what was rejected")
        })
        .collect()
}

pub(crate) fn own_words(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in &tree.files {
        // CI alone knows where real data stands, and hands it over by a variable.
        let exempt = path.ends_with("Cargo.lock") || path.ends_with("package-lock.json") || path == ".ci/run";
        if exempt {
            continue;
        }
        for (start, end) in FOREIGN {
            let word = format!("{start}{end}");
            for (number, _) in text.lines().enumerate().filter(|(_, line)| line.contains(&word)) {
                findings.push(format!("{path}:{}: {word}: the project speaks of itself alone", number + 1));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::tree;

    #[test]
    fn codes_and_pages_go_together() {
        let mut tree = tree(CODES, "    NO_TOKEN = 3, 401, \"A token is needed\";\n");
        assert_eq!(error_pages(&tree).len(), 1);
        tree.files.insert(format!("{PAGES}HOB-0003.md"), String::new());
        assert_eq!(error_pages(&tree).len(), 0);
        tree.files.insert(format!("{PAGES}HOB-0099.md"), String::new());
        assert_eq!(error_pages(&tree).len(), 1);
    }

    #[test]
    fn the_map_names_every_crate() {
        assert!(map(&tree("ARCHITECTURE.md", "| 0 | `hob-core` | words |\n")).len() > 5);
        assert_eq!(map(&tree("README.md", "")).len(), 1);
    }

    #[test]
    fn every_dependency_is_explained() {
        let mut tree =
            tree("Cargo.toml", "[workspace.dependencies]\nhob = { path = \"x\" }\nredb = \"4\"\n[x]\n");
        tree.files.insert("docs/dependencies.md".to_owned(), String::new());
        assert_eq!(dependencies(&tree).len(), 1);
        tree.files.insert("docs/dependencies.md".to_owned(), "| `redb` | keys |".to_owned());
        assert_eq!(dependencies(&tree).len(), 0);
    }

    #[test]
    fn foreign_words_are_found() {
        assert_eq!(own_words(&tree("a.md", &format!("see ../sha{}/x", "red"))).len(), 1);
        assert_eq!(own_words(&tree("a.md", "see above")).len(), 0);
    }
}
