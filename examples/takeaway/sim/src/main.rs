//! The simulator's command line: reads its arguments and the day, plays, and shows what came of it.

mod arguments;
mod failure;

use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use takeaway_sim::{Report, run_all, table};

use crate::arguments::Arguments;
use crate::failure::Failure;

fn main() -> ExitCode {
    match simulate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

#[expect(clippy::print_stdout, reason = "the one place where data goes out")]
fn simulate(arguments: &Arguments) -> Result<(), Failure> {
    let runs = arguments.runs()?;
    let bar = bar(runs.count() as u64);
    let played = run_all(&runs, || bar.inc(1))?;
    bar.finish_and_clear();
    let report = Report::of(&played);
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| Failure::failed(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", table(&report));
    }
    Ok(())
}

/// A bar on a terminal; nothing elsewhere.
fn bar(runs: u64) -> ProgressBar {
    let bar = ProgressBar::new(runs);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{bar:32.green/dim} {pos} of {len} days, {elapsed:.dim}, {eta} left");
    bar.set_style(style.expect("the template is right").progress_chars("━━╌"));
    bar
}
