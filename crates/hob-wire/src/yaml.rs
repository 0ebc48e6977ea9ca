//! YAML whose every node knows its line and column, and a reader that collects all flaws instead of the first.
//!
//! Descriptors, the platform's file and rule files are all read through here, so that a mistake is told in the same
//! way everywhere: file, line, column, the bad key and the nearest good one. Start at [`parse_documents`] and
//! [`Reader`]. Anchors and aliases are not read: a file says what it means where it means it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hob_core::{nearest, parse_duration, parse_size};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::Flaw;

/// Bytes of a file that is read.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Lists and maps within one another.
pub const DEPTH_MAX: usize = 64;

/// A piece of a document and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1.
    pub column: usize,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; `plain` when it stands without quotes, so that `5` may be a number and `"5"` not.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stands without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file; keys are scalars and differ.
    Map(Vec<(Node, Node)>),
}

/// The flaws found in one file so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaws {
    /// The file, as the person named it.
    pub file: String,
    /// What is wrong, in the order in which it was found.
    pub found: Vec<Flaw>,
}

impl Flaws {
    /// No flaws yet in `file`.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    /// Notes a flaw at `node`.
    pub fn at(&mut self, node: &Node, what: impl Into<String>) {
        self.note(node, what.into(), None);
    }

    /// Notes a flaw at `node`, and how to mend it.
    pub fn hint(&mut self, node: &Node, what: impl Into<String>, hint: impl Into<String>) {
        self.note(node, what.into(), Some(hint.into()));
    }

    fn note(&mut self, node: &Node, what: String, hint: Option<String>) {
        self.found.push(Flaw { file: self.file.clone(), line: node.line, column: node.column, what, hint });
    }
}

/// Reads all documents of a YAML text. `file` names it in the flaw; empty documents are left out.
pub fn parse_documents(file: &str, text: &str) -> Result<Vec<Node>, Flaw> {
    let flaw = |line, column, what: String| Flaw { file: file.to_owned(), line, column, what, hint: None };
    if text.len() > FILE_BYTES_MAX {
        return Err(flaw(
            1,
            1,
            format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len()),
        ));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event
            .map_err(|e| flaw(e.marker().line(), e.marker().col() + 1, format!("not YAML: {}", e.info())))?;
        builder.take(event, span).map_err(|what| flaw(span.start.line(), span.start.col() + 1, what))?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Node>,
    keys: Vec<Option<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let node = |value| Node { line: span.start.line(), column: span.start.col() + 1, value };
        match event {
            Event::Alias(_) => Err("anchors and aliases are not read here; write the value out".to_owned()),
            Event::Scalar(text, style, _, _) => {
                let plain = matches!(style, ScalarStyle::Plain);
                self.place(node(Value::Scalar { text: text.into_owned(), plain }))
            }
            Event::SequenceStart(..) => self.enter(node(Value::List(Vec::new()))),
            Event::MappingStart(..) => self.enter(node(Value::Map(Vec::new()))),
            Event::SequenceEnd | Event::MappingEnd => {
                self.keys.pop();
                match self.open.pop() {
                    Some(done) => self.place(done),
                    None => Err("an end without a beginning".to_owned()),
                }
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, node: Node) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} lists and maps within one another"));
        }
        self.open.push(node);
        self.keys.push(None);
        Ok(())
    }

    fn place(&mut self, node: Node) -> Result<(), String> {
        let (Some(parent), Some(key)) = (self.open.last_mut(), self.keys.last_mut()) else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut parent.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => {
                    let Value::Scalar { text, .. } = &node.value else {
                        return Err("a key must be a plain word".to_owned());
                    };
                    if entries.iter().any(|(other, _)| other.text_or_empty() == text) {
                        return Err(format!("the key `{text}` stands here twice"));
                    }
                    *key = Some(node);
                }
            },
            Value::Scalar { .. } => return Err("a value within a word".to_owned()),
        }
        Ok(())
    }
}

impl Node {
    /// Whether it is nothing: `null`, `~` or left empty.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if text.is_empty() || text == "~" || text == "null")
    }

    fn text_or_empty(&self) -> &str {
        match &self.value {
            Value::Scalar { text, .. } => text,
            _ => "",
        }
    }

    /// What it is, in words, for flaws.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a text or number",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Its text; a flaw when it has none.
    pub fn text(&self, flaws: &mut Flaws) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => {
                flaws.at(self, format!("expected a text, found {}", self.kind()));
                None
            }
        }
    }

    /// What its text reads as; a flaw with the type's own words when it does not.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&self, flaws: &mut Flaws) -> Option<T> {
        let text = self.text(flaws)?;
        text.parse().map_err(|e| flaws.at(self, format!("failed to {e}"))).ok()
    }

    /// A whole number between `least` and `most`.
    pub fn number(&self, least: u64, most: u64, flaws: &mut Flaws) -> Option<u64> {
        let text = self.text(flaws)?;
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            flaws.at(self, format!("expected a whole number from {least} to {most}, found `{text}`"));
        }
        number
    }

    /// A duration such as `250ms` or `5m`.
    pub fn duration(&self, flaws: &mut Flaws) -> Option<Duration> {
        let text = self.text(flaws)?;
        parse_duration(text).map_err(|e| flaws.at(self, format!("failed to {e}"))).ok()
    }

    /// A size such as `10GiB`, in bytes.
    pub fn size(&self, flaws: &mut Flaws) -> Option<u64> {
        let text = self.text(flaws)?;
        parse_size(text).map_err(|e| flaws.at(self, format!("failed to {e}"))).ok()
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)], flaws: &mut Flaws) -> Option<T> {
        let text = self.text(flaws)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let hint = match nearest(text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it may be {}", names.join(", ")),
            };
            flaws.hint(self, format!("`{text}` is not known here"), hint);
        }
        found
    }

    /// Its items; a flaw when it is no list.
    pub fn list(&self, flaws: &mut Flaws) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => {
                flaws.at(self, format!("expected a list, found {}", self.kind()));
                &[]
            }
        }
    }

    /// A list of texts.
    pub fn texts(&self, flaws: &mut Flaws) -> Vec<String> {
        self.list(flaws).iter().filter_map(|item| item.text(flaws).map(str::to_owned)).collect()
    }

    /// Its entries, in the order of the file; a flaw when it is no map.
    pub fn entries(&self, flaws: &mut Flaws) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => {
                flaws.at(self, format!("expected a map, found {}", self.kind()));
                &[]
            }
        }
    }

    /// The value of `key`, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|(name, _)| name.text_or_empty() == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// Reads a map key by key and, at the end, tells which keys nobody asked for.
#[derive(Debug)]
pub struct Reader<'n> {
    node: &'n Node,
    known: Vec<&'static str>,
    later: &'static [&'static str],
}

impl<'n> Reader<'n> {
    /// Begins to read `node`; a flaw, and nothing, when it is no map.
    pub fn map(node: &'n Node, flaws: &mut Flaws) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            flaws.at(node, format!("expected a map, found {}", node.kind()));
            return None;
        }
        Some(Self { node, known: Vec::new(), later: &[] })
    }

    /// The map itself.
    pub fn node(&self) -> &'n Node {
        self.node
    }

    /// Names keys that exist in Hob's design and are not built yet: they are refused with those words.
    pub fn later(&mut self, keys: &'static [&'static str]) {
        self.later = keys;
    }

    /// Names keys that are read elsewhere.
    pub fn beside(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    /// The value of `key`, when it is there and not empty.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        self.node.get(key).filter(|value| !value.is_null())
    }

    /// The value of `key`; a flaw when it is missing.
    pub fn need(&mut self, key: &'static str, flaws: &mut Flaws) -> Option<&'n Node> {
        let value = self.take(key);
        if value.is_none() {
            flaws.at(self.node, format!("the key `{key}` is missing"));
        }
        value
    }

    /// Notes every key that nobody asked for, with the nearest known one. Keys that begin with `x-` are free.
    pub fn finish(self, flaws: &mut Flaws) {
        let Value::Map(entries) = &self.node.value else { return };
        for (name, _) in entries {
            let key = name.text_or_empty();
            if self.known.contains(&key) || key.starts_with("x-") {
                continue;
            }
            if self.later.contains(&key) {
                flaws.hint(name, format!("`{key}` is not supported yet"), "leave it out");
                continue;
            }
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here are {}", self.known.join(", ")),
            };
            flaws.hint(name, format!("unknown key `{key}`"), hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nodes_know_their_places() {
        let documents = parse_documents("a.yml", "a: 1\nb:\n  - x\n  - 'y'\n---\nc: {d: e}\n").unwrap();
        assert_eq!(documents.len(), 2);
        let y = &documents[0].get("b").unwrap().list(&mut Flaws::new("a.yml"))[1];
        assert_eq!((y.line, y.column), (4, 5));
        assert_eq!(y.value, Value::Scalar { text: "y".to_owned(), plain: false });
    }

    #[test]
    fn unknown_keys_name_the_nearest_good_one() {
        let document =
            &parse_documents("a.yml", "service: x\nprocesess: {}\nscale: {}\nx-mine: 1\n").unwrap()[0];
        let mut flaws = Flaws::new("a.yml");
        let mut reader = Reader::map(document, &mut flaws).unwrap();
        reader.later(&["scale"]);
        reader.take("service");
        reader.take("processes");
        reader.finish(&mut flaws);
        let told: Vec<String> = flaws.found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "a.yml:2:1: unknown key `procesess`; did you mean `processes`?",
                "a.yml:3:1: `scale` is not supported yet; leave it out",
            ]
        );
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_place() {
        for (text, words) in [
            ("a: [1,\n", "not YAML"),
            ("a: &x 1\nb: *x\n", "aliases are not read"),
            ("a: 1\na: 2\n", "stands here twice"),
            ("? [1]\n: 2\n", "a key must be"),
        ] {
            let flaw = parse_documents("a.yml", text).unwrap_err();
            assert!(flaw.what.contains(words), "{flaw}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert!(parse_documents("a.yml", &deep).unwrap_err().what.contains("within one another"));
        assert!(
            parse_documents("a.yml", &" ".repeat(FILE_BYTES_MAX + 1)).unwrap_err().what.contains("bytes")
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a-z:\\[\\]{}'\"&*?|> \n#0-9,]{0,200}") {
            let _ = parse_documents("a.yml", &text);
        }
    }
}
