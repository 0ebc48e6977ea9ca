//! Packages on this node: fetched once, checked against their digest, unpacked beside and put in place at once.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use futures_util::StreamExt;
use hob_core::limits::PACKAGE_BYTES_MAX;
use hob_core::{Digest, Id};
use tokio::sync::Mutex;

use crate::Error;
use crate::client::Client;
use crate::unpack::unpack;

/// The unpacked packages of a node.
pub(crate) struct Packages {
    folder: PathBuf,
    client: Client,
    /// One is fetched at a time: the others may need the same.
    turn: Mutex<()>,
}

impl Packages {
    /// Removes what an interrupted unpacking left.
    pub(crate) fn open(work_dir: &Path, client: Client) -> Result<Self, Error> {
        let folder = work_dir.join("packages");
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(Self { folder, client, turn: Mutex::new(()) })
    }

    /// The folder with a package's files.
    pub(crate) async fn folder(&self, digest: &Digest) -> Result<PathBuf, Error> {
        let place = self.folder.join(digest.hex());
        if is_there(&place)? {
            return Ok(place);
        }
        let _turn = self.turn.lock().await;
        if is_there(&place)? {
            return Ok(place);
        }
        let bytes = self.fetch(digest).await?;
        let (digest, parent) = (*digest, self.folder.clone());
        let unpacked = tokio::task::spawn_blocking(move || put_in_place(&bytes, &digest, &parent));
        unpacked.await.map_err(|error| Error::Fetch { digest, why: error.to_string() })?
    }

    async fn fetch(&self, digest: &Digest) -> Result<BytesMut, Error> {
        let failed = |why: String| Error::Fetch { digest: *digest, why };
        let answer = self.client.package(digest).await.map_err(|error| failed(error.to_string()))?;
        let mut stream = answer.bytes_stream();
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| failed(crate::error::chain(&error)))?);
            if bytes.len() > PACKAGE_BYTES_MAX {
                return Err(failed(format!("it is over {PACKAGE_BYTES_MAX} bytes")));
            }
        }
        Ok(bytes)
    }
}

fn is_there(place: &Path) -> Result<bool, Error> {
    place.try_exists().map_err(Error::file("look for", place))
}

fn put_in_place(bytes: &[u8], digest: &Digest, parent: &Path) -> Result<PathBuf, Error> {
    if Digest::of(bytes) != *digest {
        let why = "what came has another digest".to_owned();
        return Err(Error::Fetch { digest: *digest, why });
    }
    let part = parent.join(format!("{}.part", Id::short()));
    let place = parent.join(digest.hex());
    if let Err(error) = unpack(bytes, &part) {
        // The error matters more than what is left; the next start of the agent removes it.
        let _ = fs::remove_dir_all(&part);
        return Err(error.into());
    }
    fs::rename(&part, &place).map_err(Error::file("put in place", &place))?;
    let synced = fs::File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(Error::file("sync", parent))?;
    Ok(place)
}
