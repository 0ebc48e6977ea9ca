//! `hob shim`: owns one run of one instance, so that the core and the agent may be restarted, killed and upgraded
//! without the instance noticing.
//!
//! It is a process of one thread in a session of its own. It starts the program, keeps what it writes until an agent
//! has brought that to the core, hears what it says on `NOTIFY_SOCKET`, and writes down how it ended. Agents come and go
//! on its socket. It ends when it is released, or when its folder is gone and so nobody can ever ask for it.
//!
//! Every line is given at least once: a line that an agent had brought to the core without having told the shim so,
//! because it was killed in between, is given again to the next.

mod agent;
pub(crate) mod notify;
pub(crate) mod raw;
mod run;
pub(crate) mod spec;
mod spool;
mod start;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use spec::{Launch, SPEC_FILE, read_json};

/// What the shim says on its output once agents can reach it.
pub(crate) const LISTENING: &str = "listening\n";
/// The argument with which it only finds out how far an instance could be confined here.
pub(crate) const PROBE: &str = "--probe";

/// `hob shim FOLDER`, and `hob shim --probe FOLDER`. To be called from a process that has started no thread.
pub fn run_shim(arguments: &[OsString]) -> ExitCode {
    let done = match arguments {
        [probe, folder] if probe == PROBE => probe_node(Path::new(folder)),
        [folder] => run::run(Path::new(folder)),
        _ => Err(io::Error::other("say the folder of an instance: hob shim FOLDER")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The agent reads it.
            let _ = writeln!(io::stderr(), "failed to run the shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn probe_node(folder: &Path) -> io::Result<()> {
    let launch: Launch = read_json(&folder.join(SPEC_FILE))?;
    let confinement = start::probe(&launch).map_err(io::Error::other)?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&confinement)?)
}
