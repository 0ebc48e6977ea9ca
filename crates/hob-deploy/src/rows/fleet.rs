//! Keys of what people order: shields, the states of nodes, numbers of instances.

use std::collections::BTreeMap;

use hob_core::{Name, Timestamp};
use hob_store::{Expected, Kv};
use hob_wire::{NodeState, Shield};
use serde::{Deserialize, Serialize};

use super::{Rows, decode, path_of, read_home, write};
use crate::{Error, ServiceScope};

const SHIELDS: &str = "deploy/shields/";
const NODES: &str = "deploy/nodes/";
const SCALES: &str = "deploy/scales/";

/// What people decided about a node. A node without a row is active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeRow {
    pub(crate) state: NodeState,
    pub(crate) since: Timestamp,
    pub(crate) by: String,
}

/// How many instances people want, by process; none when it is as declared again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScaleRow {
    pub(crate) by_hand: BTreeMap<Name, Option<u32>>,
    pub(crate) since: Timestamp,
    pub(crate) by: String,
}

/// Reads all of them.
pub(super) async fn load(kv: &dyn Kv, rows: &mut Rows) -> Result<(), Error> {
    for entry in kv.list(SHIELDS).await?.entries {
        let shield: Shield = decode(&entry.key, &entry.value)?;
        rows.shields.insert(shield.id.clone(), shield);
    }
    for entry in kv.list(NODES).await?.entries {
        let Some(Ok(node)) = entry.key.strip_prefix(NODES).map(str::parse) else { continue };
        rows.nodes.insert(node, decode(&entry.key, &entry.value)?);
    }
    for entry in kv.list(SCALES).await?.entries {
        let Some((home, None)) = read_home(&entry.key, SCALES) else { continue };
        rows.scales.insert(home, decode(&entry.key, &entry.value)?);
    }
    Ok(())
}

/// Stores a shield in the place of one of the same id.
pub(crate) async fn put_shield(kv: &dyn Kv, shield: &Shield) -> Result<(), Error> {
    write(kv, &format!("{SHIELDS}{}", shield.id), shield).await
}

/// Forgets a shield.
pub(crate) async fn drop_shield(kv: &dyn Kv, id: &str) -> Result<(), Error> {
    kv.delete(&format!("{SHIELDS}{id}"), Expected::Any).await?;
    Ok(())
}

/// Stores what was decided about a node.
pub(crate) async fn put_node(kv: &dyn Kv, node: &Name, row: &NodeRow) -> Result<(), Error> {
    write(kv, &format!("{NODES}{node}"), row).await
}

/// Forgets what was decided about a node.
pub(crate) async fn drop_node(kv: &dyn Kv, node: &Name) -> Result<(), Error> {
    kv.delete(&format!("{NODES}{node}"), Expected::Any).await?;
    Ok(())
}

/// Stores the numbers that people want.
pub(crate) async fn put_scale(kv: &dyn Kv, home: &ServiceScope, row: &ScaleRow) -> Result<(), Error> {
    write(kv, &format!("{SCALES}{}", path_of(home)), row).await
}
