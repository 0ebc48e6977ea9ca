//! A running process of an instance, as its agent attends to it: until it ends, should end, or the agent does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Check, InstanceState};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use crate::attached::{Door, News};
use crate::confine::cgroup::Groups;
use crate::health::{Health, Probe};
use crate::instance::{End, Instance, Shared, describe};
use crate::shim::spec::{Status, ToShim};
use crate::statsd::Statsd;
use crate::{Error, probe, warmup};

/// How long the last lines of a program may take to come before its end is told.
const LAST_LINES_MAX: Duration = Duration::from_secs(2);
/// How often a shim that was released is looked for.
const RELEASED_EVERY: Duration = Duration::from_millis(5);
/// A shim without the answer to a stop for this long beyond the stop's own time is lost.
const STOP_SLACK: Duration = Duration::from_secs(10);
/// The file that says to the next agent that the instance had become ready.
pub(crate) const READY_FILE: &str = "ready";

/// Why an agent attends to a process no more.
pub(crate) enum Left {
    /// The process ended.
    Ended(End),
    /// The agent ends; the process does not.
    Agent,
}

/// A process and its shim.
pub(crate) struct Running {
    pub(crate) folder: PathBuf,
    pub(crate) port: Option<u16>,
    pub(crate) address: Option<String>,
    pub(crate) door: Arc<Door>,
    pub(crate) news: News,
    pub(crate) reader: AbortHandle,
    pub(crate) statsd: Statsd,
    pub(crate) health: Health,
    pub(crate) progress: watch::Sender<String>,
    /// A probe on its way.
    pub(crate) probing: Option<JoinHandle<(Probe, Result<(), String>)>>,
    /// What its shim said last.
    pub(crate) last: Status,
}

/// How it goes with a process.
struct Course {
    begun: Instant,
    /// One that runs once must have ended by then.
    once_until: Option<Instant>,
    ready_since: Option<Instant>,
    warming: Option<JoinHandle<String>>,
    /// It was asked to end, and its shim is lost when that has not made it by then.
    stopping: Option<Instant>,
    /// Why it has to be started again.
    broken: Option<String>,
}

/// What happened next.
enum Event {
    News,
    Ask(Probe, Check),
    Probed(Probe, Result<(), String>),
    Due,
    Warmed(String),
    Progress,
    Shot(u32),
    Stop,
    Leave,
}

impl Running {
    pub(crate) fn status(&self) -> &Status {
        &self.last
    }

    /// Watches it until it has ended, or the agent leaves.
    pub(crate) async fn attend(mut self, instance: &mut Instance) -> Result<Left, Error> {
        let begun = Instant::now();
        let once_until = instance.spec.once_ms.map(|millis| begun + Duration::from_millis(millis));
        let mut course =
            Course { begun, once_until, ready_since: None, warming: None, stopping: None, broken: None };
        let heard = self.last.notified.clone();
        self.health.hear(&heard, Duration::ZERO);
        while self.last.ended.is_none() {
            if course.stopping.is_none() {
                self.note_ready(&mut course.ready_since);
                self.show(instance);
            }
            if self.health.wants_warmup() && course.warming.is_none() {
                course.warming = self.begin_warmup(instance);
            }
            match self.next(instance, &mut course).await {
                Event::Leave => {
                    self.reader.abort();
                    return Ok(Left::Agent);
                }
                event => {
                    if !self.take(instance, &mut course, event).await {
                        break;
                    }
                }
            }
            self.judge(instance, &mut course).await;
        }
        course.warming.into_iter().for_each(|warming| warming.abort());
        self.probing.take().into_iter().for_each(|probing| probing.abort());
        let ready_for = course.ready_since.map_or(Duration::ZERO, |since| since.elapsed());
        Ok(Left::Ended(self.end(instance, course.broken, ready_for).await))
    }

    async fn next(&mut self, instance: &mut Instance, course: &mut Course) -> Event {
        let (begun, is_stopping) = (course.begun, course.stopping.is_some());
        let probe = self.health.next_probe().filter(|_| !is_stopping && self.probing.is_none());
        let due = self.health.due().map(|due| begun + due).filter(|_| !is_stopping);
        let once_until = course.once_until.filter(|_| !is_stopping);
        let due = [due, once_until, course.stopping].into_iter().flatten().min();
        let mut progress = self.progress.subscribe();
        tokio::select! {
            _ = self.news.changed() => Event::News,
            (what, check) = next_probe(probe, begun) => Event::Ask(what, check),
            Some((what, result)) = finished(&mut self.probing) => Event::Probed(what, result),
            () = until(due) => Event::Due,
            Some(how) = finished(&mut course.warming) => Event::Warmed(how),
            _ = progress.changed() => Event::Progress,
            Some(pid) = instance.shots.recv() => Event::Shot(pid),
            () = instance.stop.cancelled(), if !is_stopping => Event::Stop,
            () = instance.shared.leave.cancelled() => Event::Leave,
        }
    }

    /// Takes in what happened; false when its shim is lost.
    async fn take(&mut self, instance: &Instance, course: &mut Course, event: Event) -> bool {
        let now = course.begun.elapsed();
        match event {
            Event::News => {
                let Some(status) = self.news.borrow_and_update().clone() else { return false };
                self.health.hear(&status.notified, now);
                self.last = status;
            }
            Event::Ask(what, check) => self.ask(instance, what, check),
            Event::Probed(what, result) => self.health.probed(what, result, now),
            Event::Warmed(how) => {
                instance.output.say(how);
                self.health.warmed();
            }
            Event::Shot(pid) => self.shoot(instance, pid).await,
            Event::Stop => {
                course.stopping = Some(self.stop(instance).await);
                let draining = InstanceState::Draining;
                instance.shared.board.update(&instance.spec.id, |report| report.state = draining);
            }
            Event::Due | Event::Progress | Event::Leave => {}
        }
        course.stopping.is_none_or(|until| Instant::now() < until)
    }

    /// Ends it when it has to be started again.
    async fn judge(&mut self, instance: &Instance, course: &mut Course) {
        if course.broken.is_some() || course.stopping.is_some() || self.last.ended.is_some() {
            return;
        }
        let is_late = course.once_until.is_some_and(|until| Instant::now() >= until);
        let late = is_late.then(|| "took too long".to_owned());
        if let Some(why) = late.or_else(|| self.health.verdict(course.begun.elapsed())) {
            instance.output.say(format!("{why}; it is ended"));
            course.broken = Some(why);
            course.stopping = Some(self.stop(instance).await);
        }
    }

    fn ask(&mut self, instance: &Instance, what: Probe, check: Check) {
        let (Some(address), client) = (self.address.clone(), instance.shared.prober.clone()) else { return };
        let ask = async move { (what, probe::ask(&client, &address, &check).await) };
        self.probing = Some(tokio::spawn(ask));
    }

    fn begin_warmup(&self, instance: &Instance) -> Option<JoinHandle<String>> {
        let (address, terms) = (self.address.clone()?, instance.spec.warmup.clone()?);
        let host = instance.spec.readiness.as_ref().and_then(|check| check.host.clone());
        let client = instance.shared.prober.clone();
        Some(tokio::spawn(warmup::warm(client, address, host, terms, self.progress.clone())))
    }

    fn note_ready(&self, ready_since: &mut Option<Instant>) {
        match (self.health.is_ready(), ready_since.is_some()) {
            (true, false) => {
                *ready_since = Some(Instant::now());
                // Without it the next agent asks the instance first.
                let _ = std::fs::write(self.folder.join(READY_FILE), "");
            }
            (false, true) => *ready_since = None,
            _ => {}
        }
    }

    pub(crate) fn show(&self, instance: &Instance) {
        let health = &self.health;
        let progress = Some(self.progress.borrow().clone()).filter(|text| !text.is_empty());
        instance.shared.board.update(&instance.spec.id, |report| {
            report.state = match (health.is_ready(), health.is_stopping()) {
                (true, _) => InstanceState::Ready,
                (false, true) => InstanceState::Draining,
                (false, false) => InstanceState::Starting,
            };
            report.reason = if health.wants_warmup() { progress } else { health.reason() };
            report.status = health.status().map(str::to_owned);
        });
    }

    async fn shoot(&self, instance: &Instance, pid: u32) {
        if self.last.program.is_some_and(|program| program.pid == pid) {
            instance.output.say(format!("process {pid} is shot"));
            self.door.tell(&ToShim::Kill { pid }).await;
        }
    }

    /// Asks the process to end; its shim makes it when its time is up. When not to be waited for any more.
    async fn stop(&self, instance: &Instance) -> Instant {
        let stop = instance.spec.stop;
        self.door.tell(&ToShim::Stop { signal: stop.signal, timeout_ms: stop.timeout_ms }).await;
        Instant::now() + Duration::from_millis(stop.timeout_ms) + STOP_SLACK
    }

    /// Takes in its last lines, says how it ended, and has its shim end once all lines have arrived.
    async fn end(self, instance: &Instance, broken: Option<String>, ready_for: Duration) -> End {
        let (mut how, ended, is_success) = describe(&self.last);
        let lines = instance.output.has_come(self.last.last_line);
        if self.last.ended.is_some() && tokio::time::timeout(LAST_LINES_MAX, lines).await.is_err() {
            tracing::debug!(instance = instance.spec.id, "the last lines are still to come");
        }
        if let Some(why) = broken {
            how = format!("{why}; {how}");
        }
        if instance.stop.is_cancelled() {
            instance.output.say(how.clone());
        } else if let Some(results) = self.health.results() {
            how = format!("{how}; the last probes: {results}");
        }
        if let Some(port) = self.port {
            instance.shared.ports.give_back(port);
        }
        drop(self.statsd);
        let is_kept = instance.spec.once_ms.is_some() && !instance.stop.is_cancelled();
        bury(&instance.shared, self.folder, self.door, self.reader, self.last, is_kept);
        End { how, ended, ready_for, is_success }
    }
}

/// Has a shim end once the lines of its program have arrived, and removes its folder. That of one which ran once stays,
/// so that the next agent does not run it again.
pub(crate) fn bury(
    shared: &Arc<Shared>,
    folder: PathBuf,
    door: Arc<Door>,
    reader: AbortHandle,
    last: Status,
    is_kept: bool,
) {
    let leave = shared.leave.clone();
    shared.burials.spawn(async move {
        if last.ended.is_some() {
            tokio::select! {
                () = door.acknowledged(last.last_line) => {}
                // The next agent takes them in.
                () = leave.cancelled() => {
                    reader.abort();
                    return;
                }
            }
            door.tell(&ToShim::Release).await;
        } else {
            let lost = last.clone();
            // It has been waited for where this fails.
            let _ = tokio::task::spawn_blocking(move || end_lost(&lost)).await;
        }
        reader.abort();
        if !is_kept {
            // What cannot be removed now is when the next agent begins.
            let _ = std::fs::remove_dir_all(&folder);
        }
        while last.shim.is_there() {
            tokio::time::sleep(RELEASED_EVERY).await;
        }
    });
}

/// Ends what a shim left that was killed itself, or that cannot be adopted. It blocks.
pub(crate) fn end_lost(status: &Status) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let left = status.program.into_iter().chain([status.shim]).filter(|process| process.is_there());
    for pid in left.filter_map(|process| i32::try_from(process.pid).ok().and_then(Pid::from_raw)) {
        // It has ended with its shim mostly.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let groups = Groups::at(status.groups.clone());
    groups.kill();
    groups.remove();
}

async fn next_probe(probe: Option<(Probe, Check, Duration)>, begun: Instant) -> (Probe, Check) {
    let Some((what, check, at)) = probe else { return std::future::pending().await };
    tokio::time::sleep_until(begun + at).await;
    (what, check)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What a task gave; none when it failed. It never resolves without one.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let given = match task {
        Some(running) => running.await.ok(),
        None => std::future::pending().await,
    };
    *task = None;
    given
}
