//! Where an engine's state and the texts of its rules are kept: parts in the blobs, and a key that points to the two
//! newest checkpoints of a scope. Losing them costs a longer replay, nothing else.

use std::sync::Arc;

use hob_core::{Digest, Scope};
use hob_store::{Blobs, Expected, Kv, Store};
use hob_wire::{FileText, sequence_text};

use crate::Error;
use crate::engine::Engine;
use crate::model::Rules;
use crate::rows::{CheckpointEntry, CheckpointRow, FORM, ScopeClock, StateRow};

/// Checkpoints that are kept of a scope.
const GENERATIONS: usize = 2;

/// The checkpoints of one scope.
pub(crate) struct Checkpoints {
    scope: Scope,
    kv: Arc<dyn Kv>,
    blobs: Arc<dyn Blobs>,
}

/// An engine as it was, and what was its scope's clock.
pub(crate) struct Restored {
    pub(crate) engine: Engine,
    pub(crate) clock: ScopeClock,
}

fn failed<E: std::fmt::Display>(action: &str) -> impl FnOnce(E) -> Error {
    let action = action.to_owned();
    move |error| Error::Store { action, reason: error.to_string() }
}

impl Checkpoints {
    pub(crate) fn new(store: &Store, scope: &Scope) -> Self {
        Self { scope: scope.clone(), kv: Arc::clone(&store.kv), blobs: Arc::clone(&store.blobs) }
    }

    fn key(&self) -> String {
        format!("watch/{}/checkpoints", self.scope)
    }

    async fn row(&self) -> Result<CheckpointRow, Error> {
        let entry = self.kv.get(&self.key()).await.map_err(failed("read the key of the checkpoints"))?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default())
    }

    /// The newest checkpoint that is whole; an engine that has seen nothing when there is none.
    pub(crate) async fn restore(&self) -> Result<Restored, Error> {
        for entry in self.row().await?.checkpoints {
            match self.read(&entry).await {
                Ok(restored) => return Ok(restored),
                Err(reason) => {
                    let scope = &self.scope;
                    tracing::warn!(%scope, blob = entry.blob, reason, "a checkpoint cannot be used; an older one, or the log, is");
                }
            }
        }
        Ok(Restored { engine: Engine::new(self.scope.clone()), clock: ScopeClock::Unset })
    }

    async fn read(&self, entry: &CheckpointEntry) -> Result<Restored, String> {
        let bytes = self.blobs.get(&entry.blob).await.map_err(|error| error.to_string())?;
        if Digest::of(&bytes) != entry.digest {
            return Err("its bytes are damaged".to_owned());
        }
        let state: StateRow = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if state.form != FORM {
            return Err(format!("its form is {}, not {FORM}", state.form));
        }
        let rules = match state.rules {
            Some(digest) => load_rules(&*self.blobs, &digest).await.map_err(|error| error.to_string())?,
            None => Arc::default(),
        };
        let clock = entry.clock.clone();
        Ok(Restored { engine: Engine::restored(self.scope.clone(), state, rules), clock })
    }

    /// Writes a checkpoint: `bytes` is a state as of `sequence`. Forgets all but the newest two.
    pub(crate) async fn write(&self, sequence: u64, bytes: Vec<u8>, clock: ScopeClock) -> Result<(), Error> {
        let mut row = self.row().await?;
        let blob = format!("watch/{}/{}", self.scope, sequence_text(sequence));
        let digest = Digest::of(&bytes);
        self.blobs.put(&blob, bytes.into()).await.map_err(failed("write a checkpoint"))?;
        row.checkpoints.retain(|entry| entry.blob != blob);
        row.checkpoints.insert(0, CheckpointEntry { sequence, blob, digest, clock });
        let old = row.checkpoints.split_off(row.checkpoints.len().min(GENERATIONS));
        let value = serde_json::to_vec(&row).expect("rows are JSON");
        let action = "write the key of the checkpoints";
        self.kv.put(&self.key(), Expected::Any, value.into()).await.map_err(failed(action))?;
        for entry in old {
            if let Err(error) = self.blobs.delete(&entry.blob).await {
                tracing::warn!(blob = entry.blob, %error, "an old checkpoint stays");
            }
        }
        Ok(())
    }
}

fn rules_blob(digest: &Digest) -> String {
    format!("watch/rules/{}", digest.hex())
}

/// Keeps the texts of rules, by what they are.
pub(crate) async fn store_rules(blobs: &dyn Blobs, digest: &Digest, files: &[FileText]) -> Result<(), Error> {
    let bytes = serde_json::to_vec(files).expect("texts are JSON");
    blobs.put(&rules_blob(digest), bytes.into()).await.map_err(failed("write the rules"))
}

/// The texts of the rules of a digest.
pub(crate) async fn load_texts(blobs: &dyn Blobs, digest: &Digest) -> Result<Vec<FileText>, Error> {
    let bytes = blobs.get(&rules_blob(digest)).await.map_err(failed("read the rules"))?;
    serde_json::from_slice(&bytes).map_err(failed("read the rules"))
}

/// The rules of a digest, compiled.
pub(crate) async fn load_rules(blobs: &dyn Blobs, digest: &Digest) -> Result<Arc<Rules>, Error> {
    let files = load_texts(blobs, digest).await?;
    crate::rules::compile(&files).map(Arc::new).map_err(|flaws| Error::BadRules { flaws })
}
