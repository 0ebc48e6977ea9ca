//! Blobs in a directory: written beside their place, synced, then renamed into it.

use std::error::Error;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::BoxFuture;
use crate::blobs::{BLOB_BYTES_MAX, BLOB_LIST_MAX, Blob, BlobError, Blobs, check_name};
use crate::lock::DirectoryLock;

/// Blobs as files under one directory. Needs a tokio runtime.
#[derive(Debug)]
pub(crate) struct DirBlobs {
    directory: PathBuf,
    files: LocalFileSystem,
    _lock: Arc<DirectoryLock>,
}

impl DirBlobs {
    /// Opens a directory that exists, and removes what a killed write left behind.
    pub(crate) fn open(directory: &Path, lock: Arc<DirectoryLock>) -> io::Result<Self> {
        remove_staged(directory)?;
        let files = LocalFileSystem::new_with_prefix(directory).map_err(io::Error::other)?.with_fsync(true);
        Ok(Self { directory: directory.to_owned(), files, _lock: lock })
    }

    fn error(&self, action: &'static str, name: &str, error: object_store::Error) -> BlobError {
        let name = name.to_owned();
        let place = self.directory.display().to_string();
        match error {
            object_store::Error::NotFound { .. } => BlobError::NotFound { name },
            error if is_full(&error) => BlobError::Full { name, place, source: Arc::new(error) },
            error => BlobError::Engine { action, name, place, source: Arc::new(error) },
        }
    }

    async fn size(&self, action: &'static str, name: &str) -> Result<u64, BlobError> {
        let head = self.files.head(&location(name)?).await;
        Ok(head.map_err(|error| self.error(action, name, error))?.size)
    }
}

impl Blobs for DirBlobs {
    fn put(&self, name: &str, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        let name = name.to_owned();
        async move {
            let location = location(&name)?;
            if bytes.len() > BLOB_BYTES_MAX {
                return Err(BlobError::TooLarge { name, size: bytes.len() as u64 });
            }
            let written = self.files.put(&location, PutPayload::from_bytes(bytes)).await;
            written.map(drop).map_err(|error| self.error("write", &name, error))
        }
        .boxed()
    }

    fn get(&self, name: &str) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        let name = name.to_owned();
        async move {
            let found = self.files.get(&location(&name)?).await;
            let found = found.map_err(|error| self.error("read", &name, error))?;
            if found.meta.size > BLOB_BYTES_MAX as u64 {
                return Err(BlobError::TooLarge { size: found.meta.size, name });
            }
            found.bytes().await.map_err(|error| self.error("read", &name, error))
        }
        .boxed()
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        let name = name.to_owned();
        async move {
            let size = self.size("read", &name).await?;
            let range = range.start.min(size)..range.end.min(size);
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            if range.end - range.start > BLOB_BYTES_MAX as u64 {
                return Err(BlobError::TooLarge { size: range.end - range.start, name });
            }
            let read = self.files.get_range(&location(&name)?, range).await;
            read.map_err(|error| self.error("read", &name, error))
        }
        .boxed()
    }

    fn exists(&self, name: &str) -> BoxFuture<'_, Result<bool, BlobError>> {
        let name = name.to_owned();
        async move {
            match self.size("find", &name).await {
                Ok(_) => Ok(true),
                Err(BlobError::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), BlobError>> {
        let name = name.to_owned();
        async move {
            match self.files.delete(&location(&name)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.error("delete", &name, error)),
            }
        }
        .boxed()
    }

    fn room(&self) -> BoxFuture<'_, Result<Option<u64>, BlobError>> {
        let directory = self.directory.clone();
        async move {
            let asking = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&directory));
            let found = asking.await.map_err(io::Error::other).and_then(|found| Ok(found?));
            let failed = |source: io::Error| {
                self.error(
                    "ask for room for",
                    "",
                    object_store::Error::Generic { store: "files", source: source.into() },
                )
            };
            let disk = found.map_err(failed)?;
            Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
        }
        .boxed()
    }

    fn list(&self, folder: &str) -> BoxFuture<'_, Result<Vec<Blob>, BlobError>> {
        let folder = folder.trim_end_matches('/').to_owned();
        async move {
            let prefix = if folder.is_empty() { None } else { Some(location(&folder)?) };
            let mut found = self.files.list(prefix.as_ref());
            let mut blobs = Vec::new();
            while let Some(meta) = found.next().await {
                let meta = match meta {
                    Ok(meta) => meta,
                    // A blob that was deleted while the list was read is simply not there.
                    Err(object_store::Error::NotFound { .. }) => continue,
                    Err(error) => return Err(self.error("list", &folder, error)),
                };
                if blobs.len() == BLOB_LIST_MAX {
                    return Err(BlobError::ListTooLarge { folder });
                }
                blobs.push(Blob { name: meta.location.to_string(), size: meta.size });
            }
            blobs.sort();
            Ok(blobs)
        }
        .boxed()
    }
}

fn location(name: &str) -> Result<Location, BlobError> {
    check_name(name)?;
    Location::parse(name).map_err(|_| BlobError::BadName { name: name.to_owned() })
}

/// Whether the system's error at the root of `error` is a full disk.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let is_full_here = error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    });
    is_full_here || error.source().is_some_and(is_full)
}

/// Removes files that are still being staged; names of blobs cannot contain `#`.
fn remove_staged(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_staged(&entry.path())?;
        } else if entry.file_name().to_string_lossy().contains('#') {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
