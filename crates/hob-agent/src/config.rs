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
    /// Where packages are unpacked and temporary files are kept. This agent's alone; safe to delete while none runs.
    pub work_dir: PathBuf,
    /// Where services' data is kept: `services/<environment>/<tenant>/<service>` below it.
    pub data_dir: PathBuf,
    /// The wall clock.
    pub clock: Clock,
    /// The program whose subcommand `exec --parent PID -- PROGRAM ARGUMENTS...` ends in [`crate::exec_instance`].
    pub exec: PathBuf,
}
