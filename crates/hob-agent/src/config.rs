//! What an agent needs to know about its node.

use std::path::PathBuf;

use hob_core::{Clock, Name, Secret};

/// Where an agent stands.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node: Name,
    /// The core's origin, `http://127.0.0.1:7070`.
    pub core_url: String,
    /// The node's token.
    pub token: Secret,
    /// Where packages are unpacked and temporary files are kept. This agent's alone; instances end when
    /// it is deleted.
    pub work_dir: PathBuf,
    /// Where services' data is kept: `services/<environment>/<tenant>/<service>` below it.
    pub data_dir: PathBuf,
    /// The wall clock.
    pub clock: Clock,
    /// The program whose subcommand `shim ARGUMENTS...` is [`crate::run_shim`].
    pub exec: PathBuf,
}
