//! What may be asked of issues, rules and entities, and the answers that read the engine.

use std::sync::Arc;

use hob_core::Timestamp;
use hob_wire::{Issue, IssueState, Place, WatchedEntity};
use serde_json::{Map, Value};

use crate::Error;
use crate::engine::Engine;
use crate::expression::{Expression, NOW, on_a_large_stack};
use crate::fields::Fields;
use crate::plan::{Needs, needs_of};
use crate::reducers::Position;
use crate::rows::EntityRow;
use crate::view::View;

/// Entities that are looked at before the engine is let go for a moment.
const LOOKS_MAX: usize = 2_000;
/// Entities that one question looks at.
const QUESTION_MAX: usize = 200_000;
/// Places on one map.
const PLACES_MAX: usize = 5_000;

/// Which issues are meant. What is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueFilter {
    /// In one of these states; in any when empty.
    pub states: Vec<IssueState>,
    /// Opened by this rule.
    pub rule: Option<String>,
    /// About this href, or touching it.
    pub about: Option<String>,
    /// This person's.
    pub assignee: Option<String>,
    /// With this label.
    pub label: Option<String>,
    /// With this text in title, key, resolution or notes, in any case.
    pub text: Option<String>,
    /// By their parent.
    pub parent: Option<Parent>,
    /// Opened at this time or later.
    pub since: Option<Timestamp>,
    /// Opened before this time.
    pub until: Option<Timestamp>,
    /// Those of rules in the shadow, instead of all others.
    pub is_shadow: bool,
}

/// Which parent an issue has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// None.
    None,
    /// This one.
    Is(String),
}

impl IssueFilter {
    /// Whether an issue is meant.
    pub(crate) fn means(&self, issue: &Issue) -> bool {
        let is = |wanted: &Option<String>, has: Option<&String>| wanted.is_none() || wanted.as_ref() == has;
        (self.states.is_empty() || self.states.contains(&issue.state))
            && is(&self.rule, Some(&issue.rule))
            && self.about.as_ref().is_none_or(|about| touches(issue, about))
            && is(&self.assignee, issue.assignee.as_ref())
            && is(&self.label, issue.label.as_ref())
            && self.parent.as_ref().is_none_or(|parent| match parent {
                Parent::None => issue.parent.is_none(),
                Parent::Is(id) => issue.parent.as_ref() == Some(id),
            })
            && self.since.is_none_or(|since| issue.opened >= since)
            && self.until.is_none_or(|until| issue.opened < until)
            && self.is_shadow == issue.rule_mode.is_some()
            && self.text.as_ref().is_none_or(|text| says(issue, text))
    }
}

fn touches(issue: &Issue, href: &String) -> bool {
    issue.about == *href
        || issue.affects.contains(href)
        || issue.members.first.iter().any(|member| member.href == *href)
}

fn says(issue: &Issue, text: &str) -> bool {
    let text = text.to_lowercase();
    let notes = issue.evidence.iter().filter(|piece| piece.kind == "note").map(|piece| &piece.text);
    let texts = [&issue.title, &issue.key, &issue.id].into_iter().chain(&issue.resolution).chain(notes);
    texts.into_iter().any(|has| has.to_lowercase().contains(&text))
}

/// A rule, and how it does in a scope.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSummary {
    /// Its name.
    pub name: String,
    /// The kind of entity that it is about.
    pub about: String,
    /// The file that declares it.
    pub file: String,
    /// `enabled`, `shadow` or `disabled`.
    pub mode: &'static str,
    /// Issues of it that are not resolved.
    pub open: u64,
    /// Issues that it ever opened.
    pub opened_total: u64,
    /// Issues that it opened in the last seven days, by day, the newest first.
    pub by_day: Vec<(String, u64)>,
    /// Issues of the last seven days that ended.
    pub resolved: u64,
    /// Those of them that were a false alarm.
    pub false_alarms: u64,
    /// When it last opened one.
    pub last_opened: Option<Timestamp>,
    /// How many may be open at once.
    pub max_open: Option<u32>,
    /// How many there may be for each entity of a day.
    pub per_entity: Option<f64>,
    /// `watching`, or `unknown` when its expressions could not be answered for some entity lately.
    pub state: &'static str,
    /// Why, when `unknown`.
    pub reason: Option<String>,
}

/// Which entities are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityFilter {
    /// Their kind.
    pub kind: String,
    /// An expression over one of them, by its kind's name: `order.state == 'placed'`.
    pub expression: Option<String>,
    /// This one alone.
    pub href: Option<String>,
    /// Behind this href.
    pub after: Option<String>,
    /// So many at most.
    pub limit: usize,
}

impl View {
    /// Entities of a kind, by href, and where to go on.
    pub(crate) fn entities(
        &self,
        filter: &EntityFilter,
    ) -> Result<(Vec<WatchedEntity>, Option<String>), Error> {
        self.check_kind(&filter.kind)?;
        let expression = self.question(filter)?;
        let hrefs: Vec<Arc<str>> = {
            let engine = self.engine();
            let behind = |href: &Arc<str>| filter.after.as_deref().is_none_or(|after| **href > *after);
            let is_one = |href: &Arc<str>| filter.href.as_deref().is_none_or(|one| **href == *one);
            let of_kind = engine.entities().filter(|(_, row)| *row.kind == *filter.kind);
            of_kind.map(|(href, _)| Arc::clone(href)).filter(|href| behind(href) && is_one(href)).collect()
        };
        let mut found: Vec<WatchedEntity> = Vec::new();
        // The engine goes on between looks: a question about a million entities must not hold it.
        for looks in hrefs.chunks(LOOKS_MAX).take(QUESTION_MAX / LOOKS_MAX) {
            let engine = self.engine();
            for href in looks {
                let Some(row) = engine.entity(href) else { continue };
                if !engine.says(expression.as_ref(), href) {
                    continue;
                }
                if found.len() >= filter.limit {
                    let last = found.last().map(|last| last.href.clone());
                    return Ok((found, last));
                }
                found.push(engine.watched(href, row));
            }
        }
        let looked = hrefs.get(QUESTION_MAX).map(ToString::to_string);
        Ok((found, looked))
    }

    /// The question's expression, and what it reads.
    fn question(&self, filter: &EntityFilter) -> Result<Option<(Expression, Needs)>, Error> {
        let Some(text) = &filter.expression else { return Ok(None) };
        let bad = |column: usize, what: String, hint: Option<String>| Error::BadQuestion {
            why: format!("filter, column {column}: {what}"),
            hint,
        };
        let compiled = on_a_large_stack(|| Expression::compile(text))
            .map_err(|flaw| bad(flaw.column, flaw.what, flaw.hint))?;
        let engine = self.engine();
        let kinds = &engine.rules().entities;
        let Some(kind) = kinds.get(&filter.kind) else { return Ok(None) };
        for read in compiled.reads() {
            let is_known = read.variable == kind.variable
                || read.variable == NOW
                || kind.links.contains_key(&read.variable);
            let has_field = read.variable != kind.variable
                || read.field.as_deref().is_none_or(|field| kind.has_field(field));
            let (_, column) = compiled.place(read);
            if !is_known {
                let hint = format!("known here are {} and its relations", kind.variable);
                return Err(bad(column, format!("there is no `{}` here", read.variable), Some(hint)));
            }
            if !has_field {
                let field = read.field.clone().unwrap_or_default();
                return Err(bad(column, format!("entity `{}` has no field `{field}`", kind.name), None));
            }
        }
        let needs = needs_of(&filter.kind, kinds, std::iter::once(&compiled));
        Ok(Some((compiled, needs)))
    }

    fn check_kind(&self, kind: &str) -> Result<(), Error> {
        let engine = self.engine();
        let kinds = engine.rules().entities.keys().map(String::as_str);
        if engine.rules().entities.contains_key(kind) {
            return Ok(());
        }
        let hint = match hob_core::nearest(kind, kinds.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there is {}", kinds.collect::<Vec<_>>().join(", ")),
        };
        let why = format!("rule files declare no entity `{}`", kind.chars().take(80).collect::<String>());
        Err(Error::BadQuestion { why, hint: Some(hint) })
    }

    /// The stream of an entity, and how its records name the entity.
    pub(crate) fn stream_of(&self, href: &str) -> Option<(hob_core::TopicName, String, String)> {
        let engine = self.engine();
        let row = engine.entity(href)?;
        let kind = engine.rules().entities.get(&*row.kind)?;
        let id = row.fields.as_ref().and_then(|fields| fields.get("id"));
        let id = id.and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_else(|| href.to_owned());
        Some((kind.stream.clone()?, kind.key.clone().unwrap_or_default(), id))
    }

    /// Everything that has a position, the first thousands by href.
    pub(crate) fn places(&self) -> Vec<Place> {
        let engine = self.engine();
        let placed = engine.entities().filter_map(|(href, row)| engine.place(href, row));
        placed.take(PLACES_MAX).collect()
    }
}

impl Engine {
    /// Whether a question's expression is true of an entity.
    fn says(&self, expression: Option<&(Expression, Needs)>, href: &str) -> bool {
        expression.is_none_or(|(expression, needs)| self.is_true(needs, expression, href))
    }

    /// An entity as readers see it.
    fn watched(&self, href: &str, row: &EntityRow) -> WatchedEntity {
        let mut fields: Map<String, Value> = row.fields.as_ref().map(Fields::to_map).unwrap_or_default();
        self.add_derived(href, row, &mut fields);
        let links = fields.remove("_links");
        let links = links.as_ref().and_then(Value::as_object);
        let href_of = |link: &Value| link.get("href").and_then(Value::as_str).map(str::to_owned);
        let hrefs = |link: &Value| match link {
            Value::Array(links) => links.iter().filter_map(href_of).collect(),
            link => href_of(link).into_iter().collect(),
        };
        let relations = links.into_iter().flatten().map(|(name, link)| (name.clone(), hrefs(link)));
        let issues = self.open_issues_of(href);
        WatchedEntity {
            href: href.to_owned(),
            kind: row.kind.to_string(),
            label: self.label_of(href),
            relations: relations.collect(),
            known: row.is_known,
            trouble: row.trouble.as_deref().map(str::to_owned),
            position: position(row),
            priority: issues.iter().map(|issue| issue.priority).max(),
            issues: issues.into_iter().map(|issue| issue.id.clone()).collect(),
            fields,
        }
    }

    fn place(&self, href: &str, row: &EntityRow) -> Option<Place> {
        let (x, y) = position(row)?;
        let state = row.fields.as_ref().and_then(|fields| fields.get("state"));
        let relations = self.rules().plan.kinds.get(&*row.kind).map(|plan| plan.relations.as_slice());
        let relation = |number: u8| relations?.get(usize::from(number)).map(|(name, _)| name.clone());
        let links = row.live.links.iter();
        Some(Place {
            href: href.to_owned(),
            kind: row.kind.to_string(),
            label: self.label_of(href),
            x,
            y,
            state: state.and_then(|state| state.as_str().map(str::to_owned)),
            priority: self.open_issues_of(href).into_iter().map(|issue| issue.priority).max(),
            links: links.filter_map(|(number, href)| Some((relation(*number)?, href.to_string()))).collect(),
        })
    }
}

/// Where an entity is: by its stream, else by its fields.
fn position(row: &EntityRow) -> Option<(f64, f64)> {
    let by_stream = row.place.as_deref().map(|(position, _)| position.east_north());
    by_stream.or_else(|| Position::of_fields(row.fields.as_ref()?).map(|position| position.east_north()))
}
