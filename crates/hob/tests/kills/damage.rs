//! Copies of a killed core's folder are damaged, in the log, in sealed parts and in the index. Whatever is still given is
//! as it was; what is missing is told; of the index nothing is missing. Nothing is skipped in silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::core::{CONSUMER, Caller, Core, TOPIC};
use crate::harm::{Damage, Kind, another_boot, harm, newest_segment};
use crate::loops::Run;
use crate::traffic::{Random, SUBSCRIPTIONS};

/// Copies that are damaged when nothing else is said.
const DAMAGES: u64 = 12;
/// Kills before that.
const KILLS_BEFORE: u64 = 4;
/// Sealed parts before that, and how long they may take.
const PARTS_MIN: usize = 3;
const SEALED_MAX: Duration = Duration::from_secs(30);
/// Events that are published again to a damaged copy.
const AGAIN: u64 = 10;

/// What is damaged, in turns.
const HARMS: [(Kind, Damage); 9] = [
    (Kind::Log, Damage::Torn),
    (Kind::Part, Damage::Flipped),
    (Kind::Index, Damage::Flipped),
    (Kind::Log, Damage::Flipped),
    (Kind::Part, Damage::Torn),
    (Kind::Index, Damage::Torn),
    (Kind::Log, Damage::Zeroed),
    (Kind::Part, Damage::Zeroed),
    (Kind::Index, Damage::Zeroed),
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What became of a damaged copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Whole,
    Shorter,
    Told,
}

/// Starts a core on a damaged copy and checks what it gives.
async fn check(run: &Run, copied: &Path, (kind, damage): (Kind, Damage), what: &str) -> Outcome {
    let mut core = Core::of(copied);
    if let Err(said) = core.start().await {
        // Refusing is honest, when it says what is wrong.
        assert!(
            said.contains("HOB-") || said.contains("damaged"),
            "{what}: it ended without a reason: {said}"
        );
        assert!(kind != Kind::Index, "{what}: it does not start without its index: {said}");
        return Outcome::Refused;
    }
    let caller = core.caller();
    let left = caller.events(0).await;
    let (lost, head) = {
        let history = run.shared.lock().unwrap();
        (history.lost_of(&left).unwrap_or_else(|wrong| panic!("{what}: {wrong}")), history.head())
    };
    let newest = left.last().map_or(0, |event| event.sequence);
    // The end of the log looks as if the crash came earlier; only what is missing before something else can be told. What
    // is there of it is kept.
    let is_end = kind == Kind::Log && lost.iter().all(|sequence| *sequence > newest);
    let is_kept = Kind::Log.files(copied).iter().any(|path| path.extension().is_some_and(|e| e == "torn"));
    assert!(!is_end || lost.is_empty() || damage == Damage::Torn || is_kept, "{what}: the end is not kept");
    if !lost.is_empty() && !is_end {
        let is_told = caller.is_reported("damaged").await || core.said().to_lowercase().contains("damage");
        assert!(is_told, "{what}: {} events are lost without a word, the first is {}", lost.len(), lost[0]);
    }
    for (name, _) in SUBSCRIPTIONS {
        let state = caller.get(&format!("/v1/subscriptions/{name}?service={CONSUMER}")).await;
        let cursor: u64 = state["cursor"].as_str().unwrap().parse().unwrap();
        assert!(cursor <= head, "{what}: the cursor of {name} is {cursor}, and the log ended at {head}");
    }
    if lost.is_empty() {
        remembers(run, &mut core, what).await;
        return Outcome::Whole;
    }
    assert!(kind != Kind::Index, "{what}: the index is not where events are");
    if is_end { Outcome::Shorter } else { Outcome::Told }
}

/// The index knows, or learns again, which ids there were and how many events each entity had.
async fn remembers(run: &Run, core: &mut Core, what: &str) {
    let mut random = Random::new(run.shared.lock().unwrap().head(), 11);
    for nth in 0..AGAIN {
        let (known, count) = {
            let history = run.shared.lock().unwrap();
            let known = history.event(1 + random.below(history.head())).cloned();
            let Some(known) = known else { continue };
            (known.clone(), history.count_of(&known.entity))
        };
        let again = json!({"type": "update", "href": known.entity, "id": known.id});
        let answer = publish(core, &again, what).await;
        assert_eq!(answer["deduplicated"], 1, "{what}: {} was taken twice", known.id);
        assert_eq!(answer["first"], format!("{:020}", known.sequence), "{what}");
        if nth == 0 {
            let new = json!({"type": "update", "href": known.entity, "id": "one-more"});
            let published = publish(core, &new, what).await;
            let path = format!("/v1/events/{}", published["first"].as_str().unwrap());
            let event = core.caller().get(&path).await;
            assert_eq!(event["entityseq"], count + 1, "{what}: {}", known.entity);
        }
    }
}

/// Publishes. Damage of the index that only now comes to light may refuse that, until the core is started again.
async fn publish(core: &mut Core, body: &serde_json::Value, what: &str) -> serde_json::Value {
    let path = format!("/v1/topics/{TOPIC}/events");
    for _ in 0..2 {
        let caller: Caller = core.caller();
        let answer = caller.call("POST", &path, Some(body)).await.unwrap();
        if answer.status == 201 {
            return answer.body;
        }
        assert_eq!(answer.body["code"], "HOB-0081", "{what}: {}", answer.body);
        core.kill();
        core.start().await.unwrap();
    }
    panic!("{what}: a start did not mend the index: {}", core.said())
}

/// Kills a core that has published and consumed, once there are parts.
async fn grown(folder: &Path, seed: u64) -> Run {
    let mut run = Run::begin(folder, seed).await;
    let mut nth = 0;
    while nth < KILLS_BEFORE || Kind::Part.files(folder).len() < PARTS_MIN {
        run.work_and_kill(nth).await;
        run.recover_and_check(nth).await;
        nth += 1;
    }
    run.catch_up().await;
    let deadline = Instant::now() + SEALED_MAX;
    while Kind::Index.files(folder).len() < 2 {
        assert!(Instant::now() < deadline, "the index is never flushed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run.core.kill();
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_told_and_the_rest_is_as_it_was() {
    let (seed, damages) = (crate::seed(), crate::number("HOB_TEST_DAMAGES").unwrap_or(DAMAGES));
    let folder = tempfile::tempdir().unwrap();
    let run = grown(folder.path(), seed).await;
    let mut random = Random::new(seed, 7);
    let mut outcomes: BTreeMap<_, u64> = BTreeMap::new();
    for nth in 0..damages {
        let (kind, damage) = HARMS[(nth % HARMS.len() as u64) as usize];
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        // The copy has ports of its own.
        let _ = fs::remove_file(copied.path().join("port-offset"));
        let _ = fs::remove_file(copied.path().join("said"));
        // Half of the time the machine was started in between, which is when the index is read whole.
        if random.below(2) == 0 {
            another_boot(copied.path());
        }
        let files = kind.files(copied.path());
        let file = match (kind, damage) {
            (Kind::Log, Damage::Torn | Damage::Flipped) => newest_segment(copied.path()),
            _ => files[random.below(files.len() as u64) as usize].clone(),
        };
        let what = harm(&file, damage, &mut random);
        let outcome = check(&run, copied.path(), (kind, damage), &what).await;
        *outcomes.entry((kind, damage, outcome)).or_default() += 1;
        if (nth + 1) % 50 == 0 {
            println!("{} copies damaged", nth + 1);
        }
    }
    println!("{damages} copies damaged:");
    for ((kind, damage, outcome), count) in outcomes {
        println!("  {kind:?} {damage:?}: {count} {outcome:?}");
    }
}
