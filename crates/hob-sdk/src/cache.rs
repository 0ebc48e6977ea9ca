//! The RESN cache: keeps what was read from hrefs for as long as no event says that it changed.
//!
//! [`step`] decides, this module acts: it follows the events, fetches, and lets one fetch of a representation serve all
//! who wait for it. While events flow, a hit asks nobody; when they stop for [`step::LIVE_FOR`], every read falls back to
//! `max-age` and revalidation by ETag (RFC 9111), so that staleness is bounded whatever happens to the bus.
//! The store is our own and not a cache library's, because an href that is being fetched must not be forgotten: its
//! generation is what tells that the fetch began before an event.

mod figures;
mod flight;
mod recency;
mod step;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hob_wire::SubscriptionSpec;
use http::{StatusCode, header};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use figures::Figures;

use crate::client::{Client, Error, Request, Response};
use crate::events::{Message, Stream};
use flight::Flights;
use step::{Answer, Look, State, Stored, Ticket, Verdict};

/// Hrefs of one [`Cache::get_many`] that are fetched at the same time.
const PARALLEL_FETCHES_MAX: usize = 16;
/// The pause before asking again, when what an event announced is not to be seen yet.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a fetch may take: a page made of many must not wait for one.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How much a cache keeps.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Bytes of all representations and what is known about them, at most.
    pub bytes_max: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { bytes_max: 32 * 1024 * 1024 }
    }
}

/// Where a representation came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From memory, and nobody was asked.
    Hit,
    /// From memory, after its owner said that it is still right.
    Revalidated,
    /// From its owner.
    Fetched,
    /// From memory although it may be outdated, because its owner did not answer.
    Stale,
}

/// A representation of an entity.
#[derive(Clone, Debug)]
pub struct Cached {
    href: String,
    /// The status: that of success, or 404 or 410.
    pub status: StatusCode,
    /// Its ETag.
    pub etag: Option<String>,
    /// Its body.
    pub body: Bytes,
    /// Where it came from.
    pub source: Source,
}

impl Cached {
    /// The entity's address.
    pub fn href(&self) -> &str {
        &self.href
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When the entity does not exist, or its body is something else.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        if !self.status.is_success() {
            return Err(Error::Status { subject: self.subject(), status: self.status, problem: None });
        }
        serde_json::from_slice(&self.body).map_err(|source| Error::Decode { subject: self.subject(), source })
    }

    fn subject(&self) -> String {
        format!("GET {}", self.href)
    }

    fn new(href: &str, stored: &Stored, source: Source) -> Self {
        let Stored { status, etag, body } = stored.clone();
        Self { href: href.to_owned(), status, etag, body, source }
    }
}

/// A cache of what other services' hrefs return. Clones share it.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    client: Client,
    state: Mutex<State>,
    flights: Flights,
    started: Instant,
    follower: OnceLock<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.get() {
            follower.abort();
        }
    }
}

impl Cache {
    /// A cache that is told of events by its owner, through [`Cache::apply`].
    pub fn new(client: &Client, options: CacheOptions) -> Self {
        Self(Arc::new(Inner {
            client: client.clone(),
            state: Mutex::new(State::new(options.bytes_max)),
            flights: Flights::default(),
            started: Instant::now(),
            follower: OnceLock::new(),
        }))
    }

    /// A cache that follows the events of `spec` by itself, under the subscription `name`.
    pub fn following(client: &Client, name: &str, spec: SubscriptionSpec, options: CacheOptions) -> Self {
        let cache = Self::new(client, options);
        let mut stream = Stream::from_now(client, name, spec);
        let inner: Weak<Inner> = Arc::downgrade(&cache.0);
        let follower = tokio::spawn(async move {
            loop {
                let message = stream.next().await;
                let Some(inner) = inner.upgrade() else { return };
                inner.apply(&message);
            }
        });
        let _ = cache.0.follower.set(follower.abort_handle());
        cache
    }

    /// Takes note of what an event stream brought. From when this returns, no read is older than the event.
    pub fn apply(&self, message: &Message) {
        self.0.apply(message);
    }

    /// Whether events flow, so that a hit needs to ask nobody.
    pub fn is_live(&self) -> bool {
        self.0.state().is_live(self.0.now())
    }

    /// What the cache has done so far, and how much it holds.
    pub fn figures(&self) -> Figures {
        self.0.state().figures()
    }

    /// The entity at `href`, as JSON with links.
    ///
    /// # Errors
    /// When its owner does not answer, or answers with another failure than 404 or 410, and nothing is kept.
    pub async fn get(&self, href: &str) -> Result<Cached, Error> {
        self.get_as(href, "application/hal+json, application/json;q=0.9").await
    }

    /// The entity at `href` in the representation that `accept` names, as the header of that name does.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get_as(&self, href: &str, accept: &str) -> Result<Cached, Error> {
        let asked = self.0.now();
        if let Some(cached) = self.0.hit(href, accept, asked) {
            return Ok(cached);
        }
        let _turn = self.0.flights.turn(href, accept).await;
        self.0.read(href, accept, asked).await
    }

    /// The entities at `hrefs`, in their order, a bounded number fetched at the same time.
    pub async fn get_many(&self, hrefs: &[String]) -> Vec<Result<Cached, Error>> {
        let reads: Vec<_> = hrefs.iter().map(|href| self.get(href)).collect();
        futures_util::stream::iter(reads).buffered(PARALLEL_FETCHES_MAX).collect().await
    }

    /// Sends a request that changes something: what is kept of its target, and of what its answer names, is read anew.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let target = request.target().to_owned();
        let outcome = self.0.client.send(request).await;
        let mut state = self.0.state();
        state.wrote(&target);
        if let Ok(answer) = &outcome {
            for name in [header::LOCATION, header::CONTENT_LOCATION] {
                if let Some(href) = answer.header(name) {
                    state.wrote(href);
                }
            }
        }
        drop(state);
        outcome
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside would have left whole entries: each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn apply(&self, message: &Message) {
        let now = self.now();
        let mut state = self.state();
        match message {
            Message::Connected { resumed: true } => {}
            Message::Connected { resumed: false } => state.reset(),
            Message::Heartbeat { .. } => state.heartbeat(now),
            Message::Event(event) => {
                if let (Some(href), Some(change)) = (&event.subject, event.change()) {
                    state.event(href, change, event.entityseq, event.entitytag.as_deref());
                }
            }
        }
    }

    fn hit(&self, href: &str, accept: &str, asked: Duration) -> Option<Cached> {
        self.state()
            .hit(href, accept, self.now(), asked)
            .map(|stored| Cached::new(href, &stored, Source::Hit))
    }

    async fn read(&self, href: &str, accept: &str, asked: Duration) -> Result<Cached, Error> {
        let look = self.state().look(href, accept, self.now(), asked);
        let mut ticket = match look {
            Look::Fresh(stored) => return Ok(Cached::new(href, &stored, Source::Hit)),
            Look::Fetch(ticket) => ticket,
        };
        loop {
            let pin = Pin { inner: self, href };
            let outcome = self.fetch(href, accept, &ticket).await;
            match self.judge(href, accept, &ticket, outcome)? {
                Verdict::Serve(stored, source) => return Ok(Cached::new(href, &stored, source)),
                Verdict::AskAgain => {
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                    ticket = self.state().again(href, ticket, self.now());
                }
            }
            drop(pin);
        }
    }

    fn judge(
        &self,
        href: &str,
        accept: &str,
        ticket: &Ticket,
        outcome: Result<Response, Error>,
    ) -> Result<Verdict, Error> {
        let now = self.now();
        match outcome {
            Ok(response) => Ok(self.state().answered(href, accept, ticket, answer(response), now)),
            Err(error) if error.may_pass() => {
                let stale = self.state().stale(href, accept, now);
                stale.map(|stored| Verdict::Serve(stored, Source::Stale)).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, href: &str, accept: &str, ticket: &Ticket) -> Result<Response, Error> {
        let mut request = Request::get(href).header(header::ACCEPT, accept).timeout(FETCH_TIMEOUT);
        if let Some(etag) = &ticket.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let answer = self.client.send(request).await?;
        let kept = answer.status == StatusCode::NOT_FOUND || answer.status == StatusCode::GONE;
        if kept { Ok(answer) } else { answer.success() }
    }
}

/// Holds an href in the cache while it is being fetched, also when the fetch is cancelled.
struct Pin<'a> {
    inner: &'a Inner,
    href: &'a str,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.inner.state().unpin(self.href);
    }
}

fn answer(response: Response) -> Answer {
    let directives = response.header(header::CACHE_CONTROL).unwrap_or("").to_ascii_lowercase();
    let directive = |name: &str| directives.split(',').map(str::trim).any(|found| found == name);
    let seconds = directives.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    Answer {
        not_modified: response.status == StatusCode::NOT_MODIFIED,
        may_store: !directive("no-store"),
        max_age: seconds.filter(|_| !directive("no-cache")).map(Duration::from_secs),
        stored: Stored {
            status: response.status,
            etag: response.etag().map(str::to_owned),
            body: response.body,
        },
    }
}
