//! `hob doctor`: the machine, the data directory, the platform; each with the way out.

use std::process::ExitCode;

use hob_wire::{EventLogState, Hal, Status};
use serde::Serialize;

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};
use crate::settings::Settings;

/// Bytes that should be free below the data directory.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

pub(crate) async fn doctor(global: &Global) -> Result<ExitCode, Failure> {
    let settings = Settings::of_running(&global.data);
    let mut checks = Vec::new();
    let mut tell = |what: &'static str, fine: bool, details: String| {
        checks.push(Check { what, state: if fine { "ready" } else { "failed" }, details });
    };
    tell("version", true, env!("CARGO_PKG_VERSION").to_owned());
    let here = if settings.data.is_dir() { settings.data.as_path() } else { std::path::Path::new(".") };
    match rustix::fs::statvfs(here) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let words = format!("{:.1} GiB free below {}", free as f64 / (1 << 30) as f64, here.display());
            tell("disk", free >= FREE_BYTES_MIN, words);
        }
        Err(error) => tell("disk", false, error.to_string()),
    }
    let status = match Remote::new(global) {
        Ok(remote) => remote.get::<Hal<Status>>("/v1/status".to_owned()).await,
        Err(failure) => Err(failure),
    };
    match status {
        Ok(status) => {
            let status = status.body;
            tell("API", true, format!("answers at {}", settings.api_url()));
            tell("node", status.nodes > 0, format!("{} live; without one nothing is started", status.nodes));
            tell("router", status.routers > 0, format!("{} live at {}", status.routers, status.router_url));
            let ready = format!("{} of {} ready; see hob services", status.services_ready, status.services);
            tell("services", status.services_ready == status.services, ready);
            let (fine, words) = events(&status.event_log);
            tell("events", fine, words);
        }
        Err(failure) => {
            let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            tell("API", false, format!("{}{hint}", failure.message));
            let ports = settings.check_ports();
            let words =
                ports.as_ref().err().map_or_else(|| "free".to_owned(), |failure| failure.message.clone());
            tell("ports", ports.is_ok(), words);
            // Nobody answers, so the files are looked at themselves; nothing in them is changed.
            let data = settings.data.clone();
            let examined = tokio::task::spawn_blocking(move || hob_store::examine(&data)).await;
            match examined {
                Ok(Ok(findings)) if findings.is_empty() => {
                    tell("data", true, "every record can be read".to_owned());
                }
                Ok(Ok(findings)) => findings.iter().for_each(|finding| tell("data", false, damage(finding))),
                Ok(Err(error)) => tell("data", false, format!("failed to {error}")),
                Err(error) => tell("data", false, error.to_string()),
            }
        }
    }
    show(global, &checks);
    let healthy = checks.iter().all(|check| check.state == "ready");
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    state: &'static str,
    details: String,
}

fn show(global: &Global, checks: &[Check]) {
    if global.json {
        return screen::json(&checks);
    }
    let row =
        |check: &Check| vec![Cell::plain(check.what), Cell::state(check.state), Cell::plain(&check.details)];
    let rows: Vec<Vec<Cell>> = checks.iter().map(row).collect();
    screen::table(&["what", "state", "details"], &rows, "");
}

/// How the event log is, and whether that is fine.
fn events(log: &EventLogState) -> (bool, String) {
    if log.full {
        return (false, "refused: the disk is full; free some space".to_owned());
    }
    let ranges: Vec<String> = log.damaged.iter().map(|gap| between(gap.first, gap.last)).collect();
    if !ranges.is_empty() {
        let words =
            format!("damaged {}; the rest is served; restore the data from a copy", ranges.join(", "));
        return (false, words);
    }
    (true, format!("{:.1} MiB, sealed up to {}", log.bytes as f64 / f64::from(1 << 20), log.sealed))
}

fn damage(finding: &hob_store::Finding) -> String {
    let ranges = finding.lost.iter().map(|gap| between(gap.first, gap.last));
    let pieces = finding.pieces.iter().map(|piece| format!("its {piece}, which loses no record"));
    let what: Vec<String> = ranges.chain(pieces).collect();
    format!("{}: damaged {}; restore it from a copy", finding.path.display(), what.join(", "))
}

fn between(first: u64, last: u64) -> String {
    match last {
        u64::MAX => format!("from {first} on"),
        last if last == first => format!("at {first}"),
        last => format!("between {first} and {last}"),
    }
}

#[cfg(test)]
mod tests {
    use hob_wire::SequenceRange;

    use super::*;

    #[test]
    fn damage_and_a_full_disk_are_told() {
        let sound = EventLogState { bytes: 3 << 20, sealed: 7, ..EventLogState::default() };
        let damaged = vec![SequenceRange { first: 3, last: 3 }, SequenceRange { first: 5, last: 9 }];
        for (log, fine, words) in [
            (sound.clone(), true, "3.0 MiB, sealed up to 7"),
            (
                EventLogState { full: true, ..sound.clone() },
                false,
                "refused: the disk is full; free some space",
            ),
            (
                EventLogState { damaged, ..sound },
                false,
                "damaged at 3, between 5 and 9; the rest is served; restore the data from a copy",
            ),
        ] {
            assert_eq!(events(&log), (fine, words.to_owned()));
        }
    }
}
