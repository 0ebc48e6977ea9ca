//! Warms rules that are new or changed: what they would be waiting for is worked out from the past, in an engine beside this
//! one, and taken over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_core::Timestamp;

use super::{Engine, Input, Output, What};
use crate::model::Changed;
use crate::rows::{CellRow, EntityRow, Role};

/// The longest past that a rule is warmed with.
const WARM_MAX: Duration = Duration::from_secs(2 * 3600);

impl Engine {
    /// How much of the past the rules need that began anew with the newest change; nothing when they need none.
    pub fn looks_back(&self) -> Duration {
        let rules = self.fresh.iter().filter_map(|name| self.rules.rules.get(name));
        rules.map(|rule| rule.trigger.looks_back()).max().unwrap_or_default().min(WARM_MAX)
    }

    /// Gives the rules that began anew what they would have, had they seen these inputs. To be called right after the
    /// change of rules with what the log has before it, so that a replay does the same. No issue of the past is opened;
    /// what holds now is.
    pub fn warm(&mut self, past: Vec<Input>, out: &mut Vec<Output>) {
        let names = std::mem::take(&mut self.fresh);
        let fresh: BTreeSet<u16> = names.iter().filter_map(|name| self.rules.number(name)).collect();
        let now = self.state.clock;
        if fresh.is_empty() || past.is_empty() || now == Timestamp::EPOCH {
            return;
        }
        let beside = self.beside(past, now);
        for href in self.state.entities.hrefs() {
            let Some(theirs) = beside.state.entities.get(&href) else { continue };
            let Some(row) = self.state.entities.get_mut(&href) else { continue };
            for (number, role, cell) in theirs.cells.iter().filter(|(number, ..)| fresh.contains(number)) {
                take_over(row, number, role, cell);
            }
            for number in &fresh {
                if let Some(reducer) = theirs.reducers.get(*number) {
                    row.reducers.set(*number, reducer.clone());
                }
            }
        }
        let terms = |name: &String| Some((name.clone(), beside.state.terms.get(name)?.clone()));
        let terms: BTreeMap<_, _> = names.iter().filter_map(terms).collect();
        self.state.terms.extend(terms);
        self.derive();
        for href in self.state.entities.hrefs() {
            self.look_at(&href, &Changed::All, out);
        }
    }

    /// An engine that has seen the past and no more. What the past does not show is as it is now.
    fn beside(&self, past: Vec<Input>, now: Timestamp) -> Self {
        let mut beside = Self::new(self.scope.clone());
        let mut ignored = Vec::new();
        let input = |sequence, clock, what| Input { sequence, recorded: Timestamp::EPOCH, clock, what };
        let rules = What::Rules { rules: Arc::clone(&self.rules), is_other_clock: false };
        beside.step(input(1, None, rules), &mut ignored);
        let seen: BTreeSet<String> = past
            .iter()
            .filter_map(|input| match &input.what {
                What::Observed(observation) => Some(observation.href.clone()),
                _ => None,
            })
            .collect();
        for (href, row) in self.state.entities.iter().filter(|(href, _)| !seen.contains(&***href)) {
            let (kind, fields, is_known) = (row.kind.clone(), row.fields.clone(), row.is_known);
            let row = EntityRow { kind, fields, is_known, ..EntityRow::default() };
            beside.state.entities.insert(Arc::clone(href), row);
        }
        beside.derive();
        let mut sequence = 1;
        for Input { clock, what, .. } in past {
            let what = match what {
                What::Observed(_) | What::Event(_) => what,
                _ => What::Clock,
            };
            sequence += 1;
            beside.step(input(sequence, clock, what), &mut ignored);
            ignored.clear();
        }
        beside.step(input(sequence + 1, Some(now), What::Clock), &mut ignored);
        beside
    }
}

/// Takes over what a rule waits for; whose issue it is and whether it is silent stay.
fn take_over(row: &mut EntityRow, number: u16, role: Role, theirs: &CellRow) {
    let mine = row.cells.get_mut(number, role);
    let (issue, is_suppressed) = (mine.issue.take(), mine.is_suppressed);
    *mine = CellRow { issue, is_suppressed, false_since: None, due: None, ..theirs.clone() };
    row.cells.settle(number, role);
}
