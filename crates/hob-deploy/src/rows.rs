//! The stored form: one key for the declarations, one per release, one per service and scope for what was decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hob_core::{Name, Scope};
use hob_store::{Expected, Kv};
use hob_wire::{Declarations, Shield};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{ReleaseRow, State};
use crate::traffic::Window;
use crate::{Error, ServiceScope};

mod fleet;

pub(crate) use fleet::{NodeRow, ScaleRow, drop_node, drop_shield, put_node, put_scale, put_shield};

const DECLARATIONS: &str = "deploy/declarations";
const STATES: &str = "deploy/states/";
const RELEASES: &str = "deploy/releases/";
const SEEN: &str = "deploy/seen/";
const EPOCH: &str = "deploy/epoch";

/// Declarations as they are stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeclarationsRow {
    pub(crate) revision: u64,
    pub(crate) declarations: Arc<Declarations>,
}

/// Everything that was stored.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) declarations: Option<DeclarationsRow>,
    pub(crate) states: BTreeMap<ServiceScope, Arc<State>>,
    pub(crate) releases: BTreeMap<ServiceScope, BTreeMap<u64, Arc<ReleaseRow>>>,
    pub(crate) shields: BTreeMap<String, Shield>,
    pub(crate) nodes: BTreeMap<Name, NodeRow>,
    pub(crate) scales: BTreeMap<ServiceScope, ScaleRow>,
    pub(crate) seen: BTreeMap<ServiceScope, SeenRow>,
}

/// What was seen of a service in a scope, and takes long to see again. Nothing follows from it by itself: it may be lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeenRow {
    /// For the gates of the rollout under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Window>,
    /// Milliseconds that the last starts took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) starts_ms: Vec<u64>,
}

/// Reads all rows.
pub(crate) async fn load(kv: &dyn Kv) -> Result<Rows, Error> {
    let mut rows = Rows::default();
    if let Some(entry) = kv.get(DECLARATIONS).await? {
        rows.declarations = Some(decode(DECLARATIONS, &entry.value)?);
    }
    for entry in kv.list(STATES).await?.entries {
        let Some((home, None)) = read_home(&entry.key, STATES) else { continue };
        rows.states.insert(home, Arc::new(decode(&entry.key, &entry.value)?));
    }
    for entry in kv.list(RELEASES).await?.entries {
        let Some((home, Some(_))) = read_home(&entry.key, RELEASES) else { continue };
        let row: ReleaseRow = decode(&entry.key, &entry.value)?;
        rows.releases.entry(home).or_default().insert(row.number, Arc::new(row));
    }
    for entry in kv.list(SEEN).await?.entries {
        let Some((home, None)) = read_home(&entry.key, SEEN) else { continue };
        // What does not read is seen again.
        rows.seen.insert(home, decode(&entry.key, &entry.value).unwrap_or_default());
    }
    fleet::load(kv, &mut rows).await?;
    Ok(rows)
}

/// Counts the starts of Hob on this data, so that revisions rise across restarts without trust in the clock.
pub(crate) async fn next_epoch(kv: &dyn Kv) -> Result<u64, Error> {
    let known: u64 = match kv.get(EPOCH).await? {
        Some(entry) => decode(EPOCH, &entry.value)?,
        None => 0,
    };
    write(kv, EPOCH, &(known + 1)).await?;
    Ok(known + 1)
}

/// Stores declarations.
pub(crate) async fn put_declarations(kv: &dyn Kv, row: &DeclarationsRow) -> Result<(), Error> {
    write(kv, DECLARATIONS, row).await
}

/// Stores what was decided about a service in a scope.
pub(crate) async fn put_state(kv: &dyn Kv, home: &ServiceScope, state: &State) -> Result<(), Error> {
    write(kv, &format!("{STATES}{}", path_of(home)), state).await
}

/// Stores what was seen of a service in a scope.
pub(crate) async fn put_seen(kv: &dyn Kv, home: &ServiceScope, row: &SeenRow) -> Result<(), Error> {
    write(kv, &format!("{SEEN}{}", path_of(home)), row).await
}

/// Stores a release. It never changes afterwards.
pub(crate) async fn put_release(kv: &dyn Kv, home: &ServiceScope, row: &ReleaseRow) -> Result<(), Error> {
    write(kv, &format!("{RELEASES}{}/{:010}", path_of(home), row.number), row).await
}

fn path_of(home: &ServiceScope) -> String {
    format!("{}/{}/{}", home.service, home.scope.environment, home.scope.tenant)
}

/// Reads `<service>/<environment>/<tenant>` and what may follow.
fn read_home<'k>(key: &'k str, prefix: &str) -> Option<(ServiceScope, Option<&'k str>)> {
    let mut parts = key.strip_prefix(prefix)?.split('/');
    let mut name = || parts.next()?.parse::<Name>().ok();
    let (service, environment, tenant) = (name()?, name()?, name()?);
    Some((ServiceScope { service, scope: Scope { environment, tenant } }, parts.next()))
}

async fn write<T: Serialize + Sync>(kv: &dyn Kv, key: &str, value: &T) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value).map_err(|source| Error::Row { key: key.to_owned(), source })?;
    kv.put(key, Expected::Any, Bytes::from(bytes)).await?;
    Ok(())
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Row { key: key.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_service_and_scope() {
        let home = ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() };
        let key = format!("{RELEASES}{}/{:010}", path_of(&home), 7);
        assert_eq!(key, "deploy/releases/orders/qa/uk/0000000007");
        assert_eq!(read_home(&key, RELEASES), Some((home, Some("0000000007"))));
        assert_eq!(read_home("deploy/releases/orders/qa", RELEASES), None);
    }

    #[test]
    fn a_state_is_stored_as_a_readable_document() {
        let empty = serde_json::to_string(&State::default()).unwrap();
        assert_eq!(serde_json::from_str::<State>(&empty).unwrap(), State::default());
        assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
    }
}
