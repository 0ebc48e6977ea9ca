//! The project's own tools. `cargo xtask tidy` checks the code base's own rules; they run as tests too.

mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "The project's own tools")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the rules of this code base: floors, homes of dependencies, file shapes, pages of error codes
    Tidy,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]
fn main() -> anyhow::Result<ExitCode> {
    let Arguments { task: Task::Tidy } = Arguments::parse();
    let tree = tidy::Tree::read(&root())?;
    let mut wrong = 0;
    for check in tidy::CHECKS {
        for finding in (check.run)(&tree) {
            wrong += 1;
            println!("{}: {finding}", check.name);
        }
    }
    if wrong == 0 {
        eprintln!("tidy: {} checks, nothing to mend", tidy::CHECKS.len());
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {wrong} to mend");
    Ok(ExitCode::FAILURE)
}

/// The folder of the workspace.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
