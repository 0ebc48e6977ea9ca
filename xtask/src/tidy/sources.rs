//! The shape of source files: a header that says why, a bearable length, honest names, nothing left over.

use super::Tree;

/// Lines of a source file without its tests.
const LINES_MAX: usize = 600;
/// Names that say nothing of what is inside; `mod` is for `thing.rs` beside `thing/`.
const BANNED_NAMES: &[&str] = &["util", "utils", "common", "helpers", "misc", "mod"];
/// Words that must not stay, and what to do instead. In two halves, so that this file does not find itself.
const LEFTOVERS: &[(&str, &str, &str)] = &[
    ("FIX", "ME", "mend it, or write it into docs/roadmap.md"),
    ("todo", "!(", "build it, or return an error that says so"),
    ("dbg", "!(", "log with tracing"),
    ("#[ign", "ore", "delete the test or make it pass"),
    ("unimple", "mented!(", "build it, or return an error that says so"),
];

fn written(path: &str) -> bool {
    !path.contains("/generated/") && !path.ends_with(".d.ts")
}

pub(crate) fn headers(tree: &Tree) -> Vec<String> {
    let without = tree.ending(".rs").filter(|(_, text)| !text.starts_with("//!") && !text.starts_with("#!"));
    without.map(|(path, _)| format!("{path} does not begin with //!: say why the file exists")).collect()
}

pub(crate) fn length(tree: &Tree) -> Vec<String> {
    let sources = [".rs", ".ts", ".svelte"].into_iter().flat_map(|end| tree.ending(end));
    sources
        .filter(|(path, _)| written(path) && !path.contains("/tests/"))
        .map(|(path, text)| {
            (path, text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text).lines().count())
        })
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| {
            format!("{path} has {lines} lines: two things? At most {LINES_MAX} without tests")
        })
        .collect()
}

pub(crate) fn names(tree: &Tree) -> Vec<String> {
    let sources = [".rs", ".ts", ".svelte"].into_iter().flat_map(|end| tree.ending(end));
    sources
        .filter(|(path, _)| {
            let file = path.rsplit('/').next().unwrap_or(path);
            let stem = file.split('.').next().unwrap_or(file);
            BANNED_NAMES.contains(&stem.to_lowercase().as_str())
        })
        .map(|(path, _)| format!("{path}: the name says nothing; name the file after what is in it"))
        .collect()
}

pub(crate) fn leftovers(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    let sources = [".rs", ".ts", ".svelte", ".md", ".yml", ".toml", ".mjs"];
    for (path, text) in sources.into_iter().flat_map(|end| tree.ending(end)) {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", number + 1);
            if line.ends_with([' ', '\t']) {
                findings.push(format!("{place}: blanks at the end of the line: delete them"));
            }
            for (start, end, instead) in LEFTOVERS {
                if line.contains(&format!("{start}{end}")) {
                    findings.push(format!("{place}: {start}{end}: {instead}"));
                }
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
    fn files_say_why_they_exist() {
        assert_eq!(headers(&tree("a.rs", "fn x() {}\n")).len(), 1);
        assert_eq!(headers(&tree("a.rs", "//! Why.\n")).len(), 0);
    }

    #[test]
    fn long_files_are_found_without_their_tests() {
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(length(&tree("a.rs", &long)).len(), 1);
        let tested = format!("x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(length(&tree("a.rs", &tested)).len(), 0);
    }

    #[test]
    fn names_say_something() {
        assert_eq!(names(&tree("src/utils.rs", "")).len(), 1);
        assert_eq!(names(&tree("src/a/mod.rs", "")).len(), 1);
        assert_eq!(names(&tree("src/nearest.rs", "")).len(), 0);
    }

    #[test]
    fn nothing_is_left_over() {
        assert_eq!(leftovers(&tree("a.rs", &format!("//! FIX{}\n", "ME"))).len(), 1);
        assert_eq!(leftovers(&tree("a.rs", "let x = 1; \n")).len(), 1);
        assert_eq!(leftovers(&tree("a.rs", "let x = 1;\n")).len(), 0);
    }
}
