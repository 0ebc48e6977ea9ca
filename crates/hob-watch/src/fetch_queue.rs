//! Which hrefs to fetch, when: pure decisions of the fetcher.
//!
//! However many notices name an entity, one fetch of it is under way at a time, and one more follows when a notice came
//! in between: the newest state is what counts. Failures are tried again, quickly at first, then slowly, and not for
//! ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Timestamp, TopicName};
use hob_wire::{Observation, sequence_text};

use crate::fetch::Fetched;

/// Fetches under way at one time.
pub(crate) const FETCHES_MAX: usize = 16;
/// Entities that may wait to be fetched; beyond them notices wait in the log.
pub(crate) const WAITING_MAX: usize = 10_000;
/// Entity tags that are remembered.
const ETAGS_MAX: usize = 100_000;
/// Pauses before a failed fetch is tried again, before rules are told of the failure.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];
/// The pause between attempts after rules were told.
const SLOW_PAUSE: Duration = Duration::from_secs(10);
/// Attempts until an entity is left alone until its next notice.
const ATTEMPTS_MAX: usize = 30;

/// A fetch to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) href: String,
    pub(crate) etag: Option<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    topic: TopicName,
    /// The oldest notice that no fetch has answered yet: what a crash must not lose.
    oldest: u64,
    newest: u64,
    attempts: usize,
    not_before: Timestamp,
    /// When the fetch under way began, by the scope's clock, and the newest notice then.
    running: Option<(Timestamp, u64)>,
    told_failure: bool,
}

/// The queue of one scope. `now` is always the wall clock.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: BTreeMap<String, Entry>,
    /// Waiting entries by when they may begin, then by their oldest notice.
    ready: BTreeSet<(Timestamp, u64, String)>,
    running: usize,
    etags: BTreeMap<String, String>,
    seen: u64,
}

impl Queue {
    pub(crate) fn new(cursor: u64) -> Self {
        Self { seen: cursor, ..Self::default() }
    }

    /// Whether notices must wait in the log.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= WAITING_MAX
    }

    /// Takes a notice.
    pub(crate) fn wanted(&mut self, href: &str, topic: &TopicName, sequence: u64, now: Timestamp) {
        self.seen = self.seen.max(sequence);
        if let Some(entry) = self.entries.get_mut(href) {
            entry.newest = sequence;
            if entry.running.is_none() && entry.attempts > 0 {
                // What failed before may be different now.
                self.ready.remove(&(entry.not_before, entry.oldest, href.to_owned()));
                entry.attempts = 0;
                entry.not_before = now;
                self.ready.insert((now, entry.oldest, href.to_owned()));
            }
            return;
        }
        let entry = Entry {
            topic: topic.clone(),
            oldest: sequence,
            newest: sequence,
            attempts: 0,
            not_before: now,
            running: None,
            told_failure: false,
        };
        self.ready.insert((now, sequence, href.to_owned()));
        self.entries.insert(href.to_owned(), entry);
    }

    /// Nothing is wanted up to here that was not told.
    pub(crate) fn passed(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    /// The next fetch to begin, when one may.
    pub(crate) fn next(&mut self, now: Timestamp, clock: Timestamp) -> Option<Job> {
        if self.running >= FETCHES_MAX || self.ready.first()?.0 > now {
            return None;
        }
        let (_, _, href) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&href)?;
        entry.running = Some((clock, entry.newest));
        self.running += 1;
        Some(Job { etag: self.etags.get(&href).cloned(), href })
    }

    /// When the next fetch may begin, if one waits for its time.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.ready.first().filter(|_| self.running < FETCHES_MAX).map(|(at, _, _)| *at)
    }

    /// Takes what a fetch came to, and says what rules are told: nothing when nothing changed, or while it is tried
    /// again soon.
    pub(crate) fn done(&mut self, href: &str, fetched: Fetched, now: Timestamp) -> Option<Observation> {
        let entry = self.entries.get_mut(href)?;
        let (clock, covered) = entry.running.take()?;
        self.running -= 1;
        if is_passing(&fetched) {
            return self.failed(href, fetched, clock, covered, now);
        }
        let had_failed = entry.told_failure;
        let observation = observation(href, entry, clock, covered, &fetched);
        if entry.newest > covered {
            (entry.oldest, entry.attempts, entry.not_before) = (covered + 1, 0, now);
            entry.told_failure = false;
            self.ready.insert((now, entry.oldest, href.to_owned()));
        } else {
            self.entries.remove(href);
        }
        self.remember(href, fetched.etag.filter(|_| observation.body.is_some() || fetched.status == 304));
        // The same as before says nothing new, unless rules were told that it was unknown.
        (fetched.status != 304 || had_failed).then_some(observation)
    }

    fn failed(
        &mut self,
        href: &str,
        fetched: Fetched,
        clock: Timestamp,
        covered: u64,
        now: Timestamp,
    ) -> Option<Observation> {
        let entry = self.entries.get_mut(href)?;
        let pause = PAUSES.get(entry.attempts).copied().unwrap_or(SLOW_PAUSE);
        let tell = entry.attempts >= PAUSES.len() && !entry.told_failure;
        entry.attempts += 1;
        entry.told_failure |= tell;
        let observation = tell.then(|| observation(href, entry, clock, covered, &fetched));
        if entry.attempts >= ATTEMPTS_MAX {
            self.entries.remove(href);
        } else {
            entry.not_before = now.plus(jittered(pause, href, entry.attempts));
            self.ready.insert((entry.not_before, entry.oldest, href.to_owned()));
        }
        observation
    }

    fn remember(&mut self, href: &str, etag: Option<String>) {
        match etag {
            Some(etag) => {
                if self.etags.len() >= ETAGS_MAX {
                    // Forgetting costs a body, nothing else.
                    self.etags.clear();
                }
                self.etags.insert(href.to_owned(), etag);
            }
            None => drop(self.etags.remove(href)),
        }
    }

    /// Every notice up to here is fetched, given up, or known to need no fetch.
    pub(crate) fn cursor(&self) -> u64 {
        let oldest = self.entries.values().map(|entry| entry.oldest).min();
        oldest.map_or(self.seen, |oldest| oldest.saturating_sub(1).min(self.seen))
    }
}

/// Whether a failure may pass: no answer, an answer that says so, or a server's fault.
fn is_passing(fetched: &Fetched) -> bool {
    matches!(fetched.status, 0 | 408 | 425 | 429 | 500..)
}

fn observation(href: &str, entry: &Entry, clock: Timestamp, covered: u64, fetched: &Fetched) -> Observation {
    let body = fetched.body.as_deref().map(serde_json::from_slice::<serde_json::Value>);
    let not_json = matches!(body, Some(Err(_))).then(|| "its body is not JSON".to_owned());
    Observation {
        href: href.to_owned(),
        topic: Some(entry.topic.clone()),
        status: fetched.status,
        etag: fetched.etag.clone(),
        body: body.and_then(Result::ok),
        error: fetched.error.clone().or(not_json),
        cause: sequence_text(covered),
        clock,
    }
}

/// A pause between half and one and a half of what was asked, the same for the same href and attempt.
fn jittered(pause: Duration, href: &str, attempt: usize) -> Duration {
    let seed = href
        .bytes()
        .fold(attempt as u64 + 1, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    pause / 2 + pause.mul_f64((seed >> 40) as f64 / (1_u64 << 24) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn ok(body: &str) -> Fetched {
        Fetched {
            status: 200,
            etag: Some("\"1\"".to_owned()),
            body: Some(body.as_bytes().to_vec()),
            error: None,
        }
    }

    fn want(queue: &mut Queue, href: &str, sequence: u64, now: i64) {
        queue.wanted(href, &"orders".parse().unwrap(), sequence, at(now));
    }

    #[test]
    fn notices_of_one_entity_become_one_fetch_and_one_more() {
        let mut queue = Queue::new(4);
        want(&mut queue, "a", 5, 0);
        want(&mut queue, "a", 6, 0);
        want(&mut queue, "b", 7, 0);
        assert_eq!(queue.cursor(), 4);
        assert_eq!(queue.next(at(0), at(9)).unwrap().href, "a");
        want(&mut queue, "a", 8, 0);
        want(&mut queue, "a", 9, 0);
        assert_eq!(queue.next(at(0), at(9)).unwrap().href, "b");
        assert_eq!(queue.next(at(0), at(9)), None);
        let first = queue.done("a", ok("{}"), at(1)).unwrap();
        assert_eq!((first.cause, first.clock), (sequence_text(6), at(9)));
        assert_eq!(queue.cursor(), 6);
        let again = queue.next(at(1), at(9)).unwrap();
        assert_eq!((again.href.as_str(), again.etag.as_deref()), ("a", Some("\"1\"")));
        assert_eq!(queue.done("b", ok("{}"), at(1)).unwrap().cause, sequence_text(7));
        let same = Fetched { status: 304, etag: Some("\"1\"".to_owned()), ..Fetched::default() };
        assert_eq!(queue.done("a", same, at(2)), None);
        assert_eq!(queue.cursor(), 9);
    }

    #[test]
    fn failures_are_tried_again_then_told_then_tried_slowly() {
        let mut queue = Queue::new(0);
        want(&mut queue, "a", 1, 0);
        let mut now = at(0);
        let mut told = Vec::new();
        while let Some(next) = queue.next_at() {
            now = now.max(next);
            queue.next(now, now).unwrap();
            told.extend(queue.done("a", Fetched::failed("refused".to_owned()), now));
            assert_eq!(queue.running, 0);
        }
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].status, told[0].error.as_deref()), (0, Some("refused")));
        assert!(now > at(100_000) && now < at(500_000), "{now}");
        assert_eq!(queue.cursor(), 1);
    }

    #[test]
    fn a_new_notice_ends_the_pause_and_the_way_back_is_told() {
        let mut queue = Queue::new(0);
        want(&mut queue, "a", 1, 0);
        let mut now = at(0);
        for _ in 0..=PAUSES.len() {
            now = now.max(queue.next_at().unwrap());
            queue.next(now, now).unwrap();
            queue.done("a", Fetched { status: 500, ..Fetched::default() }, now);
        }
        assert_eq!(queue.next(now, now), None);
        queue.wanted("a", &"orders".parse().unwrap(), 2, now);
        queue.next(now, now).unwrap();
        let back = queue.done("a", Fetched { status: 304, ..Fetched::default() }, now);
        assert_eq!(back.unwrap().status, 304);
    }

    #[test]
    fn gone_and_garbage_are_told_at_once() {
        let mut queue = Queue::new(0);
        for (fetched, error) in [
            (Fetched { status: 404, ..Fetched::default() }, None),
            (ok("<html>"), Some("its body is not JSON")),
        ] {
            let sequence = queue.cursor() + 1;
            want(&mut queue, "a", sequence, 0);
            queue.next(at(0), at(0)).unwrap();
            let told = queue.done("a", fetched, at(0)).unwrap();
            assert_eq!((told.body, told.error.as_deref()), (None, error));
        }
        assert!(queue.entries.is_empty());
    }
}
