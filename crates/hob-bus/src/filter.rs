//! Filters of a subscription: the six mandatory dialects of CloudEvents Subscriptions (exact, prefix, suffix, all,
//! any, not) over an event's attributes.
//!
//! They are compiled once, when a subscription is put, and tried on every event that its topics have, so matching
//! looks at the stored row as it lies: it builds no event, and an attribute that is made of parts (a notice's type is
//! its topic, a dot and the change) is compared part by part. An attribute that an event lacks matches nothing; the
//! opposite of that (`not`) matches then. Text is compared byte by byte, in the form in which events are given out.

mod attribute;

use hob_wire::FilterSpec;

use attribute::Attribute;
pub(crate) use attribute::{Attributes, View};

/// Conditions of one subscription, counted at every level.
pub(crate) const FILTER_CONDITIONS_MAX: usize = 100;
/// Levels of `all`, `any` and `not` within each other.
pub(crate) const FILTER_DEPTH_MAX: usize = 8;
/// Bytes of a text that an attribute is compared with.
pub(crate) const FILTER_TEXT_BYTES_MAX: usize = 1_024;

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FilterFlaw {
    /// A JSON pointer into the subscription: `/filters/0/all/1`.
    pub place: String,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

/// A subscription's filters, ready to be tried. Without any, every event matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Exact(Attribute, Box<str>),
    Prefix(Attribute, Box<str>),
    Suffix(Attribute, Box<str>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

impl Filters {
    /// Reads filters; the first thing that is wrong with them is told.
    pub(crate) fn compile(specs: &[FilterSpec]) -> Result<Self, FilterFlaw> {
        let mut compiler = Compiler { left: FILTER_CONDITIONS_MAX };
        let mut conditions = compiler.several(specs, "/filters", 1)?;
        // What costs least is tried first; the order says nothing else.
        conditions.sort_by_key(Condition::cost);
        Ok(Self { conditions })
    }

    /// Whether all of them hold for an event.
    pub(crate) fn matches(&self, event: &impl Attributes) -> bool {
        self.conditions.iter().all(|condition| condition.matches(event))
    }
}

impl Condition {
    fn matches(&self, event: &impl Attributes) -> bool {
        match self {
            Self::Exact(attribute, text) => event.text(attribute).is_some_and(|found| found.is(text)),
            Self::Prefix(attribute, text) => event.text(attribute).is_some_and(|found| found.begins(text)),
            Self::Suffix(attribute, text) => event.text(attribute).is_some_and(|found| found.ends(text)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.matches(event)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.matches(event)),
            Self::Not(condition) => !condition.matches(event),
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Exact(attribute, _) | Self::Prefix(attribute, _) | Self::Suffix(attribute, _) => {
                attribute.cost()
            }
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().map(Self::cost).sum(),
            Self::Not(condition) => condition.cost(),
        }
    }
}

struct Compiler {
    /// Conditions that may still come.
    left: usize,
}

impl Compiler {
    fn several(
        &mut self,
        specs: &[FilterSpec],
        place: &str,
        depth: usize,
    ) -> Result<Vec<Condition>, FilterFlaw> {
        let numbered = specs.iter().enumerate();
        numbered.map(|(index, spec)| self.one(spec, &format!("{place}/{index}"), depth)).collect()
    }

    fn one(&mut self, spec: &FilterSpec, place: &str, depth: usize) -> Result<Condition, FilterFlaw> {
        if depth > FILTER_DEPTH_MAX {
            return Err(flaw(
                place,
                format!("it is more than {FILTER_DEPTH_MAX} levels deep; write it flatter"),
            ));
        }
        self.count(place)?;
        match spec {
            FilterSpec::Exact(texts) => self.texts(texts, place, "exact", Condition::Exact),
            FilterSpec::Prefix(texts) => self.texts(texts, place, "prefix", Condition::Prefix),
            FilterSpec::Suffix(texts) => self.texts(texts, place, "suffix", Condition::Suffix),
            FilterSpec::All(specs) => Ok(Condition::All(self.nested(specs, place, "all", depth)?)),
            FilterSpec::Any(specs) => Ok(Condition::Any(self.nested(specs, place, "any", depth)?)),
            FilterSpec::Not(spec) => {
                let inner = self.one(spec, &format!("{place}/not"), depth + 1)?;
                Ok(Condition::Not(Box::new(inner)))
            }
        }
    }

    fn nested(
        &mut self,
        specs: &[FilterSpec],
        place: &str,
        dialect: &str,
        depth: usize,
    ) -> Result<Vec<Condition>, FilterFlaw> {
        let place = format!("{place}/{dialect}");
        if specs.is_empty() {
            return Err(flaw(&place, "it holds no filter; name at least one".to_owned()));
        }
        self.several(specs, &place, depth + 1)
    }

    /// The attributes that one `exact`, `prefix` or `suffix` names: all of them must hold.
    fn texts(
        &mut self,
        texts: &std::collections::BTreeMap<String, String>,
        place: &str,
        dialect: &str,
        make: fn(Attribute, Box<str>) -> Condition,
    ) -> Result<Condition, FilterFlaw> {
        let place = format!("{place}/{dialect}");
        if texts.is_empty() {
            return Err(flaw(
                &place,
                "it names no attribute; name at least one, for example type".to_owned(),
            ));
        }
        let mut conditions = Vec::with_capacity(texts.len());
        for (name, text) in texts {
            let place = format!("{place}/{name}");
            self.count(&place)?;
            let attribute = Attribute::parse(name).map_err(|problem| flaw(&place, problem))?;
            if text.is_empty() {
                return Err(flaw(&place, "its text is empty; leave the attribute out".to_owned()));
            }
            if text.len() > FILTER_TEXT_BYTES_MAX {
                let problem =
                    format!("its text has {} bytes; the limit is {FILTER_TEXT_BYTES_MAX}", text.len());
                return Err(flaw(&place, problem));
            }
            conditions.push(make(attribute, text.as_str().into()));
        }
        let only = if conditions.len() == 1 { conditions.pop() } else { None };
        Ok(only.unwrap_or(Condition::All(conditions)))
    }

    fn count(&mut self, place: &str) -> Result<(), FilterFlaw> {
        let left = self.left.checked_sub(1);
        let problem =
            || format!("there are more than {FILTER_CONDITIONS_MAX} conditions; make a second subscription");
        self.left = left.ok_or_else(|| flaw(place, problem()))?;
        Ok(())
    }
}

fn flaw(place: &str, problem: String) -> FilterFlaw {
    FilterFlaw { place: place.to_owned(), problem }
}

#[cfg(test)]
mod tests;
