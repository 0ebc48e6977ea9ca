//! The event log as the past of rules: reads inputs back as the engine took them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_bus::{Filter, hob_topics};
use hob_core::{Scope, TopicName, parse_duration};
use hob_wire::{Backtest, Event, FileText, Flaw, Issue, NewBacktest};

use crate::backtest::{Trial, backtest, combined, swept};
use crate::checkpoint::load_texts;
use crate::engine::Input;
use crate::handle::Watch;
use crate::inputs::{Taken, hob_topic, take, topics};
use crate::model::Rules;
use crate::rows::ScopeClock;
use crate::{Error, compile};

/// Events that one back-test replays; the newest count.
const INPUTS_MAX: usize = 2_000_000;
/// Events of one look into the log.
const PAGE: usize = 1_000;

impl Watch {
    /// What is wrong with a rule file among those in force.
    pub async fn check_text(&self, scope: &Scope, new: &FileText) -> Result<Vec<Flaw>, Error> {
        let files = match combined(&self.files_in_force(scope).await?, new) {
            Ok((files, _)) => files,
            Err(flaw) => return Ok(vec![flaw]),
        };
        Ok(compile(&files).err().unwrap_or_default())
    }

    async fn files_in_force(&self, scope: &Scope) -> Result<Vec<FileText>, Error> {
        match self.in_force(scope)?.digest() {
            Some(digest) => load_texts(self.blobs(), &digest).await,
            None => Ok(Vec::new()),
        }
    }

    /// Tries a rule file on the log. [`Error::BadRules`] when it is wrong.
    pub async fn backtest(&self, scope: &Scope, new: NewBacktest) -> Result<Backtest, Error> {
        let bad = |what: String| {
            let flaw = Flaw { file: new.file.clone(), line: 1, column: 1, what, hint: None };
            Error::BadRules { flaws: vec![flaw] }
        };
        let since = match new.since.as_deref().map(parse_duration) {
            Some(Ok(since)) => Some(since),
            Some(Err(error)) => return Err(bad(format!("failed to {error}"))),
            None => None,
        };
        let file = FileText { file: new.file.clone(), text: new.text.clone() };
        let in_force = self.files_in_force(scope).await?;
        let mut versions = vec![(None, file.clone())];
        if let Some(sweep) = &new.sweep {
            let swept = swept(&file, sweep).map_err(bad)?;
            versions.extend(swept.into_iter().map(|(with, file)| (Some(with), file)));
        }
        let mut trials = Vec::new();
        let mut about = BTreeSet::new();
        for (with, file) in versions {
            let (files, names) =
                combined(&in_force, &file).map_err(|flaw| Error::BadRules { flaws: vec![flaw] })?;
            about.extend(names);
            let rules = compile(&files).map_err(|flaws| Error::BadRules { flaws })?;
            trials.push(Trial { with, rules: Arc::new(rules) });
        }
        let clock = self.clock_of(scope)?;
        let now = self.in_force(scope)?;
        let rules: Vec<&Rules> = trials.iter().map(|trial| &*trial.rules).chain([&*now]).collect();
        let (inputs, is_cut) = self.past(scope, &rules, &clock, since).await?;
        let acted = self.acted(scope).await?;
        let (scope, before) = (scope.clone(), now.digest().map(|_| Arc::clone(&now)));
        let work = move || backtest(&scope, trials, before, &about, inputs, &acted);
        let mut report = tokio::task::spawn_blocking(work).await.map_err(|error| Error::Store {
            action: "replay the past".to_owned(),
            reason: error.to_string(),
        })?;
        if is_cut {
            report.notes.push(format!("there is more; the newest {INPUTS_MAX} events were replayed"));
        }
        Ok(report)
    }

    /// Inputs of the last while on the scope's clock, and whether there were more than are read.
    async fn past(
        &self,
        scope: &Scope,
        rules: &[&Rules],
        clock: &ScopeClock,
        since: Option<Duration>,
    ) -> Result<(Vec<Input>, bool), Error> {
        let wanted: BTreeSet<TopicName> = rules.iter().flat_map(|rules| topics(rules, clock)).collect();
        let filter = Filter::topics(scope.clone(), wanted.into_iter().collect());
        let events = self.read_all(&filter).await?;
        let is_cut = events.len() > INPUTS_MAX;
        let skipped = events.len().saturating_sub(INPUTS_MAX);
        let inputs = events.into_iter().skip(skipped).filter_map(|event| match take(event, clock) {
            Taken::Input(input) => Some(*input),
            Taken::Rules { .. } | Taken::Nothing => None,
        });
        let mut inputs: Vec<Input> = inputs.collect();
        // Hob's own records are on the wall clock: how far back counts by the inputs that move the scope's.
        if let (Some(since), Some(newest)) = (since, inputs.iter().filter_map(|input| input.clock).max()) {
            let from = newest.minus(since);
            let begin = inputs.iter().position(|input| input.clock.is_some_and(|clock| clock >= from));
            inputs.drain(..begin.unwrap_or(0));
        }
        Ok((inputs, is_cut))
    }

    async fn read_all(&self, filter: &Filter) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        let mut after = Some(0);
        while let Some(from) = after {
            let page = match self.bus().events(filter, from, PAGE).await {
                Err(hob_bus::Error::CursorExpired { oldest, .. }) if oldest > from + 1 => {
                    after = Some(oldest - 1);
                    continue;
                }
                page => page?,
            };
            events.extend(page.events);
            if events.len() > 2 * INPUTS_MAX {
                events.drain(..INPUTS_MAX);
            }
            after = page.next;
        }
        Ok(events)
    }

    /// Entities of issues that somebody acknowledged, resolved or acted on.
    async fn acted(&self, scope: &Scope) -> Result<BTreeSet<String>, Error> {
        let filter = Filter::topics(scope.clone(), vec![hob_topic(hob_topics::ISSUES)]);
        let mut acted = BTreeSet::new();
        for event in self.read_all(&filter).await? {
            let Some(data) = event.data else { continue };
            let by_rule = data["actor"].as_str().is_some_and(|actor| actor.starts_with("rule/"));
            if by_rule && data["transition"] != "acted" {
                continue;
            }
            if let Ok(issue) = serde_json::from_value::<Issue>(data["issue"].clone()) {
                acted.extend(issue.affects);
                acted.insert(issue.about);
            }
        }
        Ok(acted)
    }
}
