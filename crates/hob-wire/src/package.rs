//! What a package says of itself: `hob.json`, the first member of the archive.

use std::collections::BTreeMap;

use hob_core::{Digest, Name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `hob.json`. A package is a zstd-compressed tar archive: this file, `service.yml`, and the files under `files/`.
/// The same files give the same bytes, so nothing here says when or where it was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of this layout.
    pub format: u32,
    /// The service.
    pub name: Name,
    /// The git revision that it was built from, when it was built in a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Every file by its path below `files/`.
    pub files: BTreeMap<String, PackagedFile>,
    /// The descriptor's text.
    pub descriptor: String,
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackagedFile {
    /// Digest of its bytes; of the target's text for a link.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
    /// Where it points, when it is a symbolic link that stays within the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Manifest {
    /// The present version of the layout.
    pub const FORMAT: u32 = 1;
}
