//! What each rule was worth: which orders it flagged, how many of these came to a bad end when nobody acted, how long
//! before that, and how long after what was wrong began.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::share;
use crate::runs::Run;

/// What a rule was worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleScore {
    /// The rule.
    pub rule: String,
    /// Issues that it opened while nobody acted.
    pub issues: u64,
    /// Orders that it flagged while nobody acted.
    pub flagged: usize,
    /// The same as a share of all orders.
    pub flagged_share: f64,
    /// The share of these that became unacceptable.
    pub precision: f64,
    /// The share of all unacceptable orders that it flagged.
    pub recall: f64,
    /// Minutes from the flag to the moment from which the order is unacceptable, of those that became so.
    pub lead_minutes: Option<Percentiles>,
    /// Minutes from when something began to be wrong with an order to the flag.
    pub latency_minutes: Option<Percentiles>,
    /// How often people opened one of its issues, when they acted.
    pub investigations: u64,
    /// In how many of these there was something to mend.
    pub fruitful_investigations: u64,
}

/// The lowest tenth, the middle, the highest tenth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// A tenth is below.
    pub p10: f64,
    /// Half is below.
    pub p50: f64,
    /// Nine tenths are below.
    pub p90: f64,
}

impl Percentiles {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |part: f64| values[((values.len() as f64 * part) as usize).min(last)];
        Some(Self { p10: at(0.1), p50: at(0.5), p90: at(0.9) })
    }
}

#[derive(Debug, Default)]
struct Tally {
    issues: u64,
    flagged: usize,
    bad: usize,
    lead: Vec<f64>,
    latency: Vec<f64>,
    investigations: u64,
    fruitful: u64,
}

/// The scores of all rules over runs.
pub(crate) fn scores(runs: &[Run]) -> Vec<RuleScore> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut orders = 0;
    let mut unacceptable = 0;
    for run in runs {
        for (rule, (looked, fruitful)) in &run.played.looked_at {
            let tally = tallies.entry(rule.clone()).or_default();
            tally.investigations += looked;
            tally.fruitful += fruitful;
        }
        let Some(idle) = &run.played.unattended else { continue };
        orders += run.played.figures.placed;
        unacceptable += idle.unacceptable.len();
        for (rule, opened) in &idle.opened {
            tallies.entry(rule.clone()).or_default().issues += opened;
        }
        for (rule, flags) in &idle.flags {
            let tally = tallies.entry(rule.clone()).or_default();
            for (order, at) in flags {
                tally.flagged += 1;
                if let Some(limit) = idle.unacceptable.get(order) {
                    tally.bad += 1;
                    tally.lead.push(limit.seconds_since(*at) as f64 / 60.0);
                }
                let begun = idle.onsets.of(*order).map(|(_, begun)| begun).filter(|begun| begun <= at).max();
                tally.latency.extend(begun.map(|begun| at.seconds_since(begun) as f64 / 60.0));
            }
        }
    }
    let score = |(rule, tally): (String, Tally)| RuleScore {
        rule,
        issues: tally.issues,
        flagged: tally.flagged,
        flagged_share: share(tally.flagged as u64, orders),
        precision: share(tally.bad as u64, tally.flagged),
        recall: share(tally.bad as u64, unacceptable),
        lead_minutes: Percentiles::of(tally.lead),
        latency_minutes: Percentiles::of(tally.latency),
        investigations: tally.investigations,
        fruitful_investigations: tally.fruitful,
    };
    tallies.into_iter().map(score).collect()
}
