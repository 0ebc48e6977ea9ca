//! Expressions and templates in rule files: compiled, and checked against the variables and fields that there are.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::nearest;
use hob_wire::Flaw;
use hob_wire::yaml::{Flaws, Node};

use super::Document;
use crate::expression::{BadExpression, EVENT, Expression, NOW};
use crate::model::{EntityKind, Path};
use crate::template::Template;

/// The variables that a text may name.
pub(super) struct Names<'a> {
    pub(super) variables: BTreeMap<&'a str, Variable<'a>>,
    /// Whether `now` is one of them.
    pub(super) may_read_now: bool,
}

/// What a variable is.
#[derive(Clone, Copy)]
pub(super) struct Variable<'a> {
    /// The kind of entity; nothing when any field may be read.
    kind: Option<&'a EntityKind>,
    /// Whether it is a list of them.
    is_many: bool,
    /// Whether it is another entity than the one that this is about.
    is_across: bool,
}

impl<'a> Names<'a> {
    /// An entity by its own name, and what it links to by the relations' names.
    pub(super) fn of(kind: &'a EntityKind, entities: &'a BTreeMap<String, EntityKind>) -> Self {
        let own = Variable { kind: Some(kind), is_many: false, is_across: false };
        let mut variables = BTreeMap::from([(kind.variable.as_str(), own)]);
        variables.extend(kind.links.iter().map(|(relation, link)| {
            let kind = entities.get(&link.kind);
            let variable = Variable { kind, is_many: link.is_many, is_across: true };
            (relation.as_str(), variable)
        }));
        Self { variables, may_read_now: true }
    }

    /// An entity alone.
    pub(super) fn alone(kind: &'a EntityKind) -> Self {
        let own = Variable { kind: Some(kind), is_many: false, is_across: false };
        Self { variables: BTreeMap::from([(kind.variable.as_str(), own)]), may_read_now: false }
    }

    /// An event alone: its data, and its `type` and `subject`.
    pub(super) fn event() -> Self {
        let event = Variable { kind: None, is_many: false, is_across: false };
        Self { variables: BTreeMap::from([(EVENT, event)]), may_read_now: false }
    }

    /// What is wrong with reading a field of a variable, if anything. Items of a list are read within macros alone.
    fn refuse(&self, variable: &str, field: Option<&str>, is_item: bool) -> Option<(String, Option<String>)> {
        let did_you_mean = |near: Option<&str>| near.map(|near| format!("did you mean `{near}`?"));
        if variable == NOW {
            let what = "`now` cannot be read here: this is looked at only when the entity changes";
            return (!self.may_read_now).then(|| (what.to_owned(), None));
        }
        let Some(known) = self.variables.get(variable) else {
            let known = self.variables.keys().copied();
            let near = did_you_mean(nearest(variable, known.clone()));
            let hint =
                near.unwrap_or_else(|| format!("known here are {}", known.collect::<Vec<_>>().join(", ")));
            return Some((format!("there is no `{variable}` here"), Some(hint)));
        };
        let field = field?;
        if known.is_many && !is_item {
            let what = format!("`{variable}` is a list, which has no field `{field}`");
            let hint = format!("ask of its items: {variable}.exists(x, x.{field} == …)");
            return Some((what, Some(hint)));
        }
        let kind = known.kind?;
        if known.is_across && kind.derived(field).is_some_and(|derive| derive.is_across) {
            let what = format!("`{variable}.{field}` is worked out from other entities");
            return Some((what, Some("read what that one reads, or write the rule about it".to_owned())));
        }
        if kind.has_field(field) {
            return None;
        }
        let near = did_you_mean(nearest(field, kind.fields.keys().map(String::as_str)));
        let hint = near.unwrap_or_else(|| format!("declare it in `fields` of entity `{}`", kind.name));
        Some((format!("entity `{}` has no field `{field}`", kind.name), Some(hint)))
    }
}

/// Compiles the expression at a node.
pub(super) fn expression(
    document: Document<'_>,
    node: &Node,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Expression> {
    let text = node.text(flaws)?;
    let compiled = match Expression::compile(text) {
        Ok(compiled) => compiled,
        Err(bad) => {
            note(document, node, text, bad, flaws);
            return None;
        }
    };
    let before = flaws.found.len();
    for read in compiled.reads() {
        if let Some((what, hint)) = names.refuse(&read.variable, read.field.as_deref(), read.is_item) {
            let (line, column) = compiled.place(read);
            note(document, node, text, BadExpression { line, column, what, hint }, flaws);
        }
    }
    (flaws.found.len() == before).then_some(compiled)
}

/// Reads `order.promised_at`.
pub(super) fn path(node: &Node, names: &Names<'_>, flaws: &mut Flaws) -> Option<Path> {
    let text = node.text(flaws)?;
    let Some((variable, field)) = text.split_once('.').filter(|(_, field)| !field.contains('.')) else {
        flaws.hint(
            node,
            format!("`{text}` is no field"),
            "write entity.field, for example order.promised_at",
        );
        return None;
    };
    if let Some((what, hint)) = names.refuse(variable, Some(field), false) {
        flaws.found.push(Flaw { file: flaws.file.clone(), line: node.line, column: node.column, what, hint });
        return None;
    }
    Some(Path { variable: variable.to_owned(), field: field.to_owned() })
}

/// Reads a text with holes.
pub(super) fn template(
    document: Document<'_>,
    node: &Node,
    names: &Names<'_>,
    flaws: &mut Flaws,
) -> Option<Template> {
    let text = node.text(flaws)?;
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(bad) => {
            let bad = BadExpression { line: 1, column: bad.column, what: bad.what, hint: None };
            note(document, node, text, bad, flaws);
            return None;
        }
    };
    let before = flaws.found.len();
    let reads: BTreeSet<(&str, &str)> = template.reads().collect();
    for (variable, field) in reads {
        if let Some((what, hint)) = names.refuse(variable, Some(field), false) {
            let at = text.find(&format!("{variable}.{field}")).unwrap_or(0);
            let column = text[..at].chars().count() + 1;
            note(document, node, text, BadExpression { line: 1, column, what, hint }, flaws);
        }
    }
    (flaws.found.len() == before).then_some(template)
}

/// Notes a flaw within a text at its place in the file. The line of the text is looked up in the file from the node's
/// line on, because quotes and blocks (`|`, `>`) move it; where it cannot be found, the node's own place must do.
fn note(document: Document<'_>, node: &Node, text: &str, bad: BadExpression, flaws: &mut Flaws) {
    let wanted = text.lines().nth(bad.line - 1).unwrap_or_default();
    let indent = wanted.chars().take_while(|c| c.is_whitespace()).count();
    let wanted = wanted.trim();
    let from = node.line.saturating_sub(1);
    let lines = document.text.lines().enumerate().skip(from).take(text.lines().count() + bad.line + 2);
    let place = lines
        .filter_map(|(number, line)| {
            // On the node's own line, look behind the key.
            let skipped = if number == from { node.column - 1 } else { 0 };
            let start = line.char_indices().nth(skipped).map_or(line.len(), |(start, _)| start);
            let at = start + line[start..].find(wanted)?;
            Some((number + 1, line[..at].chars().count() + bad.column.saturating_sub(indent)))
        })
        .next();
    let (line, column) = place.unwrap_or((node.line, node.column));
    flaws.found.push(Flaw {
        file: flaws.file.clone(),
        line,
        column: column.max(1),
        what: bad.what,
        hint: bad.hint,
    });
}
