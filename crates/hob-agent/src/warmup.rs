//! Warms an instance up: the requests that its descriptor names, in rounds, before it is called ready.

use std::time::Duration;

use hob_wire::Warmup;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::probe;

/// One request of a warm-up may take this long.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What rounds have shown so far. Pure.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    done: u32,
    p95_ms: u64,
    failed: u32,
}

impl Rounds {
    /// Takes in the times of a round, and how many of its requests failed.
    fn add(&mut self, mut times_ms: Vec<u64>, failed: u32) {
        times_ms.sort_unstable();
        let index = (times_ms.len() * 95).div_ceil(100).saturating_sub(1);
        (self.done, self.failed) = (self.done + 1, failed);
        self.p95_ms = times_ms.get(index).copied().unwrap_or(0);
    }

    fn is_warm(&self, terms: &Warmup) -> bool {
        self.done >= terms.rounds.max(1) && terms.until_p95_ms.is_none_or(|until| self.p95_ms <= until)
    }

    fn progress(&self, terms: &Warmup) -> String {
        let mut text = format!("warming: {} of {} rounds", self.done, terms.rounds.max(1));
        if self.done > 0 {
            text.push_str(&format!(", p95 {} ms", self.p95_ms));
        }
        if let Some(until) = terms.until_p95_ms {
            text.push_str(&format!(" (until {until} ms)"));
        }
        if self.failed > 0 {
            text.push_str(&format!(", {} of the last round failed", self.failed));
        }
        text
    }
}

/// Sends rounds until it is warm, or for as long as it may take; says how in the end.
pub(crate) async fn warm(
    client: reqwest::Client,
    address: String,
    host: Option<String>,
    terms: Warmup,
    progress: watch::Sender<String>,
) -> String {
    let begun = Instant::now();
    let until = begun + Duration::from_millis(terms.max_ms);
    let mut rounds = Rounds::default();
    while !rounds.is_warm(&terms) && Instant::now() < until {
        progress.send_replace(rounds.progress(&terms));
        let (mut times, mut failed) = (Vec::new(), 0);
        for path in &terms.requests {
            let left = until.saturating_duration_since(Instant::now()).min(REQUEST_MAX);
            let sent = Instant::now();
            let answer = probe::get(&client, &address, path, host.as_deref(), left).await;
            failed += u32::from(!answer.is_ok_and(|status| status.is_success()));
            times.push(u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX));
            if Instant::now() >= until {
                break;
            }
        }
        rounds.add(times, failed);
    }
    let how = if rounds.is_warm(&terms) { "warm" } else { "not warm when its time was up" };
    let took = hob_core::format_duration(Duration::from_millis(
        u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    ));
    format!("{how} after {took}; {}", rounds.progress(&terms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_on_until_they_are_enough_and_quick() {
        let terms = Warmup { rounds: 2, until_p95_ms: Some(80), ..Warmup::default() };
        let mut rounds = Rounds::default();
        rounds.add((1..=100).collect(), 0);
        assert!(!rounds.is_warm(&terms), "one round is not enough");
        assert_eq!(rounds.progress(&terms), "warming: 1 of 2 rounds, p95 95 ms (until 80 ms)");
        rounds.add(vec![10, 90], 1);
        assert!(!rounds.is_warm(&terms), "one of two is the 95th percentile");
        assert!(rounds.progress(&terms).ends_with("1 of the last round failed"));
        rounds.add(vec![10, 80], 0);
        assert!(rounds.is_warm(&terms));
        assert!(!Rounds::default().is_warm(&Warmup::default()), "one round at least");
    }
}
