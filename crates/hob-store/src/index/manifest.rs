//! Which runs there are: one small file, replaced whole, so that a commit is there or is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;

use super::block;
use crate::segmented::segment::private_file;
use crate::varint::{self, Cursor};

pub(super) const FILE: &str = "manifest";
const STAGED: &str = "manifest.new";
/// What the file begins with; changes with the form of anything in the directory.
const MAGIC: &[u8] = b"hob index 1\n";
/// Where Linux tells one boot of the machine from another.
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The boot of the machine in which it was written; empty when nobody knows.
    pub(super) boot: String,
    /// The number of the next run.
    pub(super) next: u64,
    /// What the caller keeps with the commit.
    pub(super) note: Bytes,
    /// Numbers and bytes of the runs of each family, newest first.
    pub(super) families: BTreeMap<String, Vec<(u64, u64)>>,
}

/// The boot of this machine; empty when it cannot be told.
pub(super) fn boot() -> String {
    fs::read_to_string(BOOT_FILE).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The manifest of a directory, if it has a sound one.
pub(super) fn read(directory: &Path) -> io::Result<Option<Manifest>> {
    match fs::read(directory.join(FILE)) {
        Ok(bytes) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a manifest in the place of the one before. Not synced: after a loss of power the index may be an older one, or
/// be found damaged, and is brought up or built again from the log.
pub(super) fn write(directory: &Path, manifest: &Manifest) -> io::Result<()> {
    let staged = directory.join(STAGED);
    let mut file = private_file().create(true).truncate(true).open(&staged)?;
    file.write_all(&encode(manifest))?;
    fs::rename(&staged, directory.join(FILE))
}

fn encode(manifest: &Manifest) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut put = |bytes: &[u8]| {
        varint::write(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    put(manifest.boot.as_bytes());
    put(&manifest.note);
    varint::write(&mut out, manifest.next);
    for (name, runs) in &manifest.families {
        varint::write(&mut out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        varint::write(&mut out, runs.len() as u64);
        for (number, bytes) in runs {
            varint::write(&mut out, *number);
            varint::write(&mut out, *bytes);
        }
    }
    block::seal(&mut out);
    out
}

fn decode(bytes: &[u8]) -> Option<Manifest> {
    let content = block::open(bytes)?.strip_prefix(MAGIC)?;
    let mut cursor = Cursor::new(content, 0);
    let length = cursor.length()?;
    let boot = String::from_utf8(cursor.take(length)?.to_vec()).ok()?;
    let length = cursor.length()?;
    let note = Bytes::copy_from_slice(cursor.take(length)?);
    let next = cursor.varint()?;
    let mut families = BTreeMap::new();
    while cursor.position() < content.len() {
        let length = cursor.length()?;
        let name = String::from_utf8(cursor.take(length)?.to_vec()).ok()?;
        let runs = cursor.length()?;
        let runs: Option<Vec<_>> = (0..runs).map(|_| Some((cursor.varint()?, cursor.varint()?))).collect();
        families.insert(name, runs?);
    }
    Some(Manifest { boot, next, note, families })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_or_is_refused() {
        let families =
            BTreeMap::from([("a".to_owned(), vec![(3, 400), (1, 5_000_000)]), ("b".to_owned(), vec![])]);
        let manifest =
            Manifest { boot: "x".to_owned(), next: 4, note: Bytes::from_static(b"note"), families };
        let bytes = encode(&manifest);
        for flipped in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[flipped] ^= 4;
            assert_eq!(decode(&damaged), None, "byte {flipped}");
        }
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&bytes), Some(manifest));
    }
}
