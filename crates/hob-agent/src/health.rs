//! Whether an instance has started, is ready, and lives, from what probes and the instance itself say. Pure: time is
//! how long the process has run.

use std::collections::VecDeque;
use std::time::Duration;

use hob_wire::{Check, IntendedInstance, Startup};

use crate::shim::notify::Notified;

/// While an instance is not ready it is asked at least this often, so that it is used as soon as it can be; and more often, down to
/// the second figure, while its process is younger than twice that.
const EAGER: Duration = Duration::from_millis(100);
const EAGER_FIRST: Duration = Duration::from_millis(2);
/// Probe results that are told when an instance fails.
const RESULTS_MAX: usize = 5;

/// What a probe was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Startup,
    Readiness,
    Liveness,
}

/// How an instance is judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    startup: Option<Startup>,
    readiness: Option<Check>,
    liveness: Option<Check>,
    /// Whether there are requests to send before it is ready.
    warms: bool,
    /// Silence after which one that has once said that it lives is dead.
    watchdog: Option<Duration>,
}

impl Terms {
    /// A listening process without a word on readiness is asked whether it takes connections. One that says on its
    /// socket that it lives must go on doing so: for as long as its liveness may fail, or as it says itself.
    pub(crate) fn of(spec: &IntendedInstance) -> Self {
        let connects =
            || Check { http: None, host: None, every_ms: 1000, timeout_ms: 1000, fall: 3, rise: 1 };
        let readiness = spec.readiness.clone().or_else(|| spec.listens.then(connects));
        let named =
            spec.env.get("WATCHDOG_USEC").and_then(|text| text.parse().ok()).map(Duration::from_micros);
        let by_liveness = spec
            .liveness
            .as_ref()
            .map(|check| Duration::from_millis(check.every_ms.saturating_mul(u64::from(check.fall.max(1)))));
        // Nobody can be asked where nothing listens.
        let startup = spec
            .startup
            .clone()
            .map(|startup| Startup { check: startup.check.filter(|_| spec.listens), ..startup });
        Self {
            startup,
            readiness: readiness.filter(|_| spec.listens),
            liveness: spec.liveness.clone().filter(|_| spec.listens),
            warms: spec.listens && spec.warmup.as_ref().is_some_and(|warmup| !warmup.requests.is_empty()),
            watchdog: named.or(by_liveness),
        }
    }

    /// What `WATCHDOG_USEC` is to say.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }
}

/// Up or down by results in a row.
#[derive(Debug, Default)]
struct Counted {
    is_up: bool,
    row: u32,
    last: Option<String>,
}

impl Counted {
    /// Takes in a result; it is up after `rise` successes in a row and down after `fall` failures.
    fn add(&mut self, result: &Result<(), String>, rise: u32, fall: u32) {
        let is_other = result.is_ok() != self.is_up;
        self.row = if is_other { self.row + 1 } else { 0 };
        self.last = result.as_ref().err().cloned();
        if is_other && self.row >= (if self.is_up { fall } else { rise }).max(1) {
            (self.is_up, self.row) = (!self.is_up, 0);
        }
    }
}

/// What is known of one process.
#[derive(Debug, Default)]
pub(crate) struct Health {
    terms: Terms,
    is_started: bool,
    is_warm: bool,
    readiness: Counted,
    liveness: Counted,
    heard: Notified,
    /// When it last said that it lives.
    watched_at: Option<Duration>,
    deadline: Option<Duration>,
    last_asked: [Option<Duration>; 3],
    results: VecDeque<(String, u32)>,
    /// Why it has to be started again.
    broken: Option<String>,
}

impl Health {
    /// A process that has just been started.
    pub(crate) fn new(terms: Terms) -> Self {
        let deadline = terms.startup.as_ref().map(|startup| Duration::from_millis(startup.deadline_ms));
        let mut health = Self { is_warm: !terms.warms, deadline, terms, ..Self::default() };
        health.readiness.is_up = health.terms.readiness.is_none();
        health.liveness.is_up = true;
        let waits =
            health.terms.startup.as_ref().is_some_and(|startup| startup.notify || startup.check.is_some());
        health.is_started = !waits;
        health
    }

    /// A process that an agent before this one had found ready.
    pub(crate) fn ready(terms: Terms) -> Self {
        let mut health = Self::new(terms);
        (health.is_started, health.is_warm, health.readiness.is_up) = (true, true, true);
        health
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_started && self.readiness.is_up && self.is_warm && !self.heard.stopping
    }

    /// It said itself that it is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.heard.stopping
    }

    /// Whether only the warm-up is missing.
    pub(crate) fn wants_warmup(&self) -> bool {
        self.is_started && self.readiness.is_up && !self.is_warm
    }

    pub(crate) fn warmed(&mut self) {
        self.is_warm = true;
    }

    /// What it says of itself.
    pub(crate) fn status(&self) -> Option<&str> {
        self.heard.status.as_deref().or(self.heard.reloading.then_some("reloading"))
    }

    fn check(&self, probe: Probe) -> Option<&Check> {
        match probe {
            Probe::Startup => self.terms.startup.as_ref()?.check.as_ref().filter(|_| !self.is_started),
            Probe::Readiness => self.terms.readiness.as_ref().filter(|_| self.is_started),
            Probe::Liveness => self.terms.liveness.as_ref().filter(|_| self.is_started),
        }
    }

    /// The next probe and when it is due.
    pub(crate) fn next_probe(&self) -> Option<(Probe, Check, Duration)> {
        let due = |probe: Probe| {
            let check = self.check(probe)?;
            let every = Duration::from_millis(check.every_ms);
            let is_eager = probe == Probe::Startup || (probe == Probe::Readiness && !self.readiness.is_up);
            let last = self.last_asked[probe as usize];
            let eager = (last.unwrap_or_default() / 2).clamp(EAGER_FIRST, EAGER);
            let every = if is_eager { every.min(eager) } else { every };
            // One that starts lives for a while before it is asked whether it does.
            let first = if probe == Probe::Liveness { every } else { Duration::ZERO };
            let at = last.map_or(first, |last| last + every);
            Some((probe, check.clone(), at))
        };
        let probes = [Probe::Startup, Probe::Readiness, Probe::Liveness];
        probes.into_iter().filter_map(due).min_by_key(|(_, _, at)| *at)
    }

    /// Takes in a probe's result.
    pub(crate) fn probed(&mut self, probe: Probe, result: Result<(), String>, now: Duration) {
        self.last_asked[probe as usize] = Some(now);
        let Some(check) = self.check(probe).cloned() else { return };
        self.note(&result);
        match probe {
            Probe::Startup => self.is_started |= result.is_ok(),
            Probe::Readiness => self.readiness.add(&result, check.rise, check.fall),
            Probe::Liveness => {
                self.liveness.add(&result, check.rise, check.fall);
                if !self.liveness.is_up {
                    let why = self.liveness.last.clone().unwrap_or_default();
                    self.broken.get_or_insert(format!("does not live any more: {why}"));
                }
            }
        }
    }

    fn note(&mut self, result: &Result<(), String>) {
        let Err(why) = result else { return };
        match self.results.back_mut() {
            Some((last, times)) if last == why => *times += 1,
            _ => self.results.push_back((why.clone(), 1)),
        }
        if self.results.len() > RESULTS_MAX {
            self.results.pop_front();
        }
    }

    /// Takes in what the instance says of itself.
    pub(crate) fn hear(&mut self, heard: &Notified, now: Duration) {
        if heard.ready && self.terms.startup.as_ref().is_some_and(|startup| startup.notify) {
            self.is_started = true;
        }
        if heard.watchdogs > self.heard.watchdogs
            || (heard.ready && !self.heard.ready && self.terms.watchdog.is_some())
        {
            self.watched_at = Some(now);
        }
        if heard.is_broken {
            self.broken.get_or_insert("says that it is broken (WATCHDOG=trigger)".to_owned());
        }
        if heard.extensions > self.heard.extensions {
            let more = now + Duration::from_micros(heard.extend_usec);
            self.deadline = self.deadline.map(|deadline| deadline.max(more));
        }
        self.heard = heard.clone();
    }

    /// When it must have started, or said again that it lives.
    pub(crate) fn due(&self) -> Option<Duration> {
        let started = self.deadline.filter(|_| !self.is_started);
        [started, self.watchdog_due()].into_iter().flatten().min()
    }

    fn watchdog_due(&self) -> Option<Duration> {
        // Only one that has said that it lives is expected to go on.
        let speaks = self.heard.watchdogs > 0;
        let own = self.heard.watchdog_usec.map(Duration::from_micros);
        let silence = own.or(self.terms.watchdog).filter(|silence| *silence > Duration::ZERO)?;
        self.watched_at.filter(|_| speaks).map(|at| at + silence)
    }

    /// Why it has to be started again, when it has.
    pub(crate) fn verdict(&mut self, now: Duration) -> Option<String> {
        if self.broken.is_none() && !self.is_started && self.deadline.is_some_and(|deadline| now >= deadline)
        {
            let time = hob_core::format_duration(self.deadline.unwrap_or(now));
            self.broken = Some(format!("had not started after {time}"));
        }
        if self.broken.is_none() && self.watchdog_due().is_some_and(|due| now >= due) {
            self.broken = Some("did not say that it lives (WATCHDOG=1) in its time".to_owned());
        }
        self.broken.clone()
    }

    /// Why it is not ready, in a few words.
    pub(crate) fn reason(&self) -> Option<String> {
        if self.is_ready() {
            return None;
        }
        if self.heard.stopping {
            return Some("it says that it stops".to_owned());
        }
        let last = self.results.back().map(|(why, _)| why.clone());
        if self.is_started {
            return self.readiness.last.clone().or(last);
        }
        let notifies = self.terms.startup.as_ref().is_some_and(|startup| startup.notify);
        let waits = notifies.then(|| "waits for READY=1".to_owned());
        Some(waits.into_iter().chain(last).collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    }

    /// The last probe results that were failures, oldest first, unless all is well.
    pub(crate) fn results(&self) -> Option<String> {
        if self.is_ready() || self.results.is_empty() {
            return None;
        }
        let times = |times: u32| if times > 1 { format!(" ({times} times)") } else { String::new() };
        let all: Vec<String> =
            self.results.iter().map(|(why, count)| format!("{why}{}", times(*count))).collect();
        Some(all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str) -> Check {
        Check { http: Some(path.to_owned()), host: None, every_ms: 1000, timeout_ms: 500, fall: 3, rise: 2 }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn fail() -> Result<(), String> {
        Err("GET / answered 503".to_owned())
    }

    #[test]
    fn readiness_rises_and_falls_by_results_in_a_row() {
        let mut health = Health::new(Terms { readiness: Some(check("/")), ..Terms::default() });
        let mut probed = |result| {
            health.probed(Probe::Readiness, result, at(0));
            health.is_ready()
        };
        let seen = [fail(), Ok(()), fail(), Ok(()), Ok(()), fail(), fail(), Ok(()), fail(), fail(), fail()]
            .map(&mut probed);
        assert_eq!(seen, [false, false, false, false, true, true, true, true, true, true, false]);
        assert_eq!(health.reason().as_deref(), Some("GET / answered 503"));
        assert_eq!(health.results().as_deref(), Some("GET / answered 503 (7 times)"));
        assert!(Health::new(Terms::default()).is_ready(), "one that nobody asks is ready once it runs");
    }

    #[test]
    fn startup_is_by_notice_or_probe_and_has_a_deadline_that_can_be_moved() {
        let startup = Startup { notify: true, check: Some(check("/up")), deadline_ms: 5000 };
        let terms = Terms { startup: Some(startup), readiness: Some(check("/")), ..Terms::default() };
        let mut health = Health::new(terms.clone());
        assert_eq!(health.next_probe().unwrap().0, Probe::Startup);
        health.probed(Probe::Startup, fail(), at(10));
        assert_eq!(health.next_probe().unwrap().2, at(15), "it is asked often until it has started");
        health.probed(Probe::Startup, fail(), at(1000));
        assert_eq!(health.next_probe().unwrap().2, at(1100), "and less often as it grows older");
        assert_eq!(health.reason().as_deref(), Some("waits for READY=1; GET / answered 503"));
        assert_eq!((health.verdict(at(4999)), health.due()), (None, Some(at(5000))));
        let more = Notified { extensions: 1, extend_usec: 3_000_000, ..Notified::default() };
        health.hear(&more, at(4000));
        assert_eq!(health.due(), Some(at(7000)));
        assert_eq!(health.verdict(at(7000)).as_deref(), Some("had not started after 7s"));

        let mut health = Health::new(terms);
        health.hear(&Notified { ready: true, ..Notified::default() }, at(20));
        assert_eq!(health.next_probe().unwrap().0, Probe::Readiness);
        assert_eq!((health.due(), health.is_ready()), (None, false));
    }

    #[test]
    fn liveness_and_the_watchdog_break() {
        let terms = Terms { liveness: Some(check("/live")), watchdog: Some(at(3000)), ..Terms::default() };
        let mut health = Health::new(terms.clone());
        assert_eq!(health.next_probe().unwrap().2, at(1000));
        for _ in 0..3 {
            assert_eq!(health.verdict(at(0)), None);
            health.probed(Probe::Liveness, fail(), at(0));
        }
        assert_eq!(health.verdict(at(0)).as_deref(), Some("does not live any more: GET / answered 503"));

        let mut health = Health::new(terms);
        assert_eq!(health.due(), None, "one that never spoke is not expected to");
        health.hear(&Notified { watchdogs: 1, ..Notified::default() }, at(100));
        assert_eq!((health.due(), health.verdict(at(3000))), (Some(at(3100)), None));
        assert!(health.verdict(at(3100)).unwrap().contains("WATCHDOG=1"));
    }

    #[test]
    fn a_warm_up_comes_last_and_one_that_stops_is_not_ready() {
        let terms = Terms { readiness: Some(check("/")), warms: true, ..Terms::default() };
        let mut health = Health::new(terms.clone());
        assert!(!health.wants_warmup());
        health.probed(Probe::Readiness, Ok(()), at(0));
        health.probed(Probe::Readiness, Ok(()), at(0));
        assert!(health.wants_warmup() && !health.is_ready());
        health.warmed();
        assert!(health.is_ready());
        assert!(Health::ready(terms).is_ready());
        health.hear(&Notified { stopping: true, ..Notified::default() }, at(0));
        assert!(!health.is_ready() && health.is_stopping());
    }
}
