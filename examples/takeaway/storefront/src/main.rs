//! The customers' page: a hundred restaurants, each read by its href from the cache, fresh as soon as one changes.
//!
//! The storefront owns nothing. It follows the notices of `restaurants`; while they flow, a page asks nobody.

mod directory;
mod page;

use std::process::ExitCode;
use std::time::Duration;

use hob_sdk::axum::Router;
use hob_sdk::axum::routing::get;
use hob_sdk::events::{Stream, from_now_on};
use hob_sdk::{Cache, CacheOptions, Client, Config, Statsd};

use crate::directory::Directory;
use crate::page::Shared;

/// How old a card may be that stands in for one that its owner cannot give.
const OUTDATED_FOR: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    hob_sdk::server::run(serve).await
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Client(#[from] hob_sdk::ClientError),
    #[error(transparent)]
    Server(#[from] hob_sdk::server::Error),
}

async fn serve(config: Config) -> Result<(), Error> {
    let client = Client::new(&config)?;
    // An old card is better than none while a restaurant's owner restarts.
    let options = CacheOptions { outdated_for: OUTDATED_FOR, ..CacheOptions::default() };
    let shared = Shared { cache: Cache::new(&client, options), directory: Directory::default() };
    shared.cache.report(&Statsd::new(&config), "cache");
    let spec = from_now_on(&["restaurants"]).expect("restaurants is the name of a topic");
    let stream = Stream::from_now(&client, "storefront.cache", spec);
    let follower = tokio::spawn(directory::follow(client, stream, shared.clone()));
    hob_sdk::server::serve(&config, router(shared)).await?;
    follower.abort();
    Ok(())
}

fn router(shared: Shared) -> Router {
    Router::new().route("/", get(page::html)).route("/page", get(page::json)).with_state(shared)
}

#[cfg(test)]
mod tests;
