//! Makes a package of the files that a descriptor includes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use hob_core::Digest;
use hob_core::limits::PACKAGE_BYTES_MAX;
use hob_wire::{Manifest, PACKAGE_FILES_MAX, PACKAGE_UNPACKED_BYTES_MAX, PackagedFile, Service};
use tar::{Builder, EntryType, Header};

use super::PackageError;

/// How hard the bytes are pressed. It is part of what makes the same files the same bytes.
const ZSTD_LEVEL: i32 = 3;
/// Folders within folders.
const DEPTH_MAX: usize = 64;
const SETUID_SETGID: u32 = 0o6000;

/// A package in memory.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The archive.
    pub bytes: Bytes,
    /// Its name.
    pub digest: Digest,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Packs what `service` includes, relative to `folder`, with the descriptor's text and the git revision when known.
/// Refuses what could reach out of the package, each with the way out. It blocks.
pub fn pack(
    folder: &Path,
    service: &Service,
    descriptor_text: &str,
    git: Option<&str>,
) -> Result<Packed, PackageError> {
    let mut walk = Walk { root: folder, files: BTreeMap::new(), size: 0 };
    for include in &service.package.include {
        walk.include(include)?;
    }
    let files = walk.files.iter().map(|(path, found)| (path.clone(), found.packaged.clone())).collect();
    let manifest = Manifest {
        format: Manifest::FORMAT,
        name: service.service.clone(),
        git: git.map(str::to_owned),
        files,
        descriptor: descriptor_text.to_owned(),
    };
    manifest.check().map_err(PackageError::TooLarge)?;
    let bytes = write(&manifest, &walk.files)?;
    if bytes.len() > PACKAGE_BYTES_MAX {
        let what = format!("{} bytes are over the limit of {PACKAGE_BYTES_MAX}; include less", bytes.len());
        return Err(PackageError::TooLarge(what));
    }
    Ok(Packed { digest: Digest::of(&bytes), bytes: bytes.into(), manifest })
}

struct Found {
    place: PathBuf,
    packaged: PackagedFile,
}

struct Walk<'f> {
    root: &'f Path,
    files: BTreeMap<String, Found>,
    size: u64,
}

impl Walk<'_> {
    fn include(&mut self, include: &str) -> Result<(), PackageError> {
        let refuse = |why: &str| PackageError::Include { path: include.to_owned(), why: why.to_owned() };
        let mut parts = Vec::new();
        for component in Path::new(include).components() {
            match component {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::ParentDir => {
                    return Err(refuse(
                        "`..` leaves the service's folder; have `build` copy the files into it",
                    ));
                }
                Component::RootDir | Component::Prefix(_) => {
                    return Err(refuse("absolute paths are not allowed; name it relative to service.yml"));
                }
            }
        }
        let mut place = self.root.to_owned();
        for (index, part) in parts.iter().enumerate() {
            place.push(part);
            let is_inner = index + 1 < parts.len();
            match fs::symlink_metadata(&place) {
                Ok(found) if is_inner && found.is_symlink() => {
                    return Err(refuse("a folder on its way is a symbolic link; include the real folder"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(refuse(
                        "there is no such file or folder; check `include`, or what `build` makes",
                    ));
                }
                Err(source) => return Err(PackageError::Read { path: place, source }),
            }
        }
        self.add(&place, 0)
    }

    fn add(&mut self, place: &Path, depth: usize) -> Result<(), PackageError> {
        let path = self.path_of(place)?;
        let refuse = |why: &str| PackageError::Include { path: path.clone(), why: why.to_owned() };
        let read = |source| PackageError::Read { path: place.to_owned(), source };
        let metadata = fs::symlink_metadata(place).map_err(read)?;
        if metadata.is_dir() {
            if depth >= DEPTH_MAX {
                return Err(refuse("folders lie too deep in each other; include less"));
            }
            for entry in fs::read_dir(place).map_err(read)? {
                self.add(&entry.map_err(read)?.path(), depth + 1)?;
            }
            return Ok(());
        }
        let packaged = if metadata.is_symlink() {
            let target = fs::read_link(place).map_err(read)?;
            let link = target.to_str().ok_or_else(|| refuse("its target is no UTF-8; rename it"))?;
            PackagedFile {
                digest: Digest::of(link.as_bytes()),
                size: 0,
                executable: false,
                link: Some(link.to_owned()),
            }
        } else if metadata.is_file() {
            let mode = metadata.permissions().mode();
            if mode & SETUID_SETGID != 0 {
                return Err(refuse("it has the setuid or setgid bit; take it away with chmod"));
            }
            self.size += metadata.len();
            self.check_limits()?;
            let bytes = fs::read(place).map_err(read)?;
            PackagedFile {
                digest: Digest::of(&bytes),
                size: bytes.len() as u64,
                executable: mode & 0o100 != 0,
                link: None,
            }
        } else {
            return Err(refuse("it is a device, pipe or socket; only files, folders and links are packed"));
        };
        self.files.insert(path, Found { place: place.to_owned(), packaged });
        self.check_limits()
    }

    fn check_limits(&self) -> Result<(), PackageError> {
        if self.size > PACKAGE_UNPACKED_BYTES_MAX {
            let what = format!("its files are over {PACKAGE_UNPACKED_BYTES_MAX} bytes; include less");
            return Err(PackageError::TooLarge(what));
        }
        if self.files.len() > PACKAGE_FILES_MAX {
            return Err(PackageError::TooLarge(format!(
                "it has over {PACKAGE_FILES_MAX} files; include less"
            )));
        }
        Ok(())
    }

    fn path_of(&self, place: &Path) -> Result<String, PackageError> {
        let inner = place.strip_prefix(self.root).expect("the walk stays below its root");
        let refuse = || PackageError::Include {
            path: inner.display().to_string(),
            why: "its name is no UTF-8; rename it".to_owned(),
        };
        Ok(inner.to_str().ok_or_else(refuse)?.to_owned())
    }
}

fn write(manifest: &Manifest, files: &BTreeMap<String, Found>) -> Result<Vec<u8>, PackageError> {
    let hob_json = serde_json::to_vec(manifest).map_err(|error| PackageError::Write(error.into()))?;
    let encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(PackageError::Write)?;
    let mut archive = Builder::new(encoder);
    let mut put = |path: &str, executable: bool, bytes: &[u8]| -> Result<(), PackageError> {
        let mut header = header(path, EntryType::Regular, executable).map_err(PackageError::Write)?;
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, bytes).map_err(PackageError::Write)
    };
    put("hob.json", false, &hob_json)?;
    put("service.yml", false, manifest.descriptor.as_bytes())?;
    for (path, found) in files.iter().filter(|(_, found)| found.packaged.link.is_none()) {
        let bytes = fs::read(&found.place)
            .map_err(|source| PackageError::Read { path: found.place.clone(), source })?;
        if Digest::of(&bytes) != found.packaged.digest {
            let why = "it changed while it was packed; build first, then deploy".to_owned();
            return Err(PackageError::Include { path: path.clone(), why });
        }
        put(&format!("files/{path}"), found.packaged.executable, &bytes)?;
    }
    for (path, found) in files {
        let Some(link) = &found.packaged.link else { continue };
        let mut header =
            header(&format!("files/{path}"), EntryType::Symlink, false).map_err(PackageError::Write)?;
        header.set_link_name(link).map_err(PackageError::Write)?;
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, io::empty()).map_err(PackageError::Write)?;
    }
    let encoder = archive.into_inner().map_err(PackageError::Write)?;
    encoder.finish().map_err(PackageError::Write)
}

/// A header that says nothing of when, where and by whom.
fn header(path: &str, kind: EntryType, executable: bool) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    Ok(header)
}
