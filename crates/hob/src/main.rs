//! The Hob binary. Here it only reads its arguments, runs a verb and turns its end into an exit code.

mod cli;
mod core;
mod doorkeeper;
mod doors;
mod failure;
mod project;
mod remote;
mod screen;
mod settings;
mod supervisor;
mod verb;

use std::process::ExitCode;

use clap::Parser;

/// Takes a fraction of the C library's time; see `docs/adr/0002-build-profiles.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // There is one of these for each instance: it reads no command line, and starts no thread.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == "shim") {
        return hob_agent::run_shim(&arguments.collect::<Vec<_>>());
    }
    let arguments = cli::Arguments::parse();
    match verb::run(arguments) {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    }
}
