//! A router's report as samples, so that requests and latencies are series like all others.

use std::collections::BTreeMap;

use hob_metrics::{Sample, Value};
use hob_wire::RouterReport;

/// Requests that ended.
pub(crate) const REQUESTS: &str = "http.requests";
/// Those that failed.
pub(crate) const ERRORS: &str = "http.errors";
/// How long they took, in seconds.
pub(crate) const LATENCY: &str = "http.latency";

/// The samples that a report tells: none for instances without requests.
pub(crate) fn samples(report: &RouterReport) -> Vec<Sample> {
    let mut samples = Vec::new();
    for traffic in report.instances.iter().filter(|traffic| traffic.requests > 0) {
        let labels = BTreeMap::from([
            ("instance".to_owned(), traffic.instance.clone()),
            ("release".to_owned(), traffic.release.to_string()),
        ]);
        let mut add = |name: &str, value| {
            samples.push(Sample {
                time: report.to,
                scope: traffic.scope.clone(),
                service: traffic.service.clone(),
                name: name.to_owned(),
                labels: labels.clone(),
                value,
            });
        };
        add(REQUESTS, Value::Count(traffic.requests as f64));
        add(LATENCY, Value::Timing(traffic.latency.clone()));
        if traffic.errors > 0 {
            add(ERRORS, Value::Count(traffic.errors as f64));
        }
    }
    samples
}
