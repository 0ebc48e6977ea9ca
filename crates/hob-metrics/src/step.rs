//! Rolls rows up into points: pure, so that the same rows always give the same series.

use std::collections::BTreeMap;

use hob_core::{Histogram, Timestamp};
use hob_wire::{Point, Series};

use crate::error::Error;
use crate::model::{Query, SERIES_MAX, Value};
use crate::rows::Row;

/// What identifies a series in an answer: name and labels.
type Key = (String, Vec<(String, String)>);

/// Points of one series by step.
#[derive(Default)]
struct Steps {
    counts: BTreeMap<i64, f64>,
    gauges: BTreeMap<i64, f64>,
    timings: BTreeMap<i64, Histogram>,
}

/// Gathers rows, in the order in which they arrived, into series.
pub(crate) struct RollUp<'q> {
    query: &'q Query,
    step_micros: i64,
    series: BTreeMap<Key, Steps>,
}

impl<'q> RollUp<'q> {
    /// Nothing yet.
    pub(crate) fn new(query: &'q Query) -> Self {
        let micros = i64::try_from(query.step.as_micros()).unwrap_or(i64::MAX).max(1);
        Self { query, step_micros: micros, series: BTreeMap::new() }
    }

    /// Takes a row in.
    pub(crate) fn take(&mut self, row: Row) -> Result<(), Error> {
        let query = self.query;
        let in_range = row.time >= query.from && row.time < query.to;
        if !in_range || row.scope != query.scope || query.service.as_ref().is_some_and(|s| *s != row.service)
        {
            return Ok(());
        }
        let step = row.time.as_micros().div_euclid(self.step_micros) * self.step_micros;
        for mut sample in row.samples {
            let instance = sample.labels.remove("instance");
            if !query.takes_name(&sample.name) || (query.instance.is_some() && query.instance != instance) {
                continue;
            }
            let mut labels: Vec<(String, String)> = sample.labels.into_iter().collect();
            labels.push(("service".to_owned(), row.service.to_string()));
            let steps = self.series.entry((sample.name, labels)).or_default();
            match sample.value {
                Value::Count(count) => *steps.counts.entry(step).or_default() += count,
                Value::Gauge(value) => {
                    steps.gauges.insert(step, value);
                }
                Value::Delta(by) => {
                    let before = steps.gauges.last_key_value().map_or(0.0, |(_, value)| *value);
                    steps.gauges.insert(step, before + by);
                }
                Value::Timing(histogram) => steps.timings.entry(step).or_default().merge(&histogram),
            }
        }
        if self.series.len() > SERIES_MAX { Err(Error::Series) } else { Ok(()) }
    }

    /// The series: one per statistic, by name.
    pub(crate) fn finish(self) -> Vec<Series> {
        let query = self.query;
        let mut all = Vec::new();
        for ((name, labels), steps) in self.series {
            let mut labels: BTreeMap<String, String> = labels.into_iter().collect();
            labels.insert("environment".to_owned(), query.scope.environment.to_string());
            labels.insert("tenant".to_owned(), query.scope.tenant.to_string());
            if let Some(instance) = &query.instance {
                labels.insert("instance".to_owned(), instance.clone());
            }
            let mut add = |statistic: &str, points: Vec<Point>| {
                if !points.is_empty() {
                    let (name, labels) = (name.clone(), labels.clone());
                    all.push(Series { name, labels, statistic: statistic.to_owned(), points });
                }
            };
            add("count", points(&steps.counts, |count| Some(*count)));
            add("gauge", points(&steps.gauges, |value| Some(*value)));
            add("calls", points(&steps.timings, |h| Some(h.count as f64)));
            add("mean", points(&steps.timings, Histogram::mean));
            for (statistic, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
                add(statistic, points(&steps.timings, |h| h.quantile(q)));
            }
        }
        all
    }
}

fn points<T>(steps: &BTreeMap<i64, T>, value: impl Fn(&T) -> Option<f64>) -> Vec<Point> {
    let point = |(step, held): (&i64, &T)| {
        value(held).map(|value| Point { time: Timestamp::from_micros(*step), value })
    };
    steps.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rows::RowSample;

    fn row(second: i64, instance: &str, value: Value) -> Row {
        let labels = BTreeMap::from([("instance".to_owned(), instance.to_owned())]);
        Row {
            time: Timestamp::from_micros(second * 1_000_000),
            scope: "demo/uk".parse().unwrap(),
            service: "orders".parse().unwrap(),
            samples: vec![RowSample { name: "placed".to_owned(), labels, value }],
        }
    }

    fn check(instance: Option<&str>, rows: Vec<Row>, expect: &[(&str, &[(i64, f64)])]) {
        let query = Query {
            scope: "demo/uk".parse().unwrap(),
            name: Some("pla*".to_owned()),
            service: None,
            instance: instance.map(str::to_owned),
            from: Timestamp::EPOCH,
            to: Timestamp::from_micros(100_000_000),
            step: Duration::from_secs(10),
        };
        let mut roll_up = RollUp::new(&query);
        for row in rows {
            roll_up.take(row).unwrap();
        }
        let told: Vec<(String, Vec<(i64, f64)>)> = roll_up
            .finish()
            .into_iter()
            .map(|s| {
                let points = s.points.iter().map(|p| (p.time.as_micros() / 1_000_000, p.value)).collect();
                (s.statistic, points)
            })
            .collect();
        let expect: Vec<(String, Vec<(i64, f64)>)> =
            expect.iter().map(|(name, points)| ((*name).to_owned(), points.to_vec())).collect();
        assert_eq!(told, expect);
    }

    #[test]
    fn counts_of_instances_add_up_and_one_can_be_singled_out() {
        let rows = || {
            vec![
                row(1, "a", Value::Count(2.0)),
                row(9, "b", Value::Count(3.0)),
                row(10, "a", Value::Count(1.0)),
                row(100, "a", Value::Count(9.0)),
            ]
        };
        check(None, rows(), &[("count", &[(0, 5.0), (10, 1.0)])]);
        check(Some("b"), rows(), &[("count", &[(0, 3.0)])]);
    }

    #[test]
    fn gauges_keep_the_last_and_deltas_build_on_it() {
        let rows = vec![
            row(1, "a", Value::Gauge(5.0)),
            row(2, "a", Value::Delta(-2.0)),
            row(11, "a", Value::Delta(1.0)),
        ];
        check(None, rows, &[("gauge", &[(0, 3.0), (10, 4.0)])]);
    }

    #[test]
    fn timings_merge_before_quantiles_are_taken() {
        let timing = |value| {
            let mut histogram = Histogram::default();
            histogram.record(value);
            Value::Timing(histogram)
        };
        let rows = vec![row(1, "a", timing(1.0)), row(2, "b", timing(1.0))];
        let one: &[(i64, f64)] = &[(0, 1.0)];
        check(None, rows, &[("calls", &[(0, 2.0)]), ("mean", one), ("p50", one), ("p90", one), ("p99", one)]);
    }
}
