//! What the gates of a release say of the requests that were seen. Pure.

use std::collections::BTreeMap;

use hob_core::Histogram;
use hob_wire::{Gate, GateEvidence, Verdict};

use super::rank;
use crate::traffic::Tally;

/// Buckets of a histogram to the doubling.
const PER_DOUBLING: f64 = 8.0;

/// What is compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sides {
    /// The new release's instances.
    pub(super) new: Tally,
    /// As many fresh ones of the release before.
    pub(super) control: Tally,
    /// All of the release before.
    pub(super) old: Tally,
}

/// What one gate says.
pub(super) fn evidence(gate: &Gate, sides: &Sides) -> GateEvidence {
    match gate {
        Gate::ErrorRatio { max, min_requests } => error_ratio(*max, *min_requests, sides),
        Gate::Latency { tolerance, confidence, min_requests } => {
            latency(*tolerance, *confidence, *min_requests, sides)
        }
    }
}

fn error_ratio(max: f64, min_requests: u64, sides: &Sides) -> GateEvidence {
    let ratio = |tally: &Tally| (tally.requests > 0).then(|| tally.errors as f64 / tally.requests as f64);
    let (new, control) = (ratio(&sides.new), ratio(&sides.old));
    let requests = sides.new.requests;
    let share = new.unwrap_or(0.0);
    let verdict = match requests >= min_requests {
        false => Verdict::NoData,
        true if share > max => Verdict::Fail,
        true => Verdict::Pass,
    };
    let mut why =
        format!("{} of {} requests failed; at most {}", percent(share), grouped(requests), percent(max));
    if verdict == Verdict::NoData {
        why =
            format!("{} requests were seen; {} are needed to say", grouped(requests), grouped(min_requests));
    } else if let Some(control) = control {
        why.push_str(&format!("; {} of the release before", percent(control)));
    }
    GateEvidence { gate: "error_ratio".to_owned(), verdict, why, requests, new, control }
}

fn latency(tolerance: f64, confidence: f64, min_requests: u64, sides: &Sides) -> GateEvidence {
    let (new, control) = (&sides.new.latency, &sides.control.latency);
    let median = |histogram: &Histogram| histogram.quantile(0.5).map(|seconds| seconds * 1000.0);
    let (new_ms, control_ms) = (median(new), median(control));
    let gate = "latency".to_owned();
    let requests = new.count;
    // The control is made slower by the tolerance, in whole bins, rounded in favour of the new release.
    let shift = ((1.0 + tolerance).log2() * PER_DOUBLING).ceil() as i32;
    let bins = |histogram: &Histogram, shift: i32| -> BTreeMap<i32, u64> {
        histogram.buckets.iter().map(|(bucket, count)| (i32::from(*bucket) + shift, *count)).collect()
    };
    let chance = rank::greater_by_chance(&bins(new, 0), &bins(control, shift));
    let is_enough = new.count >= min_requests && control.count >= min_requests;
    let (Some(chance), Some(new_ms), Some(control_ms), true) = (chance, new_ms, control_ms, is_enough) else {
        let why = format!(
            "{} requests to the new instances and {} to the control were seen; {} each are needed to say",
            grouped(new.count),
            grouped(control.count),
            grouped(min_requests)
        );
        let verdict = Verdict::NoData;
        return GateEvidence { gate, verdict, why, requests, new: new_ms, control: control_ms };
    };
    let bar = 1.0 - confidence;
    let is_slower = chance < bar;
    let chance = if chance < 0.0001 { "< 0.0001".to_owned() } else { format!("= {chance:.4}") };
    let why = format!(
        "half of {} requests took at most {new_ms:.1} ms, half of {} to the control {control_ms:.1} ms: {} more \
         than {} slower (p {chance}, the bar is {bar:.4})",
        grouped(new.count),
        grouped(control.count),
        if is_slower { "surely" } else { "not surely" },
        percent(tolerance),
    );
    let verdict = if is_slower { Verdict::Fail } else { Verdict::Pass };
    GateEvidence { gate, verdict, why, requests, new: Some(new_ms), control: Some(control_ms) }
}

/// `0.2 %`, with as many digits as say something.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `1,200`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u64, errors: u64, milliseconds: f64) -> Tally {
        let mut latency = Histogram::default();
        for request in 0..requests {
            latency.record(milliseconds / 1000.0 * (0.5 + (request % 100) as f64 / 100.0));
        }
        Tally { requests, errors, latency }
    }

    #[test]
    fn errors_are_counted_against_their_limit_once_there_are_enough() {
        let gate = Gate::ErrorRatio { max: 0.01, min_requests: 200 };
        let say = |requests, errors| {
            let sides =
                Sides { new: tally(requests, errors, 1.0), old: tally(5000, 5, 1.0), ..Sides::default() };
            let evidence = evidence(&gate, &sides);
            (evidence.verdict, evidence.why)
        };
        assert_eq!(say(199, 199).0, Verdict::NoData);
        assert_eq!(
            say(1200, 3),
            (
                Verdict::Pass,
                "0.25 % of 1,200 requests failed; at most 1 %; 0.1 % of the release before".to_owned()
            )
        );
        assert_eq!(say(1200, 13).0, Verdict::Fail);
    }

    #[test]
    fn latency_fails_only_beyond_its_tolerance() {
        let gate = Gate::Latency { tolerance: 0.25, confidence: 0.98, min_requests: 100 };
        let say = |new, control| {
            let sides =
                Sides { new: tally(1000, 0, new), control: tally(800, 0, control), ..Sides::default() };
            evidence(&gate, &sides)
        };
        assert_eq!(say(10.0, 10.0).verdict, Verdict::Pass);
        assert_eq!(say(12.0, 10.0).verdict, Verdict::Pass);
        let slow = say(20.0, 10.0);
        assert_eq!(slow.verdict, Verdict::Fail);
        assert!(
            slow.why.contains("of 1,000 requests") && slow.why.contains("surely more than 25 %"),
            "{slow:?}"
        );
        assert_eq!(say(5.0, 10.0).verdict, Verdict::Pass);
        let few = evidence(&gate, &Sides { new: tally(1000, 0, 50.0), ..Sides::default() });
        assert_eq!((few.verdict, few.control), (Verdict::NoData, None));
    }
}
