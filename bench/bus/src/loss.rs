//! What is lost of what was acknowledged when a server ends while it is published to: by `kill -9`, and by a loss of power,
//! which takes what the server had not made durable. The latter is played: the server runs under strace, which tells each write and each fsync; after
//! the kill, every file that holds events is cut back to what it had when its last finished fsync began.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cells::Cell;
use crate::events::Events;
use crate::load::{self, Course, Watched};
use crate::systems::{self, Places, Running, System, Watch, Way};

/// How long a server is published to before it ends.
const WORKS: Duration = Duration::from_secs(2);
/// How long a server may take to give what it holds, and how long it may say nothing more.
const READ_MAX: Duration = Duration::from_secs(60);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// `kill -9`.
    Kill,
    /// `kill -9`, and what no fsync covered is gone.
    Power,
}

/// How much was lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Loss {
    pub system: System,
    pub after: End,
    pub acknowledged: u64,
    /// Events that were sent and not answered when the server ended.
    pub under_way: u64,
    /// Events that it gives afterwards, whether they were acknowledged or not.
    pub recovered: u64,
    /// Acknowledged events that it does not give.
    pub lost: u64,
    /// Bytes that were cut off.
    pub cut_bytes: u64,
}

/// Publishes for a moment and ends the server while it does, starts it again, reads everything back, and tells which of
/// the acknowledged events are not there.
pub fn measure(system: System, after: End, places: &Places) -> Result<Loss> {
    let watch = if after == End::Power { Watch::Record } else { Watch::Nothing };
    let mut running = systems::start(system, &Places { watch, ..places.clone() })?;
    let cell = Cell::new(50, 1).with(1, Way::Stream);
    running.prepare(&cell)?;
    let mut connections = running.publishers(&cell)?;
    let base = Instant::now();
    let mut events = Events::new(cell.bytes, cell.entities, base);
    let (mut begins, mut ends) = (|| {}, || running.server().kill());
    let course = Course {
        warm_up: Duration::ZERO,
        measured: WORKS,
        units_min: 0,
        is_cut: true,
        begins: &mut begins,
        ends: &mut ends,
    };
    let published = load::publish(&mut connections, &mut events, course)?;
    drop(connections);
    let folder = running.server().folder.clone();
    let cut_bytes = if after == End::Power { cut(&folder)? } else { 0 };
    running.unwatch();
    running.restart().with_context(|| format!("start {system} again"))?;
    let found = read_back(running.as_ref(), &cell, base, published.stamps.len())
        .with_context(|| format!("read back from {system}"))?;
    let lost = published.stamps.iter().filter(|stamp| !found.contains(stamp)).count() as u64;
    let (acknowledged, under_way, recovered) = (published.units_all, published.under_way, found.len() as u64);
    Ok(Loss { system, after, acknowledged, under_way, recovered, lost, cut_bytes })
}

/// The stamps of all that a server gives to its one subscriber.
fn read_back(running: &dyn Running, cell: &Cell, base: Instant, expected: usize) -> Result<HashSet<u64>> {
    let consuming = running.consumers(cell)?;
    let watched = Arc::new(Watched { wants_stamps: true, ..Watched::default() });
    // Never reached: how many there are is not known.
    watched.expected.store(u64::MAX, Ordering::SeqCst);
    let thread = std::thread::spawn({
        let watched = Arc::clone(&watched);
        move || load::consume(consuming, base, &watched)
    });
    let (begun, mut seen, mut since) = (Instant::now(), 0, Instant::now());
    while begun.elapsed() < READ_MAX && since.elapsed() < SILENCE_MAX && !thread.is_finished() {
        std::thread::sleep(Duration::from_millis(50));
        let now = watched.seen.load(Ordering::SeqCst);
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
        // Everything and a little more: whoever has this many lacks none, or shows it in what it has.
        if seen > expected as u64 && since.elapsed() > SILENCE_MAX / 5 {
            break;
        }
    }
    if thread.is_finished() {
        thread.join().map_err(|_| anyhow::anyhow!("a consumer panicked"))??;
    } else {
        watched.is_abandoned.store(true, Ordering::SeqCst);
        let _ = thread.join();
    }
    let mut stamps = watched.stamps.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut stamps))
}

/// What strace is to follow for a record, and where it writes.
pub fn recording(folder: &Path) -> Vec<String> {
    let calls =
        "trace=write,writev,pwrite64,pwritev,pwritev2,ftruncate,fsync,fdatasync,rename,renameat,renameat2";
    let to = folder.join("trace").display().to_string();
    ["--seccomp-bpf", "-f", "-qq", "-y", "-s", "0", "-e", calls, "-e", "signal=none", "-o", &to]
        .map(str::to_owned)
        .to_vec()
}

/// A file as the trace tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Grown {
    bytes: u64,
    durable: u64,
}

/// Cuts the files of events back to what was durable. Returns how many bytes that took.
fn cut(folder: &Path) -> Result<u64> {
    let trace = fs::read_to_string(folder.join("trace")).context("read what strace wrote")?;
    let (mut cut, mut found) = (0, 0);
    for (path, grown) in follow(&trace) {
        let path = PathBuf::from(path);
        if !holds_events(&path) || !path.is_file() {
            continue;
        }
        found += 1;
        let bytes = fs::metadata(&path)?.len();
        if grown.durable < bytes.min(grown.bytes.max(bytes)) {
            cut += bytes - grown.durable;
            fs::OpenOptions::new().write(true).open(&path)?.set_len(grown.durable)?;
        }
    }
    anyhow::ensure!(found > 0, "the trace tells of no file that holds events");
    Ok(cut)
}

/// The logs themselves: what a server keeps beside them it can make anew, or is not about events.
fn holds_events(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/log/events/")
        || text.ends_with(".aof")
        || text.ends_with(".blk")
        || text.ends_with(".wal")
}

/// Sizes and durable sizes of files, from lines such as `12 pwrite64(5</d/a>, ""..., 10, 30) = 10`, where a call may
/// be cut in two: `12 fdatasync(5</d/a> <unfinished ...>` and `12 <... fdatasync resumed>) = 0`.
fn follow(trace: &str) -> HashMap<String, Grown> {
    let mut files: HashMap<String, Grown> = HashMap::new();
    let mut begun: HashMap<&str, (String, u64)> = HashMap::new();
    for line in trace.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(rest) = call.strip_prefix("<... ") {
            let Some((start, bytes)) = begun.remove(pid) else { continue };
            let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
            apply(&mut files, &format!("{start}{end}"), Some(bytes));
            continue;
        }
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            let bytes = path_of(start).and_then(|path| files.get(path)).map_or(0, |grown| grown.bytes);
            begun.insert(pid, (start.to_owned(), bytes));
            continue;
        }
        apply(&mut files, call, None);
    }
    files
}

fn path_of(call: &str) -> Option<&str> {
    let (_, rest) = call.split_once('<')?;
    rest.split_once('>').map(|(path, _)| path)
}

/// Takes in a finished call; `at_start` is the file's size when it began, when that is known to be earlier.
fn apply(files: &mut HashMap<String, Grown>, call: &str, at_start: Option<u64>) -> Option<()> {
    let (name, _) = call.split_once('(')?;
    let result: i64 = call.rsplit_once(" = ")?.1.split(' ').next()?.parse().ok()?;
    let result = u64::try_from(result).ok()?;
    if name.starts_with("rename") {
        // RabbitMQ writes the head of its log under another name: it counts as well.
        let mut quoted = call.split('"').skip(1).step_by(2);
        let (from, to) = (quoted.next()?, quoted.next()?);
        let grown = files.remove(from)?;
        files.insert(to.to_owned(), grown);
        return Some(());
    }
    let path = path_of(call)?;
    if !path.starts_with('/') {
        return None;
    }
    let file = files.entry(path.to_owned()).or_default();
    let last_number = || {
        let (arguments, _) = call.rsplit_once(" = ")?;
        arguments.trim_end().trim_end_matches(')').rsplit(", ").next()?.parse::<u64>().ok()
    };
    match name {
        "write" | "writev" => file.bytes += result,
        "pwrite64" | "pwritev" | "pwritev2" => file.bytes = file.bytes.max(last_number()? + result),
        "ftruncate" => {
            file.bytes = last_number()?;
            file.durable = file.durable.min(file.bytes);
        }
        "fsync" | "fdatasync" => file.durable = file.durable.max(at_start.unwrap_or(file.bytes)),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_fsync_found_is_durable() {
        let trace = "7 write(5</d/a>, \"\"..., 100) = 100\n\
            7 fdatasync(5</d/a> <unfinished ...>\n\
            8 write(5</d/a>, \"\"..., 50) = 50\n\
            7 <... fdatasync resumed>)          = 0\n\
            8 pwrite64(6</d/b>, \"\"..., 10, 30)   = 10\n\
            8 write(9<TCP:[1->2]>, \"\"..., 9) = 9\n\
            8 write(7</d/c.tmp>, \"\"..., 5) = 5\n\
            8 fsync(7</d/c.tmp>) = 0\n\
            8 rename(\"/d/c.tmp\", \"/d/c\") = 0\n\
            8 writev(7</d/c>, [{iov_base=\"\"..., iov_len=8}], 1) = 8\n";
        let files = follow(trace);
        assert_eq!(files["/d/a"], Grown { bytes: 150, durable: 100 });
        assert_eq!(files["/d/b"], Grown { bytes: 40, durable: 0 });
        // What was durable under another name is so under the new one.
        assert_eq!(files["/d/c"], Grown { bytes: 13, durable: 5 });
        assert_eq!(files.len(), 3);
    }
}
