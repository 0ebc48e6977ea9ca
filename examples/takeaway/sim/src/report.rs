//! What came of the runs: for programs as JSON, for people as a table.

use console::style;
use serde::Serialize;

use crate::runs::Run;
use crate::score::{RuleScore, scores};

/// The figures of all runs together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Orders that were placed.
    pub orders: usize,
    /// How often somebody opened an order or an issue, for each order.
    pub investigations_per_order: f64,
    /// The share of orders that were never delivered or later than is acceptable, from 0 to 1.
    pub unacceptable: f64,
    /// What each rule was worth; none in the modes without rules.
    pub rules: Vec<RuleScore>,
    /// How often somebody opened an order or an issue.
    pub investigations: u64,
    /// In how many of these there was something to mend.
    pub fruitful_investigations: u64,
    /// Orders that were never delivered or later than is acceptable.
    pub unacceptable_orders: usize,
    /// Orders that were delivered after their quote.
    pub late_orders: usize,
    /// Each run.
    pub runs: Vec<RunReport>,
}

/// The figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// The day's name.
    pub day: String,
    /// The seed.
    pub seed: u64,
    /// Orders that were placed.
    pub orders: usize,
    /// The most that were open at once.
    pub peak: usize,
    /// How many people there were.
    pub operators: usize,
    /// How often somebody opened an order or an issue.
    pub investigations: u64,
    /// Orders that were never delivered or later than is acceptable.
    pub unacceptable_orders: usize,
}

impl Report {
    /// The figures of runs.
    pub fn of(runs: &[Run]) -> Self {
        let sum = |count: fn(&Run) -> usize| runs.iter().map(count).sum::<usize>();
        let orders = sum(|run| run.played.figures.placed);
        let unacceptable_orders = sum(|run| run.played.figures.unacceptable);
        let investigations = runs.iter().map(|run| run.played.investigations).sum();
        Self {
            orders,
            investigations_per_order: share(investigations, orders),
            unacceptable: share(unacceptable_orders as u64, orders),
            rules: scores(runs),
            investigations,
            fruitful_investigations: runs.iter().map(|run| run.played.fruitful).sum(),
            unacceptable_orders,
            late_orders: sum(|run| run.played.figures.late),
            runs: runs.iter().map(RunReport::of).collect(),
        }
    }
}

impl RunReport {
    fn of(run: &Run) -> Self {
        Self {
            day: run.day.clone(),
            seed: run.seed,
            orders: run.played.figures.placed,
            peak: run.played.peak,
            operators: run.played.operators,
            investigations: run.played.investigations,
            unacceptable_orders: run.played.figures.unacceptable,
        }
    }
}

/// A share of `whole`; nothing of nothing is 0.
pub(crate) fn share(part: u64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The report as people read it.
pub fn table(report: &Report) -> String {
    let rows = [
        ("orders", report.orders.to_string()),
        ("investigations", report.investigations.to_string()),
        ("  for each order", format!("{:.4}", report.investigations_per_order)),
        ("  that found something", report.fruitful_investigations.to_string()),
        ("late", percent(share(report.late_orders as u64, report.orders))),
        ("unacceptable", percent(report.unacceptable)),
    ];
    let lines = rows.map(|(name, value)| format!("{} {value:>10}\n", style(format!("{name:<24}")).dim()));
    lines.concat() + &rule_table(&report.rules)
}

/// A line for each rule; the first four figures are of days on which nobody acted.
fn rule_table(rules: &[RuleScore]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let width = rules.iter().map(|score| score.rule.len()).max().unwrap_or(0);
    let heads = ["flagged", "precision", "recall", "lead p10/50/90", "latency p50/90", "looked at", "found"];
    let head = format!(
        "\n{:width$} {:>9} {:>9} {:>7} {:>16} {:>15} {:>9} {:>6}\n",
        "rule", heads[0], heads[1], heads[2], heads[3], heads[4], heads[5], heads[6]
    );
    let line = |score: &RuleScore| {
        let minutes = |values: &[f64]| {
            let texts: Vec<String> = values.iter().map(|value| format!("{value:.0}")).collect();
            format!("{} min", texts.join("/"))
        };
        let lead = score.lead_minutes.map(|lead| minutes(&[lead.p10, lead.p50, lead.p90]));
        let latency = score.latency_minutes.map(|latency| minutes(&[latency.p50, latency.p90]));
        format!(
            "{:width$} {:>9} {:>9.2} {:>7.2} {:>16} {:>15} {:>9} {:>6}\n",
            score.rule,
            percent(score.flagged_share),
            score.precision,
            score.recall,
            lead.unwrap_or_default(),
            latency.unwrap_or_default(),
            score.investigations,
            score.fruitful_investigations,
        )
    };
    let lines: String = rules.iter().map(line).collect();
    style(head).dim().to_string() + &lines
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
