//! Copies of a killed core's folder are damaged: a write that was torn, bits that flipped. Whatever is still given is as
//! it was; what is missing is told. Nothing is skipped in silence.

use std::fs;
use std::path::{Path, PathBuf};

use crate::core::{CONSUMER, Core};
use crate::loops::Run;
use crate::traffic::{Random, SUBSCRIPTIONS};

/// Copies that are damaged when nothing else is said.
const DAMAGES: u64 = 8;
/// Kills before that.
const KILLS_BEFORE: u64 = 3;

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// Its end is cut off, as when a write was torn.
    Torn,
    /// One bit is another.
    Flipped,
    /// A sector is zeros, as when a write was lost.
    Zeroed,
}

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

/// The files of the events' log and of its sealed parts, oldest first.
fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("log/events"), folder.join("blobs/events")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path).unwrap().len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Damages one file and says where.
fn harm(path: &Path, damage: Damage, random: &mut Random) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(bytes.len() as u64) as usize;
    match damage {
        Damage::Torn => bytes.truncate(at),
        Damage::Flipped => bytes[at] ^= 1 << random.below(8),
        Damage::Zeroed => {
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
        }
    }
    fs::write(path, bytes).unwrap();
    format!("{damage:?} at {at} of {}", path.display())
}

/// What became of a damaged copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Whole,
    Shorter,
    Told,
}

/// Starts a core on a damaged copy and checks what it gives.
async fn check(run: &Run, copied: &Path, damage: Damage, what: &str) -> Outcome {
    let mut core = Core::of(copied);
    if let Err(said) = core.start().await {
        // Refusing is honest, when it says what is wrong.
        assert!(
            said.contains("HOB-") || said.contains("damaged"),
            "{what}: it ended without a reason: {said}"
        );
        return Outcome::Refused;
    }
    let caller = core.caller();
    let left = caller.events(0).await;
    let (lost, head) = {
        let history = run.shared.lock().unwrap();
        (history.lost_of(&left).unwrap_or_else(|wrong| panic!("{what}: {wrong}")), history.head())
    };
    let newest = left.last().map_or(0, |event| event.sequence);
    // A torn end looks like a crash that came earlier; only what is missing before something else can be told.
    let gaps: Vec<&u64> = lost.iter().filter(|sequence| **sequence < newest).collect();
    let is_end = damage == Damage::Torn && gaps.is_empty();
    if !lost.is_empty() && !is_end {
        let is_told = caller.is_reported("damaged").await || core.said().to_lowercase().contains("damage");
        assert!(is_told, "{what}: {} events are lost without a word, the first is {}", lost.len(), lost[0]);
    }
    for (name, _) in SUBSCRIPTIONS {
        let state = caller.get(&format!("/v1/subscriptions/{name}?service={CONSUMER}")).await;
        let cursor: u64 = state["cursor"].as_str().unwrap().parse().unwrap();
        assert!(cursor <= head, "{what}: the cursor of {name} is {cursor}, and the log ended at {head}");
    }
    match (lost.is_empty(), is_end) {
        (true, _) => Outcome::Whole,
        (false, true) => Outcome::Shorter,
        (false, false) => Outcome::Told,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_told_and_the_rest_is_as_it_was() {
    let (seed, damages) = (crate::seed(), crate::number("HOB_TEST_DAMAGES").unwrap_or(DAMAGES));
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::begin(folder.path(), seed).await;
    for nth in 0..KILLS_BEFORE {
        run.work_and_kill(nth).await;
        run.recover_and_check(nth).await;
    }
    run.catch_up().await;
    run.core.kill();
    let mut random = Random::new(seed, 7);
    let mut outcomes = Vec::new();
    for nth in 0..damages {
        let damage = [Damage::Torn, Damage::Flipped, Damage::Zeroed][(nth % 3) as usize];
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        // The copy has ports of its own.
        let _ = fs::remove_file(copied.path().join("port-offset"));
        let _ = fs::remove_file(copied.path().join("said"));
        let files = event_files(copied.path());
        let nth_file = match damage {
            Damage::Torn => files.len() - 1,
            _ => random.below(files.len() as u64) as usize,
        };
        let what = harm(&files[nth_file], damage, &mut random);
        outcomes.push(check(&run, copied.path(), damage, &what).await);
    }
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let [whole, shorter, told, refused] =
        [Outcome::Whole, Outcome::Shorter, Outcome::Told, Outcome::Refused].map(count);
    println!(
        "{damages} copies damaged: {whole} whole, {shorter} end earlier, {told} told, {refused} refused"
    );
}
