//! Unpacks a package: exactly what its manifest says, in the order in which it was packed, and nothing that could
//! write elsewhere. It refuses what the check on arrival refuses, since a node trusts nobody with its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use hob_core::Digest;
use hob_core::limits::PACKAGE_BYTES_MAX;
use hob_wire::{Manifest, PACKAGE_MANIFEST_BYTES_MAX, PACKAGE_UNPACKED_BYTES_MAX, PackagedFile};
use tar::{Archive, Entry, EntryType};

/// Logarithm of the largest window that unpacking may need: 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes of headers, padding and manifest beside the files.
const OVERHEAD_BYTES_MAX: u64 = 256 << 20;
/// Zeros that the reader of the archive leaves: the second of the two blocks that end it.
const PADDING_BYTES: u64 = 512;

/// Why a package could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bytes are no package, or one that Hob does not take.
    #[error("unpack the package: {0}")]
    Wrong(String),
    /// A file could not be written.
    #[error("unpack the package into {path}", path = path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Unpacks into `folder`, which must not exist. When it fails, the folder may hold a part. It blocks.
pub fn unpack(bytes: &[u8], folder: &Path) -> Result<Manifest, UnpackError> {
    if bytes.len() > PACKAGE_BYTES_MAX {
        return Err(wrong(format!("{} bytes are over the limit of {PACKAGE_BYTES_MAX}", bytes.len())));
    }
    fs::create_dir(folder).map_err(written(folder))?;
    let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(unreadable)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(unreadable)?;
    let mut limited = decoder.take(PACKAGE_UNPACKED_BYTES_MAX + OVERHEAD_BYTES_MAX);
    let manifest = unpack_archive(&mut limited, folder)?;
    let mut padding = Vec::new();
    limited.by_ref().take(PADDING_BYTES + 1).read_to_end(&mut padding).map_err(unreadable)?;
    let is_padding = padding.len() as u64 <= PADDING_BYTES && padding.iter().all(|byte| *byte == 0);
    let mut rest = limited.into_inner().finish();
    if !is_padding || !rest.fill_buf().map_err(unreadable)?.is_empty() {
        return Err(wrong("there is something after its end"));
    }
    sync_folder(folder)?;
    Ok(manifest)
}

fn unpack_archive(reader: impl Read, folder: &Path) -> Result<Manifest, UnpackError> {
    let mut archive = Archive::new(reader);
    let mut entries = archive.entries().map_err(unreadable)?.raw(true);
    let mut next = |path: &str| -> Result<Entry<'_, _>, UnpackError> {
        let entry = entries.next().ok_or_else(|| wrong(format!("{path} is missing")))?.map_err(unreadable)?;
        if entry.path_bytes() == path.as_bytes() {
            return Ok(entry);
        }
        Err(wrong(format!("something else stands where {path:?} belongs")))
    };
    let text = read_plain(next("hob.json")?, "hob.json", PACKAGE_MANIFEST_BYTES_MAX, false)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("hob.json is wrong: {error}")))?;
    manifest.check().map_err(wrong)?;
    let descriptor = read_plain(next("service.yml")?, "service.yml", PACKAGE_MANIFEST_BYTES_MAX, false)?;
    if descriptor != manifest.descriptor.as_bytes() {
        return Err(wrong("service.yml is not the descriptor that hob.json holds"));
    }
    let (links, files): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|(_, file)| file.link.is_some());
    for (path, file) in files {
        let bytes = read_plain(next(&format!("files/{path}"))?, path, file.size, file.executable)?;
        if bytes.len() as u64 != file.size || Digest::of(&bytes) != file.digest {
            return Err(wrong(format!("{path} is not what hob.json says")));
        }
        write_file(&folder.join(path), &bytes, file.executable)?;
    }
    // Links come last, so that no file is ever written through one.
    for (path, file) in links {
        check_link(&next(&format!("files/{path}"))?, path, file)?;
        let place = folder.join(path);
        make_parent(&place)?;
        symlink(file.link.as_deref().unwrap_or_default(), &place).map_err(written(&place))?;
    }
    match entries.next() {
        None => Ok(manifest),
        Some(_) => Err(wrong("it holds more than hob.json names")),
    }
}

fn read_plain(
    mut entry: Entry<'_, impl Read>,
    path: &str,
    size_max: u64,
    executable: bool,
) -> Result<Vec<u8>, UnpackError> {
    let size = entry.header().entry_size().map_err(unreadable)?;
    if entry.header().entry_type() != EntryType::Regular || size > size_max {
        return Err(wrong(format!("{path} is no plain file of at most {size_max} bytes")));
    }
    check_marks(&entry, path, executable)?;
    let mut bytes = Vec::new();
    entry.by_ref().take(size).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(wrong("it ends too early")) }
}

fn check_link(entry: &Entry<'_, impl Read>, path: &str, file: &PackagedFile) -> Result<(), UnpackError> {
    let is_link = entry.header().entry_type() == EntryType::Symlink && entry.size() == 0;
    let target = entry.header().link_name_bytes();
    if !is_link || target.as_deref() != file.link.as_deref().map(str::as_bytes) {
        return Err(wrong(format!("{path} is not the link that hob.json says")));
    }
    check_marks(entry, path, false)
}

fn check_marks(entry: &Entry<'_, impl Read>, path: &str, executable: bool) -> Result<(), UnpackError> {
    let header = entry.header();
    let mode = if executable { 0o755 } else { 0o644 };
    let is_plain = header.mode().is_ok_and(|found| found == mode)
        && header.mtime().is_ok_and(|time| time == 0)
        && header.uid().is_ok_and(|id| id == 0)
        && header.gid().is_ok_and(|id| id == 0);
    if is_plain {
        Ok(())
    } else {
        Err(wrong(format!("{path} has a mode, a time or an owner that packing never gives")))
    }
}

fn write_file(place: &Path, bytes: &[u8], executable: bool) -> Result<(), UnpackError> {
    make_parent(place)?;
    let mode = if executable { 0o755 } else { 0o644 };
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(place);
    let mut file = file.map_err(written(place))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(written(place))
}

fn make_parent(place: &Path) -> Result<(), UnpackError> {
    let parent = place.parent().unwrap_or(place);
    fs::create_dir_all(parent).map_err(written(parent))
}

fn sync_folder(folder: &Path) -> Result<(), UnpackError> {
    for entry in fs::read_dir(folder).map_err(written(folder))? {
        let entry = entry.map_err(written(folder))?;
        if entry.file_type().map_err(written(folder))?.is_dir() {
            sync_folder(&entry.path())?;
        }
    }
    File::open(folder).and_then(|file| file.sync_all()).map_err(written(folder))
}

fn wrong(what: impl Into<String>) -> UnpackError {
    UnpackError::Wrong(what.into())
}

fn unreadable(error: io::Error) -> UnpackError {
    wrong(format!("it is no archive of the kind that Hob packs: {error}"))
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    move |source| UnpackError::Write { path: path.to_owned(), source }
}
