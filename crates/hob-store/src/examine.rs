//! Looks at a data directory from outside and changes nothing: what can be told when nobody has it open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::log::Gap;
use crate::open::OpenError;
use crate::part::{PartIndex, check_part, salvage_part};
use crate::segmented;

/// What is damaged in one log or one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The log's directory, or the part's file.
    pub path: PathBuf,
    /// Sequences between which records are lost.
    pub lost: Vec<Gap>,
    /// Pieces that are damaged without a record being lost.
    pub pieces: Vec<&'static str>,
}

/// Reads every log and every part of a data directory and says what is damaged. What nobody finished to write, as
/// after a crash, is no damage. Blocks the thread for as long as reading everything takes.
pub fn examine(directory: &Path) -> Result<Vec<Finding>, OpenError> {
    let mut findings = Vec::new();
    for log in folders(&directory.join("log"))? {
        let lost = segmented::examine(&log)?;
        if !lost.is_empty() {
            findings.push(Finding { path: log, lost, pieces: Vec::new() });
        }
    }
    for folder in folders(&directory.join("blobs").join("parts"))? {
        for path in files(&folder)? {
            let bytes = fs::read(&path).map_err(OpenError::io("read", &path))?;
            let (lost, pieces) = examine_part(&bytes);
            if !lost.is_empty() || !pieces.is_empty() {
                findings.push(Finding { path, lost, pieces });
            }
        }
    }
    Ok(findings)
}

fn examine_part(bytes: &[u8]) -> (Vec<Gap>, Vec<&'static str>) {
    let check = check_part(bytes);
    let gap = |frame: &crate::Frame| Gap { first: frame.first_seq, last: frame.last_seq };
    let lost = match PartIndex::decode(bytes, bytes.len() as u64) {
        Ok(index) => {
            let frames = check.frames.iter().filter_map(|number| index.frames().get(*number as usize));
            frames.map(gap).collect()
        }
        // Without the index nothing tells what was behind the last sound frame.
        Err(_) => {
            let last = salvage_part(bytes).frames().last().map_or(0, |frame| frame.last_seq);
            vec![Gap { first: last + 1, last: u64::MAX }]
        }
    };
    (lost, check.pieces)
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
    entries(directory, |kind| kind.is_dir())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
    // A file that is still being written has a # in its name.
    let mut files = entries(directory, |kind| kind.is_file())?;
    files.retain(|path| !path.to_string_lossy().contains('#'));
    Ok(files)
}

/// What lies in a directory, in order; nothing when there is none.
fn entries(directory: &Path, is_meant: impl Fn(fs::FileType) -> bool) -> Result<Vec<PathBuf>, OpenError> {
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(OpenError::io("list", directory)(error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let entry = entry.map_err(OpenError::io("list", directory))?;
        if is_meant(entry.file_type().map_err(OpenError::io("list", directory))?) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
