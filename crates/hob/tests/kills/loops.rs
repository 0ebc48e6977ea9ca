//! The loops of starting, working and killing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::core::{CONSUMER, Core, TOPIC};
use crate::harm::{Kind, leave_behind};
use crate::history::{History, Sent};
use crate::traffic::{Publisher, Random, SUBSCRIPTIONS, Shared, consume, pull};

/// How often the core is killed when nothing else is said.
const KILLS: u64 = 12;
/// Publishes after which it is killed, at most.
const PUBLISHES_MAX: u64 = 150;
/// Services that publish at the same time.
const PUBLISHERS: u64 = 4;
/// How long a loop may take.
const LOOP_MAX: Duration = Duration::from_secs(60);
/// How long subscriptions may take for what is left.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);
/// How often the whole log is read again: every so many loops, and in the end.
const WHOLE_EVERY: u64 = 50;

/// What runs through all loops.
pub(crate) struct Run {
    pub(crate) core: Core,
    pub(crate) shared: Shared,
    publishers: Vec<Publisher>,
    random: Random,
    /// How often what was left behind, and how often it was killed while it started.
    met: BTreeMap<&'static str, u64>,
}

impl Run {
    /// A run on a new folder.
    pub(crate) async fn begin(folder: &Path, seed: u64) -> Self {
        let mut core = Core::of(folder);
        core.start().await.unwrap();
        core.declare(&SUBSCRIPTIONS.map(|(name, _)| name)).await;
        Self {
            core,
            shared: Arc::new(Mutex::new(History::default())),
            publishers: (0..PUBLISHERS).map(|nth| Publisher::new(nth, seed)).collect(),
            random: Random::new(seed, 1),
            met: BTreeMap::new(),
        }
    }

    /// Works until a random number of publishes is acknowledged, and kills.
    pub(crate) async fn work_and_kill(&mut self, nth: u64) {
        let caller = self.core.caller();
        let (acknowledged, mut counted) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for mut publisher in std::mem::take(&mut self.publishers) {
            let (caller, shared, acknowledged) =
                (caller.clone(), Arc::clone(&self.shared), acknowledged.clone());
            tasks.spawn(async move {
                publisher.run(&caller, &shared, &acknowledged).await;
                Some(publisher)
            });
        }
        for (of, (name, habit)) in SUBSCRIPTIONS.into_iter().enumerate() {
            let (caller, shared) = (caller.clone(), Arc::clone(&self.shared));
            let mut random = Random::new(self.random.below(u64::MAX), of as u64);
            tasks.spawn(async move {
                consume(&caller, &shared, name, habit, &mut random).await;
                None
            });
        }
        let until = 1 + self.random.below(PUBLISHES_MAX);
        // What `wait_for` returns holds back whoever counts on.
        let reached = tokio::time::timeout(LOOP_MAX, counted.wait_for(|count| *count >= until)).await.is_ok();
        self.core.kill();
        drop(acknowledged);
        while let Some(ended) = tasks.join_next().await {
            self.publishers.extend(ended.expect("nobody was told anything wrong"));
        }
        assert!(reached, "loop {nth}: {until} publishes take too long: {}", self.core.said());
    }

    /// Starts again, now and then after a mishap or after having been killed while starting, and checks.
    pub(crate) async fn recover_and_check(&mut self, nth: u64) {
        let left = leave_behind(&self.core.folder, &mut self.random);
        left.into_iter().for_each(|what| *self.met.entry(what).or_default() += 1);
        if self.random.below(3) == 0 {
            *self.met.entry("a kill while it started").or_default() += 1;
            self.core.spawn();
            for _ in 0..self.random.below(30) {
                let _ = self.core.is_ready().await;
            }
            self.core.kill();
        }
        self.core.start().await.unwrap();
        let caller = self.core.caller();
        let (is_whole, head) = (nth % WHOLE_EVERY == WHOLE_EVERY - 1, self.shared.lock().unwrap().head());
        if is_whole {
            let all = caller.events(0).await;
            self.shared.lock().unwrap().still_holds(&all);
        }
        let new = caller.events(head).await;
        let mut cursors = Vec::new();
        for (name, _) in SUBSCRIPTIONS {
            let state = caller.get(&format!("/v1/subscriptions/{name}?service={CONSUMER}")).await;
            cursors.push((name, state["cursor"].as_str().unwrap().parse().unwrap()));
        }
        // One more event tells where the log of all topics ends.
        let (id, entity) = (format!("end-{nth}"), "http://t/end".to_owned());
        {
            let mut history = self.shared.lock().unwrap();
            new.into_iter().for_each(|event| history.holds(event));
            history.read_whole();
            history.sends(&id, Sent { entity: entity.clone(), number: nth + 1 });
        }
        let end = json!({"type": "update", "href": entity, "id": id});
        let published = caller.must("POST", &format!("/v1/topics/{TOPIC}/events"), &end).await;
        let end: u64 = published["first"].as_str().unwrap().parse().unwrap();
        let mut history = self.shared.lock().unwrap();
        history.acknowledges(&id);
        cursors.into_iter().for_each(|(name, cursor)| history.stands(name, cursor, end - 1));
        assert!(history.faults().is_empty(), "loop {nth}: {:#?}", history.faults());
    }

    /// What happened so far.
    fn summary(&self) -> String {
        let history = self.shared.lock().unwrap();
        let parts = Kind::Part.files(&self.core.folder).len();
        let (acknowledged, events, given) = (history.acknowledged(), history.events(), history.given());
        format!(
            "{acknowledged} events acknowledged, {events} in the log and {parts} parts, {given} deliveries, no fault"
        )
    }

    /// Has every subscription take what is left, and checks that none lacks anything.
    pub(crate) async fn catch_up(&mut self) {
        let caller = self.core.caller();
        let head = self.shared.lock().unwrap().head();
        for event in caller.events(head).await {
            self.shared.lock().unwrap().holds(event);
        }
        for (name, habit) in SUBSCRIPTIONS {
            let deadline = Instant::now() + CATCH_UP_MAX;
            loop {
                let taken = pull(&caller, &self.shared, name, habit, &mut self.random, "0s").await.unwrap();
                let path = format!("/v1/subscriptions/{name}?service={CONSUMER}");
                if taken == 0 && caller.get(&path).await["lag_events"] == 0 {
                    break;
                }
                assert!(Instant::now() < deadline, "{name} does not catch up");
            }
            self.shared.lock().unwrap().has_everything(name);
        }
        let all = caller.events(0).await;
        let mut history = self.shared.lock().unwrap();
        history.still_holds(&all);
        history.read_whole();
        assert!(history.faults().is_empty(), "{:#?}", history.faults());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_skipped_whenever_the_core_is_killed() {
    let (seed, kills) = (crate::seed(), crate::number("HOB_TEST_KILLS").unwrap_or(KILLS));
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::begin(folder.path(), seed).await;
    let begun = Instant::now();
    for nth in 0..kills {
        run.work_and_kill(nth).await;
        run.recover_and_check(nth).await;
        if nth % WHOLE_EVERY == WHOLE_EVERY - 1 {
            println!("{} kills in {} s: {}", nth + 1, begun.elapsed().as_secs(), run.summary());
        }
    }
    run.catch_up().await;
    println!("{kills} kills: {}; met {:?}", run.summary(), run.met);
    assert!(run.shared.lock().unwrap().acknowledged() as u64 >= kills);
    assert!(!Kind::Part.files(folder.path()).is_empty(), "nothing was sealed");
}
