//! A domain service's whole `main`.

use std::str::FromStr;

use hob_sdk::{Client, ClientError, Config, OutboxError, Statsd};
use takeaway_world::Entity;

use crate::routes::router;
use crate::store::Store;

/// Why a domain service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file cannot be used.
    #[error(transparent)]
    Store(#[from] OutboxError),
    /// Hob cannot be called.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It cannot listen.
    #[error(transparent)]
    Server(#[from] hob_sdk::server::Error),
}

/// Serves the entities of the kind `E` until the process is told to stop, and posts the notices of their changes.
///
/// # Errors
/// When the file, the configuration or the port cannot be used.
pub async fn serve<E>(config: Config) -> Result<(), Error>
where
    E: Entity<Id: FromStr> + 'static,
{
    let store = Store::open(&config.data_dir, E::COLLECTION, &config.public_url).await?;
    let relay = store.outbox().relay(&Client::new(&config)?, &config);
    store.outbox().report(&Statsd::new(&config), "outbox");
    hob_sdk::server::serve(&config, router::<E>(store)).await?;
    relay.stop().await;
    Ok(())
}
