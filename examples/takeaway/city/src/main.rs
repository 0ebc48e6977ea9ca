//! Plays the takeaway's day: customers, kitchens and riders, in simulated time.
//!
//! `city worker` plays; `city web` shows how it goes and takes what dispatch decides. They share one SQLite file. The
//! world is a function of the day, the seed, the faults and the decisions with the step at which each came: those are
//! what is kept, and after a restart the worker replays them and goes on.

mod pace;
mod play;
mod rows;
mod settings;
mod status;
mod tell;
mod web;

use std::process::ExitCode;

use hob_sdk::{Client, ClientError, Config, ConfigError, OutboxError};

use crate::rows::Rows;
use crate::settings::Settings;

/// Why the city cannot run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Day(#[from] settings::Error),
    #[error(transparent)]
    Store(#[from] OutboxError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Server(#[from] hob_sdk::server::Error),
    #[error("run as {0:?}: say `city worker` or `city web`")]
    Role(String),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    hob_sdk::server::run(serve).await
}

async fn serve(config: Config) -> Result<(), Error> {
    let role = std::env::args().nth(1).unwrap_or_default();
    let rows = Rows::open(&config.data_dir).await?;
    match role.as_str() {
        "worker" => {
            let settings = Settings::read(&config)?;
            let city = tell::City::new(&Client::new(&config)?);
            tokio::select! {
                played = play::play(settings, rows, city) => Ok(played?),
                () = hob_sdk::server::stop_signal() => Ok(()),
            }
        }
        "web" => Ok(hob_sdk::server::serve(&config, web::router(rows)).await?),
        _ => Err(Error::Role(role)),
    }
}
