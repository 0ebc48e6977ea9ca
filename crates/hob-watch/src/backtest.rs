//! Tries rules on inputs of the past: what they would have opened, how much of it was right, and how early.
//!
//! A pure function over an iterator of inputs. Commands, and rules of the past, are passed over; all versions of the rules
//! see the same inputs in one pass. The truth is the `outcome` of an entity kind, told by the newest fields that the log has
//! of each entity once it ended.

mod combine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_core::{Scope, Timestamp};
use hob_wire::{Backtest, BacktestSample, Issue, IssueState, RuleTrial};

use crate::engine::{Engine, Input, Output, What};
use crate::model::{Budget, Rules};
pub use combine::{combined, swept};

/// Issues that a report shows of each rule.
const SAMPLES: usize = 10;
/// Pieces of evidence that a sample shows.
const TIMELINE: usize = 20;
/// The outcome that counts when a kind has several.
const OUTCOME: &str = "unacceptable";

/// A version of the rules that is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What is different in it: `for=5m`.
    pub with: Option<String>,
    /// The rules.
    pub rules: Arc<Rules>,
}

/// How an entity ended.
#[derive(Clone, Copy, Debug)]
struct Truth {
    has_ended: bool,
    is_bad: bool,
    too_late: Timestamp,
}

/// An issue that would have been.
struct Opened {
    key: String,
    issue: Issue,
    latency: f64,
}

/// One version at work.
struct Run {
    engine: Engine,
    with: Option<String>,
    out: Vec<Output>,
    /// When each entity was first flagged, by rule.
    flagged: BTreeMap<String, BTreeMap<String, Timestamp>>,
    opened: BTreeMap<String, Vec<Opened>>,
    open: BTreeMap<String, u64>,
    open_most: BTreeMap<String, u64>,
}

/// Tries versions of the rules on the past. `about` names the rules that are reported; `acted` the entities that people or
/// rules acted on, whose outcomes are not what they would have been.
pub fn backtest(
    scope: &Scope,
    trials: Vec<Trial>,
    in_force: Option<Arc<Rules>>,
    about: &BTreeSet<String>,
    inputs: impl IntoIterator<Item = Input>,
    acted: &BTreeSet<String>,
) -> Backtest {
    let Some(first) = trials.first().map(|trial| Arc::clone(&trial.rules)) else {
        return Backtest::default();
    };
    let (kind, outcome) = truth_of(&first, about).unwrap_or_default();
    let mut runs: Vec<Run> =
        trials.into_iter().map(|trial| Run::new(scope, trial.with, trial.rules)).collect();
    let mut before = in_force.map(|rules| Run::new(scope, None, rules));
    let mut truths: BTreeMap<String, Truth> = BTreeMap::new();
    let mut report = Backtest { kind, outcome, ..Backtest::default() };
    for (sequence, input) in (2..).zip(inputs) {
        let what = match input.what {
            What::Observed(_) | What::Event(_) | What::Clock => input.what,
            _ => What::Clock,
        };
        let seen = match &what {
            What::Observed(observation) if !report.outcome.is_empty() => Some(observation.href.clone()),
            _ => None,
        };
        let input = Input { sequence, recorded: input.recorded, clock: input.clock, what };
        for run in runs.iter_mut().chain(&mut before) {
            run.step(input.clone());
        }
        let engine = &runs[0].engine;
        if let Some(href) = seen {
            note_truth(engine, href, &report.outcome, &mut truths);
        }
        if report.inputs == 0 || report.since == Timestamp::EPOCH {
            report.since = engine.clock();
        }
        report.inputs += 1;
        report.until = engine.clock();
    }
    let ended = || truths.values().filter(|truth| truth.has_ended);
    report.entities = ended().count() as u64;
    report.bad = ended().filter(|truth| truth.is_bad).count() as u64;
    report.open = truths.len() as u64 - report.entities;
    report.acted =
        truths.iter().filter(|(href, truth)| truth.has_ended && acted.contains(*href)).count() as u64;
    for rule in about {
        for run in &runs {
            report.rules.push(run.report(rule, before.as_ref(), &truths, acted, &report));
        }
    }
    report.notes = notes(&report);
    report
}

/// The kind and the outcome that tell the truth: of what the rules are about, else of any kind that has one.
fn truth_of(rules: &Rules, about: &BTreeSet<String>) -> Option<(String, String)> {
    let with_outcome = |kind: &&Arc<crate::model::EntityKind>| !kind.outcome.is_empty();
    let own =
        about.iter().filter_map(|rule| rules.entities.get(&rules.rules.get(rule)?.about)).find(with_outcome);
    let kind = own.or_else(|| rules.entities.values().find(with_outcome))?;
    let outcome = kind.outcome.get_key_value(OUTCOME).or_else(|| kind.outcome.iter().next())?;
    Some((kind.name.clone(), outcome.0.clone()))
}

fn note_truth(engine: &Engine, href: String, outcome: &str, truths: &mut BTreeMap<String, Truth>) {
    let Some(now) = engine.outcome(&href, outcome) else { return };
    let too_late = now.too_late.unwrap_or_else(|| engine.clock());
    truths.insert(href, Truth { has_ended: now.has_ended, is_bad: now.is_bad, too_late });
}

fn notes(report: &Backtest) -> Vec<String> {
    let mut notes = Vec::new();
    if report.outcome.is_empty() {
        notes.push("no kind of entity has an `outcome`: precision and recall cannot be told".to_owned());
    }
    if report.acted > 0 {
        notes.push(format!(
            "{} of {} entities were acted on: what would have become of them is not known, so precision counts the others \
             alone",
            report.acted, report.entities
        ));
    }
    if report.open > 0 {
        notes.push(format!("{} entities had not ended and count nowhere", report.open));
    }
    notes
}

impl Run {
    fn new(scope: &Scope, with: Option<String>, rules: Arc<Rules>) -> Self {
        let mut engine = Engine::trial(scope.clone());
        let what = What::Rules { rules, is_other_clock: false };
        engine.step(Input { sequence: 1, recorded: Timestamp::EPOCH, clock: None, what }, &mut Vec::new());
        Self {
            engine,
            with,
            out: Vec::new(),
            flagged: BTreeMap::new(),
            opened: BTreeMap::new(),
            open: BTreeMap::new(),
            open_most: BTreeMap::new(),
        }
    }

    fn step(&mut self, input: Input) {
        self.engine.step(input, &mut self.out);
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Transition { transition, .. } => {
                    self.transition(&transition.transition, &transition.issue)
                }
                Output::Touched { issue } => {
                    if let Some(issue) = self.engine.issue(&issue).cloned() {
                        self.flag(&issue);
                    }
                }
                _ => {}
            }
        }
    }

    fn transition(&mut self, transition: &str, issue: &Issue) {
        let open = self.open.entry(issue.rule.clone()).or_default();
        match transition {
            "opened" | "reopened" => {
                *open += 1;
                let most = self.open_most.entry(issue.rule.clone()).or_default();
                *most = (*most).max(*open);
            }
            "resolved" => *open = open.saturating_sub(1),
            _ => {}
        }
        if issue.state == IssueState::Resolved {
            return;
        }
        self.flag(issue);
        if transition == "opened" {
            let now = self.engine.clock();
            let since = self.engine.since(&issue.rule, &issue.about).unwrap_or(now);
            let latency = now.since(since).as_secs_f64();
            let opened = Opened { key: issue.key.clone(), issue: issue.clone(), latency };
            self.opened.entry(issue.rule.clone()).or_default().push(opened);
        }
    }

    fn flag(&mut self, issue: &Issue) {
        let now = self.engine.clock();
        let flagged = self.flagged.entry(issue.rule.clone()).or_default();
        for href in issue.affects.iter().chain([&issue.about]) {
            flagged.entry(href.clone()).or_insert(now);
        }
    }

    fn report(
        &self,
        rule: &str,
        before: Option<&Self>,
        truths: &BTreeMap<String, Truth>,
        acted: &BTreeSet<String>,
        all: &Backtest,
    ) -> RuleTrial {
        let opened = self.opened.get(rule).map_or(&[][..], Vec::as_slice);
        let nobody = BTreeMap::new();
        let flagged = self.flagged.get(rule).unwrap_or(&nobody);
        let ended: Vec<(&String, Timestamp, &Truth)> = flagged
            .iter()
            .filter_map(|(href, at)| Some((href, *at, truths.get(href).filter(|truth| truth.has_ended)?)))
            .collect();
        let tally = |is_acted: bool| {
            let those = || ended.iter().filter(|(href, ..)| acted.contains(*href) == is_acted);
            [those().count() as u64, those().filter(|(.., truth)| truth.is_bad).count() as u64]
        };
        let bad = ended.iter().filter(|(.., truth)| truth.is_bad);
        let leads: Vec<f64> =
            bad.clone().map(|(_, at, truth)| seconds_between(*at, truth.too_late)).collect();
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let unacted = tally(false);
        let keys = |run: &Self| -> BTreeSet<String> {
            run.opened.get(rule).into_iter().flatten().map(|opened| opened.key.clone()).collect()
        };
        let own = keys(self);
        let other = before.filter(|run| run.engine.rules().rules.contains_key(rule)).map(keys);
        let (issues, flagged) = (opened.len() as u64, ended.len() as u64);
        let mut trial = RuleTrial {
            rule: rule.to_owned(),
            with: self.with.clone(),
            issues,
            issues_per_entity: share(issues, all.entities).unwrap_or_default(),
            open_most: self.open_most.get(rule).copied().unwrap_or_default(),
            flagged,
            flagged_share: share(flagged, all.entities).unwrap_or_default(),
            precision: share(unacted[1], unacted[0]),
            recall: share(bad.count() as u64, all.bad),
            unacted,
            acted: tally(true),
            lead: quantiles(leads),
            latency: quantiles(opened.iter().map(|opened| opened.latency).collect()),
            extra: other.as_ref().map(|other| own.difference(other).count() as u64),
            missed: other.as_ref().map(|other| other.difference(&own).count() as u64),
            over_budget: Vec::new(),
            samples: samples(opened, truths),
        };
        let budget = self.engine.rules().rules.get(rule).map(|rule| rule.budget).unwrap_or_default();
        trial.over_budget = over_budget(budget, &trial);
        trial
    }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_micros() - from.as_micros()) as f64 / 1e6
}

/// The tenth, fiftieth and ninetieth of a hundred.
fn quantiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |part: f64| values[((values.len() as f64 * part) as usize).min(last)];
    Some([at(0.1), at(0.5), at(0.9)])
}

fn over_budget(budget: Budget, trial: &RuleTrial) -> Vec<String> {
    let mut over = Vec::new();
    if let Some(most) = budget.per_entity.filter(|most| trial.issues_per_entity > *most) {
        over.push(format!("{:.4} issues for each entity; at most {most}", trial.issues_per_entity));
    }
    if let Some(most) = budget.max_open.filter(|most| trial.open_most > u64::from(*most)) {
        over.push(format!("{} open at a time; at most {most}", trial.open_most));
    }
    over
}

/// Issues from the beginning to the end of the time, as many as a person reads.
fn samples(opened: &[Opened], truths: &BTreeMap<String, Truth>) -> Vec<BacktestSample> {
    let step = opened.len().div_ceil(SAMPLES).max(1);
    let sample = |opened: &Opened| {
        let issue = &opened.issue;
        let touched = issue.affects.iter().chain([&issue.about]);
        let ends: Vec<bool> = touched
            .filter_map(|href| truths.get(href).filter(|truth| truth.has_ended))
            .map(|truth| truth.is_bad)
            .collect();
        let mut timeline = issue.evidence.clone();
        timeline.truncate(TIMELINE);
        BacktestSample {
            title: issue.title.clone(),
            about: issue.about.clone(),
            opened: issue.opened,
            bad: (!ends.is_empty()).then(|| ends.iter().any(|is_bad| *is_bad)),
            timeline,
        }
    };
    opened.iter().step_by(step).map(sample).collect()
}

#[cfg(test)]
mod tests;
