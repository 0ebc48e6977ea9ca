//! The disposable index: sorted keys and values that are derived from the log, and may be deleted at any time.
//!
//! A family is a set of runs, immutable files of sorted entries; a commit adds a run to families, drops others, and
//! keeps a note of the caller's, all by replacing one small manifest. The log from which everything here is derived
//! takes the place of a write-ahead log, so nothing is synced: `kill -9` leaves the newest commit or the one before,
//! and after a loss of power, told by the machine's boot id, every byte is checked before it is believed. What is
//! damaged is thrown away; the caller sees by the note where to begin again.
//!
//! Memory is what the roots of the runs take, about 25 bytes for a thousand entries, and what one merge walks.

mod block;
mod error;
mod filter;
mod manifest;
mod merge;
mod run;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::lock::DirectoryLock;
use crate::segmented::segment::create_directory;
pub use error::IndexError;
use manifest::Manifest;
use merge::Merged;
use run::{Run, Search};
use write::RunWriter;

/// Runs of a family at which a commit waits for a merge.
const RUNS_MAX: usize = 32;
/// The ending of a run's file.
const RUN_SUFFIX: &str = "run";
/// Stands beside the runs once one of them was found damaged.
const DOUBT_FILE: &str = "damaged";

/// A key and its value.
pub type IndexEntry = (Vec<u8>, Vec<u8>);
/// Entries of a commit for one family, whose keys rise.
pub type IndexPut<'a> = (&'a str, &'a mut dyn Iterator<Item = (&'a [u8], &'a [u8])>);
/// Runs by family, newest first.
type Families = BTreeMap<String, Vec<Arc<Run>>>;

/// The index of one directory. Dropping it ends its merging; nothing need be flushed.
#[derive(Debug)]
pub struct Index {
    shared: Arc<Shared>,
    merging: Option<(SyncSender<()>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    boot: String,
    state: Mutex<State>,
    /// Held by whoever merges.
    merge: Mutex<()>,
    is_over: AtomicBool,
    /// Given back when nobody uses the index any more.
    _lock: Option<Arc<DirectoryLock>>,
}

#[derive(Debug, Default)]
struct State {
    families: Arc<Families>,
    note: Bytes,
    next: u64,
}

/// What a commit changes, all of it or nothing.
#[derive(Default)]
pub struct IndexCommit<'a> {
    /// Entries to add to families.
    pub puts: Vec<IndexPut<'a>>,
    /// Families to forget.
    pub drops: Vec<String>,
    /// Kept with the commit, and given back by [`Index::note`].
    pub note: Bytes,
}

impl Index {
    /// Opens the index of a directory. One that is missing, damaged or of another form is begun anew, with an empty
    /// note. Reads the whole index when the machine has been started since it was written.
    pub fn open(directory: &Path) -> Result<Self, IndexError> {
        Self::open_locked(directory, None)
    }

    pub(crate) fn open_locked(
        directory: &Path,
        lock: Option<Arc<DirectoryLock>>,
    ) -> Result<Self, IndexError> {
        let failed = |source| IndexError::io("open", directory, source);
        create_directory(directory).map_err(failed)?;
        let boot = manifest::boot();
        let state = match load(directory, &boot) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, "the index is damaged and is made anew from the log");
                // Before the runs that it names, and before the doubt about them.
                remove(&directory.join(manifest::FILE)).map_err(failed)?;
                State::default()
            }
        };
        sweep(directory, &state).map_err(failed)?;
        remove(&directory.join(DOUBT_FILE)).map_err(failed)?;
        let (wake, woken) = sync_channel(1);
        let (merge, is_over) = (Mutex::default(), AtomicBool::new(false));
        let state = Mutex::new(state);
        let shared =
            Arc::new(Shared { directory: directory.to_owned(), boot, state, merge, is_over, _lock: lock });
        let merger = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("hob-index".to_owned());
        let thread = thread.spawn(move || merger.merge_all(&woken)).map_err(failed)?;
        Ok(Self { shared, merging: Some((wake, thread)) })
    }

    /// What the newest commit noted; empty when there was none.
    pub fn note(&self) -> Bytes {
        self.shared.state().note.clone()
    }

    /// The names of the families.
    pub fn families(&self) -> Vec<String> {
        self.shared.state().families.keys().cloned().collect()
    }

    /// The entries of a family; a key that was put again may be counted again.
    pub fn entries(&self, family: &str) -> u64 {
        let families = Arc::clone(&self.shared.state().families);
        families.get(family).map_or(0, |runs| runs.iter().map(|run| run.entries).sum())
    }

    /// The values of these keys, in their order. Reads files.
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        family: &str,
        keys: &[K],
    ) -> Result<Vec<Option<Vec<u8>>>, IndexError> {
        self.look_up(family, keys).inspect_err(|error| self.shared.doubt(error))
    }

    fn look_up<K: AsRef<[u8]>>(&self, family: &str, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>, IndexError> {
        let mut values: Vec<Option<Vec<u8>>> = vec![None; keys.len()];
        let families = Arc::clone(&self.shared.state().families);
        let Some(runs) = families.get(family) else { return Ok(values) };
        let mut missing: Vec<(usize, u64)> =
            keys.iter().map(|key| filter::number(key.as_ref())).enumerate().collect();
        missing.sort_unstable_by_key(|(nth, _)| keys[*nth].as_ref());
        for run in runs {
            let mut search = Search::default();
            let mut still_missing = Vec::new();
            for (nth, number) in missing {
                values[nth] = run.get(keys[nth].as_ref(), number, &mut search)?;
                if values[nth].is_none() {
                    still_missing.push((nth, number));
                }
            }
            missing = still_missing;
        }
        Ok(values)
    }

    /// Entries of a family in order, from the first whose key is `from` or greater, as long as keys begin with
    /// `prefix`. Reads files.
    pub fn scan(
        &self,
        family: &str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<IndexEntry>, IndexError> {
        self.walk(family, prefix, from, limit).inspect_err(|error| self.shared.doubt(error))
    }

    fn walk(
        &self,
        family: &str,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<IndexEntry>, IndexError> {
        let families = Arc::clone(&self.shared.state().families);
        let Some(runs) = families.get(family) else { return Ok(Vec::new()) };
        let mut merged = Merged::new(runs, from.max(prefix))?;
        let mut found = Vec::new();
        while let Some((key, value)) = merged.entry()
            && key.starts_with(prefix)
            && found.len() < limit
        {
            found.push((key.to_vec(), value.to_vec()));
            merged.advance()?;
        }
        Ok(found)
    }

    /// Commits a change: when this returns, `kill -9` does not lose it. Writes files.
    pub fn commit(&self, commit: IndexCommit<'_>) -> Result<(), IndexError> {
        let mut added = Vec::new();
        for (family, entries) in commit.puts {
            self.shared.make_room(family)?;
            if let Some(run) = self.shared.write_run(entries)? {
                added.push((family.to_owned(), run));
            }
        }
        self.shared.replace(Some(commit.note), |families| {
            for name in &commit.drops {
                families.remove(name);
            }
            for (family, run) in added {
                families.entry(family).or_default().insert(0, run);
            }
        })?;
        if let Some((wake, _)) = &self.merging {
            // One call to merge is enough for several commits.
            let _ = wake.try_send(());
        }
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<(), IndexError> {
        self.shared.replace(Some(Bytes::new()), BTreeMap::clear)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some((wake, thread)) = self.merging.take() {
            drop(wake);
            // A merge that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a file was found damaged, so that the next start begins the index anew: within a boot of the machine
    /// it would believe what it finds.
    fn doubt(&self, error: &IndexError) {
        if !matches!(error, IndexError::Damaged { .. }) {
            return;
        }
        if let Err(error) = fs::write(self.directory.join(DOUBT_FILE), "") {
            tracing::error!(%error, "failed to note that the index is damaged; remove its folder and start again");
        }
    }

    fn next_path(&self) -> (u64, PathBuf) {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        (number, self.directory.join(format!("{number:020}.{RUN_SUFFIX}")))
    }

    /// `None` when there are no entries.
    fn write_run<'a>(
        &self,
        entries: &mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Option<Arc<Run>>, IndexError> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(None);
        }
        let (number, path) = self.next_path();
        let written = RunWriter::create(&path).and_then(|mut writer| {
            entries.try_for_each(|(key, value)| writer.push(key, value))?;
            writer.finish()
        });
        if let Err(source) = written {
            let _ = fs::remove_file(&path);
            return Err(IndexError::io("write", &path, source));
        }
        Ok(Some(Arc::new(Run::open(&path, number)?)))
    }

    /// Changes the families and makes the change last; then removes files that nobody names any more.
    fn replace(&self, note: Option<Bytes>, change: impl FnOnce(&mut Families)) -> Result<(), IndexError> {
        let mut state = self.state();
        let before = Arc::clone(&state.families);
        let mut families = (*before).clone();
        change(&mut families);
        let note = note.unwrap_or_else(|| state.note.clone());
        let named = |runs: &Vec<Arc<Run>>| runs.iter().map(|run| (run.number, run.bytes)).collect();
        let manifest = Manifest {
            boot: self.boot.clone(),
            next: state.next,
            note: note.clone(),
            families: families.iter().map(|(name, runs)| (name.clone(), named(runs))).collect(),
        };
        let written = manifest::write(&self.directory, &manifest);
        written.map_err(|source| IndexError::io("write the manifest of", &self.directory, source))?;
        let kept: HashSet<u64> = families.values().flatten().map(|run| run.number).collect();
        (state.families, state.note) = (Arc::new(families), note);
        drop(state);
        for run in before.values().flatten().filter(|run| !kept.contains(&run.number)) {
            // Whoever reads it has it open; what cannot be removed now is swept at the next start.
            let _ = fs::remove_file(&run.path);
        }
        Ok(())
    }

    /// Merges here and now when a family has too many runs.
    fn make_room(&self, family: &str) -> Result<(), IndexError> {
        while self.state().families.get(family).is_some_and(|runs| runs.len() >= RUNS_MAX) {
            match self.merge_once(family) {
                // Whoever reads them finds that, and begins anew; what is to be added is sound.
                Err(error @ IndexError::Damaged { .. }) => {
                    tracing::error!(%error, family, "runs of the index cannot be merged; they stay as they are");
                    return Ok(());
                }
                merged => drop(merged?),
            }
        }
        Ok(())
    }

    fn merge_all(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            let families: Vec<String> = self.state().families.keys().cloned().collect();
            for family in families {
                loop {
                    match self.merge_once(&family) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            self.doubt(&error);
                            tracing::error!(%error, family, "failed to merge runs of the index; they stay as they are");
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Merges runs of a family when there are enough, and says whether it did.
    fn merge_once(&self, family: &str) -> Result<bool, IndexError> {
        let _merging = self.merge.lock().unwrap_or_else(PoisonError::into_inner);
        let families = Arc::clone(&self.state().families);
        let Some(runs) = families.get(family) else { return Ok(false) };
        let sizes: Vec<u64> = runs.iter().map(|run| run.bytes).collect();
        let many = (sizes.len() >= RUNS_MAX).then_some(sizes.len());
        let Some(count) = merge::choose(&sizes).or(many) else { return Ok(false) };
        let chosen = &runs[..count];
        let (number, path) = self.next_path();
        let is_over = || self.is_over.load(Ordering::Relaxed);
        let merged = merge::merge(chosen, &path, is_over);
        let run = match merged {
            Ok(Some(())) => Arc::new(Run::open(&path, number)?),
            stopped => {
                let _ = fs::remove_file(&path);
                return stopped.map(|_| false);
            }
        };
        let merged: HashSet<u64> = chosen.iter().map(|run| run.number).collect();
        let mut is_unused = true;
        self.replace(None, |families| {
            let Some(runs) = families.get_mut(family) else { return };
            let first = runs.iter().position(|run| merged.contains(&run.number));
            let Some(first) = first.filter(|first| runs.len() >= first + count) else { return };
            if runs[first..first + count].iter().all(|run| merged.contains(&run.number)) {
                runs.splice(first..first + count, [run]);
                is_unused = false;
            }
        })?;
        if is_unused {
            let _ = fs::remove_file(&path);
        }
        Ok(!is_unused)
    }
}

/// Reads what the manifest names; fails when any of it is not as it was written.
fn load(directory: &Path, boot: &str) -> Result<State, IndexError> {
    let doubt = directory.join(DOUBT_FILE);
    if doubt.try_exists().unwrap_or(true) {
        return Err(IndexError::damaged(&doubt));
    }
    let read = manifest::read(directory).map_err(|source| IndexError::io("read", directory, source))?;
    let Some(manifest) = read else {
        let is_new = !directory.join(manifest::FILE).try_exists().unwrap_or(true);
        return if is_new { Ok(State::default()) } else { Err(IndexError::damaged(directory)) };
    };
    let is_same_boot = !boot.is_empty() && manifest.boot == boot;
    let mut families = Families::new();
    for (name, runs) in manifest.families {
        let open = |(number, bytes): (u64, u64)| {
            let path = directory.join(format!("{number:020}.{RUN_SUFFIX}"));
            let run = Arc::new(Run::open(&path, number)?);
            if run.bytes != bytes {
                return Err(IndexError::damaged(&path));
            }
            if !is_same_boot {
                run.verify()?;
            }
            Ok(run)
        };
        families.insert(name, runs.into_iter().map(open).collect::<Result<_, _>>()?);
    }
    Ok(State { families: Arc::new(families), note: manifest.note, next: manifest.next })
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what nobody names: files of commits and merges that were cut short, or of a damaged index.
fn sweep(directory: &Path, state: &State) -> io::Result<()> {
    let named: HashSet<PathBuf> = state.families.values().flatten().map(|run| run.path.clone()).collect();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == RUN_SUFFIX) && !named.contains(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}
