//! The agent with real processes, against a core of a few lines. This program is also the shim and the
//! agents that are killed, so it has no test harness: it runs its tests itself.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "this program is a test")]

mod adoption;
mod confined;
mod fake_core;
mod joining;
mod node;
mod notify;
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
    ("a_killed_agent_leaves_instances_and_the_next_adopts_them_with_every_line", adoption::killed_agent),
    ("what_has_no_room_while_no_agent_is_there_is_counted", adoption::overflow),
    ("an_agent_that_leaves_touches_nothing_and_doubles_no_line", adoption::left),
    ("a_shim_that_is_killed_takes_its_program_along", adoption::killed_shim),
    ("shims_without_their_folder_end", adoption::folder_gone),
    ("a_crash_loop_is_counted_on_by_the_next_agent", adoption::crash_loop),
    ("what_runs_once_runs_once", adoption::once),
    ("systemd_notify_is_understood", notify::systemd_notify),
    ("a_start_that_takes_too_long_says_all_that_is_known", notify::deadline),
    ("a_watchdog_and_liveness_start_again", notify::lives),
    ("a_listening_process_is_asked_for_connections_and_warmed", notify::warm_up),
    ("levels_confine_and_say_how_far", confined::levels),
    ("limits_hold_and_use_is_counted", confined::limits),
    ("a_service_keeps_its_data_with_a_user_of_its_own", confined::own_user),
    ("a_machine_joins_once_and_is_a_node_from_then_on", joining::joins),
    ("packages_come_before_they_are_needed_and_go_after", node::packages),
    ("what_is_packed_elsewhere_is_unpacked_here_and_nothing_else", unpacking::corpus),
];

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("shim") => hob_agent::run_shim(&arguments[2..]),
        Some("agent") => adoption::agent_to_kill(&arguments),
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
