//! The agent with real processes, against a core of a few lines. This program is also the one that ties instances to
//! their parent, so it has no test harness: it runs its tests itself.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "this program is a test")]

mod fake_core;
mod node;
mod unpacking;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    (
        "an_instance_gets_its_environment_and_its_lines_and_samples_are_forwarded",
        node::environment_and_output,
    ),
    ("an_instance_is_ready_when_its_probe_says_so", node::readiness),
    ("one_that_ends_is_started_again_and_says_why", node::restarts),
    ("a_stop_is_asked_for_and_then_enforced_for_the_whole_group", node::stops),
    ("a_shot_hits_its_process_and_not_the_next", node::shots),
    ("instances_live_on_while_the_core_is_away", node::core_away),
    ("instances_end_with_the_agent_that_was_killed", node::killed_agent),
    ("what_is_packed_elsewhere_is_unpacked_here_and_nothing_else", unpacking::corpus),
];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("exec") => {
            let parent = arguments[3].to_str().unwrap().parse().unwrap();
            let error = hob_agent::exec_instance(parent, &arguments[5..]);
            eprintln!("failed to run {:?}: {error}", &arguments[5..]);
            ExitCode::FAILURE
        }
        Some("agent") => node::agent_to_kill(&arguments),
        Some("--list") => {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
            ExitCode::SUCCESS
        }
        filter => run(filter.filter(|filter| !filter.starts_with('-'))),
    }
}

fn run(filter: Option<&str>) -> ExitCode {
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter))) {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    println!("\ntest result: {}. {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
