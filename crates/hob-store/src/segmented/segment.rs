//! The files of a log: what they are called, how one begins, how a directory is made durable.
//!
//! ```text
//! <first sequence, 20 digits>.log   header (48 bytes), then blocks
//! id                                the log's identity, 32 hexadecimal digits
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a segment before its first block.
pub(super) const SEGMENT_HEADER_BYTES: usize = 48;
const MAGIC: &[u8; 8] = b"HOBLOG\r\n";
pub(super) const VERSION: u32 = 1;
const SUFFIX: &str = ".log";
const ID_FILE: &str = "id";

/// A log's identity: its checksums begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogId([u8; 16]);

impl LogId {
    /// Makes a new one from the random keys that the standard library seeds its hash maps with.
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let mut id = [0; 16];
        id[..8].copy_from_slice(&RandomState::new().hash_one(0_u8).to_le_bytes());
        id[8..].copy_from_slice(&RandomState::new().hash_one(std::process::id()).to_le_bytes());
        Self(id)
    }

    pub(super) fn salt(&self) -> u32 {
        crc32c::crc32c(&self.0)
    }

    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        let value = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(value.to_be_bytes()))
    }
}

/// What a segment's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// A header of this version.
    Sound(LogId),
    /// A header of another version.
    OtherVersion(u32),
    /// No header.
    Damaged,
}

pub(super) fn header(id: LogId, first_seq: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..32].copy_from_slice(&id.0);
    header[32..40].copy_from_slice(&first_seq.to_le_bytes());
    let crc = crc32c::crc32c(&header[..40]);
    header[40..44].copy_from_slice(&crc.to_le_bytes());
    header
}

pub(super) fn read_header(bytes: &[u8]) -> Beginning {
    let Some(header) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else { return Beginning::Damaged };
    let [.., a, b, c, d, _, _, _, _] = *header;
    if header[..8] != *MAGIC || crc32c::crc32c(&header[..40]) != u32::from_le_bytes([a, b, c, d]) {
        return Beginning::Damaged;
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version != VERSION {
        return Beginning::OtherVersion(version);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&header[16..32]);
    Beginning::Sound(LogId(id))
}

pub(super) fn path(directory: &Path, first_seq: u64) -> PathBuf {
    directory.join(format!("{first_seq:020}{SUFFIX}"))
}

/// Where the bytes of an unfinished write are kept that were cut off at `offset`.
pub(super) fn torn_path(segment: &Path, offset: u64) -> PathBuf {
    segment.with_extension(format!("{offset}.torn"))
}

/// Removes what was kept of unfinished writes to a segment.
pub(super) fn remove_torn(segment: &Path) -> io::Result<()> {
    let Some((directory, stem)) = segment.parent().zip(segment.file_stem()) else { return Ok(()) };
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_torn = path.extension().is_some_and(|extension| extension == "torn");
        if is_torn && path.file_stem().is_some_and(|name| Path::new(name).file_stem() == Some(stem)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The segments of a directory: first sequence and path, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20);
        if let Some(first_seq) = digits.and_then(|digits| digits.parse().ok()) {
            segments.push((first_seq, path));
        }
    }
    segments.sort();
    Ok(segments)
}

/// Creates a segment, durable with its name, and opens it for writing.
pub(super) fn create(directory: &Path, id: LogId, first_seq: u64) -> io::Result<(PathBuf, File)> {
    let path = path(directory, first_seq);
    let mut file = private_file().create_new(true).read(true).open(&path)?;
    let written = file.write_all(&header(id, first_seq)).and_then(|()| file.sync_all());
    match written.and_then(|()| sync_directory(directory)) {
        Ok(()) => Ok((path, file)),
        Err(error) => {
            // It was made just now and holds no record: removing it lets the next attempt create it again.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

/// Reads the log's identity, or makes a new one if the file is missing.
pub(super) fn read_id(directory: &Path) -> io::Result<Option<LogId>> {
    match fs::read_to_string(directory.join(ID_FILE)) {
        Ok(text) => Ok(LogId::from_hex(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn write_id(directory: &Path, id: Option<LogId>) -> io::Result<LogId> {
    let id = id.unwrap_or_else(LogId::new);
    write_durably(directory, ID_FILE, id.to_hex().as_bytes())?;
    Ok(id)
}

/// Writes a small file so that it is there whole or not at all.
pub(crate) fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let staged = directory.join(format!("{name}.new"));
    let mut file = private_file().create(true).truncate(true).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, directory.join(name))?;
    sync_directory(directory)
}

/// Creates a directory that only its owner may enter, durable with its name, unless it is there.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.try_exists()? {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}
