//! Rule files as they would be: a new file among those in force, and one value of a rule replaced.

use std::collections::BTreeSet;

use hob_wire::yaml::{self, Flaws, Node};
use hob_wire::{FileText, Flaw};

/// Values that one sweep may try.
const SWEEP_MAX: usize = 20;

/// What a document declares: `entity` or `rule`, and its name.
fn declares(node: &Node) -> Option<(&'static str, String)> {
    let name = |key: &'static str| {
        let text = node.get(key)?.text(&mut Flaws::new(""))?;
        Some((key, text.to_owned()))
    };
    name("entity").or_else(|| name("rule"))
}

/// The files in force with a new one: what it declares takes the place of what had its name. Also the names of its rules.
pub fn combined(in_force: &[FileText], new: &FileText) -> Result<(Vec<FileText>, BTreeSet<String>), Flaw> {
    let declared: BTreeSet<(&'static str, String)> =
        yaml::parse_documents(&new.file, &new.text)?.iter().filter_map(declares).collect();
    let rules = declared.iter().filter(|(key, _)| *key == "rule").map(|(_, name)| name.clone()).collect();
    let mut files: Vec<FileText> = in_force.iter().map(|file| without(file, &declared)).collect();
    let mut file = new.file.clone();
    while files.iter().any(|other| other.file == file) {
        file = format!("new {file}");
    }
    files.push(FileText { file, text: new.text.clone() });
    Ok((files, rules))
}

/// A file without documents that another one declares; the lines of the others stay where they are.
fn without(file: &FileText, declared: &BTreeSet<(&'static str, String)>) -> FileText {
    let mut text = String::new();
    let mut chunk = String::new();
    let mut flush = |chunk: &mut String| {
        let is_gone = yaml::parse_documents(&file.file, chunk)
            .is_ok_and(|documents| documents.iter().filter_map(declares).any(|one| declared.contains(&one)));
        match is_gone {
            true => text.extend(chunk.matches('\n')),
            false => text.push_str(chunk),
        }
        chunk.clear();
    };
    for line in file.text.split_inclusive('\n') {
        if line.trim_end() == "---" {
            flush(&mut chunk);
        }
        // A separator belongs to what follows: an empty document is none.
        chunk.push_str(line);
    }
    flush(&mut chunk);
    FileText { file: file.file.clone(), text }
}

/// The texts that a sweep such as `for=3m,5m,8m` makes of a file: each with what is different. The value is that of every
/// rule of the file which has it, at the top or in its trigger.
pub fn swept(new: &FileText, sweep: &str) -> Result<Vec<(String, FileText)>, String> {
    let (key, values) =
        sweep.split_once('=').ok_or_else(|| format!("`{sweep}` is no sweep; write for=3m,5m,8m"))?;
    let key = key.trim();
    let values: Vec<&str> = values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
    if values.is_empty() || values.len() > SWEEP_MAX {
        return Err(format!("a sweep tries 1 to {SWEEP_MAX} values, not {}", values.len()));
    }
    let documents = yaml::parse_documents(&new.file, &new.text).map_err(|flaw| flaw.to_string())?;
    let places: Vec<(usize, usize, String)> = documents
        .iter()
        .filter(|node| node.get("rule").is_some())
        .filter_map(|node| place_of(node, key))
        .collect();
    if places.is_empty() {
        return Err(format!("no rule of the file has a value `{key}`"));
    }
    let texts = values.into_iter().map(|value| {
        let text = places.iter().fold(new.text.clone(), |text, place| replaced(&text, place, value));
        (format!("{key}={value}"), FileText { file: new.file.clone(), text })
    });
    Ok(texts.collect())
}

fn place_of(rule: &Node, key: &str) -> Option<(usize, usize, String)> {
    let of = |node: &Node| {
        let value = node.get(key)?;
        Some((value.line, value.column, value.text(&mut Flaws::new(""))?.to_owned()))
    };
    let yaml::Value::Map(entries) = &rule.value else { return None };
    of(rule).or_else(|| entries.iter().map(|(_, value)| value).find_map(of))
}

/// A text with another word at a place. Quotes around the word stay.
fn replaced(text: &str, (line, column, word): &(usize, usize, String), value: &str) -> String {
    let replace = |line: &str| {
        let start = line.char_indices().nth(column - 1).map_or(line.len(), |(start, _)| start);
        let (head, tail) = line.split_at(start);
        format!("{head}{}", tail.replacen(word.as_str(), value, 1))
    };
    let lines = text.split_inclusive('\n').enumerate();
    lines.map(|(index, text)| if index + 1 == *line { replace(text) } else { text.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> FileText {
        FileText { file: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_new_file_takes_the_place_of_what_has_its_names() {
        let in_force =
            [file("a.yml", "# first\nentity: x\n---\nrule: r\nabout: x\n---\nrule: s\nabout: x\n")];
        let (files, rules) = combined(&in_force, &file("a.yml", "rule: r\nabout: y\n")).unwrap();
        assert_eq!(files[0].text, "# first\nentity: x\n\n\n\n---\nrule: s\nabout: x\n");
        assert_eq!((files[1].file.as_str(), rules), ("new a.yml", ["r".to_owned()].into()));
    }

    #[test]
    fn a_sweep_replaces_a_value_where_it_stands() {
        let new = file(
            "a.yml",
            "rule: r\nwhen: x\nfor: 5m # held\n---\nrule: s\ncount: {at_least: 3, for: '5m'}\n",
        );
        let texts = swept(&new, "for=3m, 8m").unwrap();
        assert_eq!(texts[0].0, "for=3m");
        assert_eq!(texts[1].1.text, new.text.replace("5m", "8m"));
        assert!(swept(&new, "keep=3m").unwrap_err().contains("has a value `keep`"));
        assert!(swept(&new, "for").is_err() && swept(&new, "for=").is_err());
    }
}
