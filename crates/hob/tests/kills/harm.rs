//! What may happen to the files of a core that does not run: writes that were torn, bits that flipped, sectors that were
//! lost; and what a crash leaves behind that must never matter.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::traffic::Random;

/// Bytes that are lost or left at once.
const SECTOR: usize = 512;
/// Where the manifest of the index has the boot of the machine, whose checksum ends it.
const BOOT: std::ops::Range<usize> = 13..49;

/// Which files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Segments of the event log.
    Log,
    /// Sealed parts of it.
    Part,
    /// The disposable index.
    Index,
}

impl Kind {
    /// The files of a data directory, oldest first.
    pub(crate) fn files(self, folder: &Path) -> Vec<PathBuf> {
        let folder = folder.join(match self {
            Self::Log => "log/events",
            Self::Part => "blobs/parts",
            Self::Index => "index",
        });
        let (mut found, mut folders) = (Vec::new(), vec![folder]);
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
}

/// The segment of the log that was written to last.
pub(crate) fn newest_segment(folder: &Path) -> PathBuf {
    let files = Kind::Log.files(folder);
    files.into_iter().rfind(|path| path.extension().is_some_and(|ending| ending == "log")).expect("a segment")
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    /// Its end is cut off, as when a write was torn.
    Torn,
    /// One bit is another.
    Flipped,
    /// A sector is zeros, as when a write was lost.
    Zeroed,
}

/// Damages one file at a random place and says where.
pub(crate) fn harm(path: &Path, damage: Damage, random: &mut Random) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = random.below(bytes.len() as u64) as usize;
    match damage {
        Damage::Torn => bytes.truncate(at),
        Damage::Flipped => bytes[at] ^= 1 << random.below(8),
        Damage::Zeroed => {
            let end = bytes.len().min(at + SECTOR);
            bytes[at..end].fill(0);
        }
    }
    fs::write(path, bytes).unwrap();
    format!("{damage:?} at {at} of {}", path.display())
}

/// Has the index think that the machine was started since it was written, so that it checks what it finds.
pub(crate) fn another_boot(folder: &Path) {
    let path = folder.join("index/manifest");
    let Ok(text) = fs::read(&path) else { return };
    let mut other = text[..text.len() - 4].to_vec();
    other[BOOT].fill(b'0');
    other.extend(crc32c::crc32c(&other).to_le_bytes());
    fs::write(&path, other).unwrap();
}

/// What a crash may leave and that must cost nothing: the beginning of a write that was never acknowledged, or an index
/// that lacks anything at all. Says what it was.
pub(crate) fn leave_behind(folder: &Path, random: &mut Random) -> Option<&'static str> {
    match random.below(32) {
        0..8 => {
            tear(&newest_segment(folder), random);
            Some("a write that was torn")
        }
        // Seldom, since the whole log is read again.
        8 | 9 => {
            another_boot(folder);
            let files = Kind::Index.files(folder);
            let path = files.get(random.below(files.len().max(1) as u64) as usize)?;
            let damage = [Damage::Torn, Damage::Flipped, Damage::Zeroed][random.below(3) as usize];
            harm(path, damage, random);
            Some("a damaged index")
        }
        10 => {
            fs::remove_dir_all(folder.join("index")).ok()?;
            Some("no index")
        }
        _ => None,
    }
}

/// Puts behind a log's end what an unfinished write may have left: noise, zeros, or older bytes of the disk.
fn tear(path: &Path, random: &mut Random) {
    let before = fs::read(path).unwrap();
    let count = 1 + random.below(3 * SECTOR as u64) as usize;
    let left: Vec<u8> = match random.below(3) {
        0 => (0..count).map(|_| random.below(256) as u8).collect(),
        1 => vec![0; count],
        _ => {
            let from = random.below(before.len() as u64) as usize;
            before[from..before.len().min(from + count)].to_vec()
        }
    };
    fs::File::options().append(true).open(path).unwrap().write_all(&left).unwrap();
}
