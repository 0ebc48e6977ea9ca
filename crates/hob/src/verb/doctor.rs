//! `hob doctor`: the machine, the data directory, the platform; each with the way out.

use std::process::ExitCode;

use hob_wire::{Hal, Status};

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};
use crate::settings::Settings;

/// Bytes that should be free below the data directory.
const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

pub(crate) async fn doctor(global: &Global) -> Result<ExitCode, Failure> {
    let settings = Settings::of_running(&global.data);
    let mut rows =
        vec![vec![Cell::plain("version"), Cell::state("ready"), Cell::plain(env!("CARGO_PKG_VERSION"))]];
    let mut healthy = true;
    let mut tell = |what: &str, fine: bool, words: String| {
        healthy &= fine;
        rows.push(vec![
            Cell::plain(what),
            Cell::state(if fine { "ready" } else { "failed" }),
            Cell::plain(words),
        ]);
    };
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
        }
        Err(failure) => {
            let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            tell("API", false, format!("{}{hint}", failure.message));
            let ports = settings.check_ports();
            let words =
                ports.as_ref().err().map_or_else(|| "free".to_owned(), |failure| failure.message.clone());
            tell("ports", ports.is_ok(), words);
        }
    }
    screen::table(&["what", "state", "details"], &rows, "");
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
