//! Packages on this node: fetched once, checked against their digest, unpacked beside and put in place at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use hob_core::limits::PACKAGE_BYTES_MAX;
use hob_core::{Digest, Id};
use tokio::sync::{Mutex, Notify, watch};

use crate::Error;
use crate::client::Client;
use crate::unpack::unpack;

/// The wait before a package that could not be fetched is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The unpacked packages of a node.
pub(crate) struct Packages {
    folder: PathBuf,
    client: Client,
    /// One is fetched or removed at a time: the others may need the same.
    turn: Mutex<()>,
    seen: std::sync::Mutex<Seen>,
    changed: Notify,
}

/// What a report says of packages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Those that are unpacked.
    pub(crate) here: BTreeSet<Digest>,
    /// Those that could not be fetched, each with the reason.
    pub(crate) unfetched: BTreeMap<Digest, String>,
}

impl Packages {
    /// Removes what an interrupted unpacking left.
    pub(crate) fn open(work_dir: &Path, client: Client) -> Result<Self, Error> {
        let folder = work_dir.join("packages");
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        let mut seen = Seen::default();
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_dir_all(&path).map_err(Error::file("remove", &path))?;
            } else {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                seen.here.extend(format!("sha256:{name}").parse::<Digest>());
            }
        }
        let (turn, seen) = (Mutex::new(()), std::sync::Mutex::new(seen));
        Ok(Self { folder, client, turn, seen, changed: Notify::new() })
    }

    /// What a report says of them.
    pub(crate) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Resolves when that changed since it last resolved.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Has what is wanted here, and nothing else, for ever. What cannot be fetched is tried again.
    pub(crate) async fn keep(&self, mut wanted: watch::Receiver<BTreeSet<Digest>>) {
        loop {
            let set = wanted.borrow_and_update().clone();
            self.note(|seen| seen.unfetched.retain(|digest, _| set.contains(digest)));
            let mut failed = false;
            for digest in &set {
                failed |= self.folder(digest).await.is_err();
                if wanted.has_changed().unwrap_or(false) {
                    break;
                }
            }
            self.prune(&wanted).await;
            let again = async {
                match failed {
                    true => tokio::time::sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = again => {}
            }
        }
    }

    async fn prune(&self, wanted: &watch::Receiver<BTreeSet<Digest>>) {
        let _turn = self.turn.lock().await;
        let here = self.lock().here.clone();
        for digest in here {
            if wanted.borrow().contains(&digest) {
                continue;
            }
            self.note(|seen| {
                seen.here.remove(&digest);
            });
            // Renamed first, so that no half of it is ever taken for the whole.
            let (place, part) =
                (self.folder.join(digest.hex()), self.folder.join(format!("{}.part", Id::short())));
            let removed = fs::rename(place, &part).and_then(|()| fs::remove_dir_all(&part));
            if let Err(error) = removed {
                tracing::warn!(%error, %digest, "a package that is not wanted any more could not be removed");
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.lock();
        let before = seen.clone();
        change(&mut seen);
        if *seen != before {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder with a package's files, fetched when it is not there.
    pub(crate) async fn folder(&self, digest: &Digest) -> Result<PathBuf, Error> {
        let folder = self.find_or_fetch(digest).await;
        self.note(|seen| match &folder {
            Ok(_) => {
                seen.here.insert(*digest);
                seen.unfetched.remove(digest);
            }
            Err(error) => drop(seen.unfetched.insert(*digest, error.chain())),
        });
        folder
    }

    async fn find_or_fetch(&self, digest: &Digest) -> Result<PathBuf, Error> {
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
