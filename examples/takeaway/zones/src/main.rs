//! Zones, with their riders and the orders that wait for one: an HTTP API over a SQLite file, and a notice of every change.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    hob_sdk::server::run(takeaway_domain::serve::<takeaway_world::Zone>).await
}
