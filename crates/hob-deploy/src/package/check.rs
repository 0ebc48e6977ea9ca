//! Checks an archive that came from elsewhere: exactly what its manifest says, in the order in which it is packed,
//! and nothing more. Every size is bounded before anything is read by it.

use std::io::{self, BufRead, Read};

use hob_core::Digest;
use hob_core::limits::PACKAGE_BYTES_MAX;
use hob_wire::{Manifest, PACKAGE_MANIFEST_BYTES_MAX, PACKAGE_UNPACKED_BYTES_MAX, PackagedFile};
use tar::{Archive, Entry, EntryType};

use super::PackageError;

/// Logarithm of the largest window that unpacking may need: 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;
/// Bytes of headers, padding and manifest beside the files.
const OVERHEAD_BYTES_MAX: u64 = 256 << 20;
/// Zeros that the reader of the archive leaves: the second of the two blocks that end it.
const PADDING_BYTES: u64 = 512;

/// Checks an archive whole, and returns what it says of itself. It blocks.
pub fn check(bytes: &[u8]) -> Result<Manifest, PackageError> {
    if bytes.len() > PACKAGE_BYTES_MAX {
        let what = format!("{} bytes are over the limit of {PACKAGE_BYTES_MAX}; include less", bytes.len());
        return Err(PackageError::TooLarge(what));
    }
    let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(unreadable)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(unreadable)?;
    let mut limited = decoder.take(PACKAGE_UNPACKED_BYTES_MAX + OVERHEAD_BYTES_MAX);
    let manifest = check_archive(&mut limited)?;
    let mut padding = Vec::new();
    limited.by_ref().take(PADDING_BYTES + 1).read_to_end(&mut padding).map_err(unreadable)?;
    let is_padding = padding.len() as u64 <= PADDING_BYTES && padding.iter().all(|byte| *byte == 0);
    let mut rest = limited.into_inner().finish();
    if !is_padding || !rest.fill_buf().map_err(unreadable)?.is_empty() {
        return Err(wrong("there is something after its end"));
    }
    Ok(manifest)
}

fn check_archive(reader: impl Read) -> Result<Manifest, PackageError> {
    let mut archive = Archive::new(reader);
    let mut entries = archive.entries().map_err(unreadable)?.raw(true);
    let mut next = |path: &str| -> Result<Entry<'_, _>, PackageError> {
        let entry = entries.next().ok_or_else(|| wrong(format!("{path} is missing")))?.map_err(unreadable)?;
        if entry.path_bytes() != path.as_bytes() {
            let found = String::from_utf8_lossy(&entry.path_bytes()).chars().take(200).collect::<String>();
            return Err(wrong(format!("found {found:?} where {path:?} belongs")));
        }
        Ok(entry)
    };
    let mut entry = next("hob.json")?;
    let size = plain_size(&entry, "hob.json", false)?;
    if size > PACKAGE_MANIFEST_BYTES_MAX {
        return Err(wrong(format!("hob.json is over the limit of {PACKAGE_MANIFEST_BYTES_MAX} bytes")));
    }
    let text = read(&mut entry, size)?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("hob.json is wrong: {error}")))?;
    manifest.check().map_err(wrong)?;

    let mut entry = next("service.yml")?;
    let size = plain_size(&entry, "service.yml", false)?;
    if size != manifest.descriptor.len() as u64 || read(&mut entry, size)? != manifest.descriptor.as_bytes() {
        return Err(wrong("service.yml is not the descriptor that hob.json holds"));
    }
    let (links, files): (Vec<_>, Vec<_>) = manifest.files.iter().partition(|(_, file)| file.link.is_some());
    for (path, file) in files {
        check_file(next(&format!("files/{path}"))?, path, file)?;
    }
    for (path, file) in links {
        check_link(&next(&format!("files/{path}"))?, path, file)?;
    }
    match entries.next() {
        None => Ok(manifest),
        Some(_) => Err(wrong("it holds more than hob.json names")),
    }
}

fn check_file(mut entry: Entry<'_, impl Read>, path: &str, file: &PackagedFile) -> Result<(), PackageError> {
    let size = plain_size(&entry, path, file.executable)?;
    if size != file.size {
        return Err(wrong(format!("{path} has {size} bytes, hob.json says {}", file.size)));
    }
    if Digest::of(&read(&mut entry, size)?) != file.digest {
        return Err(wrong(format!("{path} is not what hob.json says: its digest differs")));
    }
    Ok(())
}

fn check_link(entry: &Entry<'_, impl Read>, path: &str, file: &PackagedFile) -> Result<(), PackageError> {
    let is_link = entry.header().entry_type() == EntryType::Symlink && entry.size() == 0;
    let target = entry.header().link_name_bytes();
    if !is_link || target.as_deref() != file.link.as_deref().map(str::as_bytes) {
        return Err(wrong(format!("{path} is not the link that hob.json says")));
    }
    check_marks(entry, path, false)
}

/// The size of a plain file with the marks that packing gives.
fn plain_size(entry: &Entry<'_, impl Read>, path: &str, executable: bool) -> Result<u64, PackageError> {
    if entry.header().entry_type() != EntryType::Regular {
        return Err(wrong(format!("{path} is no plain file")));
    }
    check_marks(entry, path, executable)?;
    entry.header().entry_size().map_err(unreadable)
}

fn check_marks(entry: &Entry<'_, impl Read>, path: &str, executable: bool) -> Result<(), PackageError> {
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

/// Reads a size that was checked. Memory grows with what is really there.
fn read(entry: &mut Entry<'_, impl Read>, size: u64) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    entry.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(wrong("it ends too early")) }
}

fn wrong(what: impl Into<String>) -> PackageError {
    PackageError::Wrong(what.into())
}

fn unreadable(error: io::Error) -> PackageError {
    PackageError::Wrong(format!("it is no archive of the kind that Hob packs: {error}"))
}
