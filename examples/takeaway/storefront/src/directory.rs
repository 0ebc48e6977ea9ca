//! Which restaurants there are: read once from the list, kept up to date by notices.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hob_sdk::events::{Message, Stream};
use hob_sdk::wire::EventChange;
use hob_sdk::{Client, ClientError};
use serde_json::Value;

use crate::page::Shared;

/// Restaurants on the page.
const SHOWN_MAX: usize = 100;
/// Restaurants that are known, at most.
const KNOWN_MAX: usize = 10_000;

/// The hrefs of the restaurants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<Mutex<BTreeSet<(usize, String)>>>);

impl Directory {
    /// The first hundred, in the order of their numbers.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.hrefs().iter().take(SHOWN_MAX).map(|(_, href)| href.clone()).collect()
    }

    fn add(&self, href: String) {
        let mut hrefs = self.hrefs();
        if hrefs.len() < KNOWN_MAX {
            // Shorter first: r9 before r10.
            hrefs.insert((href.len(), href));
        }
    }

    fn remove(&self, href: &str) {
        self.hrefs().remove(&(href.len(), href.to_owned()));
    }

    fn hrefs(&self) -> MutexGuard<'_, BTreeSet<(usize, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the notices for ever: each reaches the cache first, then the directory.
pub(crate) async fn follow(client: Client, mut stream: Stream, shared: Shared) {
    let mut is_complete = false;
    loop {
        let message = stream.next().await;
        shared.cache.apply(&message);
        match message {
            Message::Connected { resumed } => is_complete &= resumed,
            Message::Heartbeat { .. } => {}
            Message::Event(event) => match (event.change(), event.subject) {
                (Some(EventChange::Delete), Some(href)) => shared.directory.remove(&href),
                (Some(_), Some(href)) => shared.directory.add(href),
                _ => {}
            },
        }
        // The list is read after the stream is connected, so that nothing falls between the two; when that fails, the
        // next message is the occasion to try again.
        if !is_complete {
            match read_all(&client, &shared.directory).await {
                Ok(()) => is_complete = true,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the restaurants cannot be listed yet"
                ),
            }
        }
    }
}

async fn read_all(client: &Client, directory: &Directory) -> Result<(), ClientError> {
    let mut target = Some(client.href("/restaurants?limit=1000"));
    while let Some(page) = target {
        let page: Value = client.get(&page).await?.json()?;
        for item in page["items"].as_array().into_iter().flatten() {
            if let Some(href) = item["_links"]["self"]["href"].as_str() {
                directory.add(href.to_owned());
            }
        }
        target = page["_links"]["next"]["href"].as_str().map(|next| client.href(next));
    }
    Ok(())
}
