//! What judging rules costs, measured outside of the engine: it is told when a judgement begins and ends, and nothing that it
//! finds changes what the engine does until an input says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What one judgement may cost.
const JUDGEMENT_MAX: Duration = Duration::from_millis(1);
/// Judgements in a row that must cost more before a rule is switched off: a busy machine makes a few slow.
const TIMES: u32 = 20;

/// Is told what the engine judges.
pub trait Meter: Send {
    /// A judgement begins.
    fn begin(&mut self);
    /// The judgement of this rule is over.
    fn end(&mut self, rule: &str);
}

/// The engine's meter, when it has one.
#[derive(Default)]
pub(crate) struct Metered(pub(crate) Option<Box<dyn Meter>>);

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Metered" } else { "unmetered" })
    }
}

/// Rules that cost too much, each with what it cost; for whoever reports them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overruns(Arc<Mutex<BTreeMap<String, Duration>>>);

impl Overruns {
    /// Those that were found since the last look.
    pub(crate) fn take(&self) -> BTreeMap<String, Duration> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A meter by the machine's clock.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    begun: Option<Instant>,
    /// Judgements in a row that cost too much, by rule.
    slow: BTreeMap<String, u32>,
    overruns: Overruns,
}

impl Stopwatch {
    pub(crate) fn new(overruns: Overruns) -> Self {
        Self { begun: None, slow: BTreeMap::new(), overruns }
    }

    fn took(&mut self, rule: &str, cost: Duration) {
        if cost <= JUDGEMENT_MAX {
            if !self.slow.is_empty() {
                self.slow.remove(rule);
            }
            return;
        }
        let times = self.slow.entry(rule.to_owned()).or_default();
        *times += 1;
        if *times >= TIMES {
            self.slow.remove(rule);
            let mut overruns = self.overruns.0.lock().unwrap_or_else(PoisonError::into_inner);
            overruns.insert(rule.to_owned(), cost);
        }
    }
}

impl Meter for Stopwatch {
    fn begin(&mut self) {
        self.begun = Some(Instant::now());
    }

    fn end(&mut self, rule: &str) {
        if let Some(begun) = self.begun.take() {
            self.took(rule, begun.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_must_be_slow_many_times_in_a_row() {
        let overruns = Overruns::default();
        let mut watch = Stopwatch::new(overruns.clone());
        let (slow, quick) = (Duration::from_millis(2), Duration::from_micros(3));
        for _ in 1..TIMES {
            watch.took("a", slow);
            watch.took("b", quick);
        }
        watch.took("a", quick);
        assert!(overruns.take().is_empty());
        (0..TIMES).for_each(|_| watch.took("a", slow));
        assert_eq!(overruns.take(), [("a".to_owned(), slow)].into());
        assert!(overruns.take().is_empty());
    }
}
