//! Packages: immutable archives named by the digest of their bytes.
//!
//! A package is a tar archive in one zstd frame: `hob.json` (the manifest), `service.yml`, then the files below
//! `files/` in the order of their paths. Entries carry no times and no owners and one of two modes, so the same files
//! give the same bytes. `pack` makes one, `check` takes nothing on trust.

mod check;
mod collect;
mod pack;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use bytes::Bytes;
use hob_core::Digest;
use hob_store::{BlobError, Blobs};
use hob_wire::Manifest;

use crate::Error;
pub use check::check;
pub(crate) use collect::{Touched, collect};
pub use pack::{Packed, pack};

/// Why a package could not be made, or is not one.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A path that the descriptor includes is not allowed.
    #[error("include {path:?}: {why}")]
    Include {
        /// The path as it was written.
        path: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// A file could not be read.
    #[error("read {path} for the package: check that it exists and is readable", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The archive could not be written.
    #[error("write the package")]
    Write(#[source] std::io::Error),
    /// The package is over a limit.
    #[error("make the package: {0}")]
    TooLarge(String),
    /// The bytes are no package.
    #[error("check the package: {0}; build it with hob deploy")]
    Wrong(String),
}

/// Checks and stores a package. Its manifest is stored last: a package without one is not there.
/// `begins` is told its digest before any of it is.
pub(crate) async fn keep(
    blobs: &dyn Blobs,
    bytes: Bytes,
    begins: impl FnOnce(Digest),
) -> Result<Digest, Error> {
    let copy = bytes.clone();
    let task =
        tokio::task::spawn_blocking(move || check(&copy).map(|manifest| (Digest::of(&copy), manifest)));
    let (digest, manifest) = task.await.map_err(|_| Error::Unavailable)??;
    begins(digest);
    if blobs.exists(&manifest_name(&digest)).await? {
        return Ok(digest);
    }
    let text =
        serde_json::to_vec(&manifest).map_err(|source| Error::Row { key: manifest_name(&digest), source })?;
    blobs.put(&archive_name(&digest), bytes).await?;
    blobs.put(&manifest_name(&digest), Bytes::from(text)).await?;
    Ok(digest)
}

/// A package's bytes.
pub(crate) async fn find(blobs: &dyn Blobs, digest: &Digest) -> Result<Bytes, Error> {
    manifest_bytes(blobs, digest).await?;
    Ok(blobs.get(&archive_name(digest)).await?)
}

/// A package's manifest.
pub(crate) async fn manifest(blobs: &dyn Blobs, digest: &Digest) -> Result<Manifest, Error> {
    let bytes = manifest_bytes(blobs, digest).await?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Row { key: manifest_name(digest), source })
}

async fn manifest_bytes(blobs: &dyn Blobs, digest: &Digest) -> Result<Bytes, Error> {
    match blobs.get(&manifest_name(digest)).await {
        Err(BlobError::NotFound { .. }) => Err(Error::UnknownPackage(*digest)),
        other => Ok(other?),
    }
}

fn archive_name(digest: &Digest) -> String {
    format!("packages/{}/package.tar.zst", digest.hex())
}

fn manifest_name(digest: &Digest) -> String {
    format!("packages/{}/hob.json", digest.hex())
}
