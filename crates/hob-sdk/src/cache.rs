//! The RESN cache: keeps what was read from hrefs for as long as no event says that it changed.
//!
//! [`step`] decides, this module acts: it follows the events, fetches, and lets one fetch of a representation serve all
//! who wait for it. While events flow, a hit asks nobody, also when the answer said `no-cache`: the events are the asking.
//! When they stop for [`CacheOptions::live_for`], every read falls back to `max-age` and revalidation (RFC 9111), so that
//! staleness is bounded whatever happens to the bus. What says `no-store` or `Vary: *` is never kept.
//! The store is our own and not a cache library's, because an href that is being fetched must not be forgotten: its
//! generation is what tells that the fetch began before an event.

mod figures;
mod flight;
mod policy;
mod recency;
mod report;
mod step;
mod variant;
mod written;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hob_core::Clock;
use hob_wire::{Event, SubscriptionSpec};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use figures::Figures;

use crate::Statsd;
use crate::client::{Client, Error, Request, Response};
use crate::events::{Message, Stream};
use flight::Flights;
use policy::Policy;
use step::{Answer, Look, Served, State, Ticket, Told, Verdict};
use variant::{Ask, Stored};

/// Hrefs of one [`Cache::get_many`] that are fetched at the same time.
const PARALLEL_FETCHES_MAX: usize = 16;
/// The pause before asking again, when what an event announced is not to be seen yet.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a fetch may take: a page made of many must not wait for one.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests for one read: the first, one after a pause, and one without conditions each.
const FETCHES_MAX: usize = 4;

/// How much a cache keeps, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Bytes of all representations and what is known about them, at most. One may take an eighth.
    pub bytes_max: usize,
    /// How long after a heartbeat of the events what is kept counts as fresh.
    pub live_for: Duration,
    /// How long beyond its `max-age` a representation may stand in for an owner that does not answer, when its own
    /// `stale-if-error` does not say.
    pub stale_for: Duration,
    /// How old it may be for that while events flow and have outdated it. Zero: readers then get the owner's failure.
    pub outdated_for: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            bytes_max: 32 * 1024 * 1024,
            live_for: Duration::from_secs(10),
            stale_for: Duration::from_secs(300),
            outdated_for: Duration::ZERO,
        }
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
    /// Its media type, as its owner wrote it.
    pub media_type: Option<String>,
    /// How old it is.
    pub age: Duration,
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
            return Err(Error::status_of(self.subject(), self.status));
        }
        serde_json::from_slice(&self.body).map_err(|source| Error::Decode { subject: self.subject(), source })
    }

    fn subject(&self) -> String {
        format!("GET {}", self.href)
    }

    fn new(href: &str, served: &Served) -> Self {
        let Stored { status, etag, media_type, body, .. } = (*served.stored).clone();
        Self { href: href.to_owned(), status, etag, media_type, age: served.age, body, source: served.source }
    }
}

/// A cache of what other services' hrefs return, read through one client and so with one token. Clones share it.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    client: Client,
    state: Mutex<State>,
    flights: Flights,
    started: Instant,
    clock: Clock,
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
            state: Mutex::new(State::new(options)),
            flights: Flights::default(),
            started: Instant::now(),
            clock: Clock::system(),
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
        self.0.state().figures(self.0.now())
    }

    /// Sends the figures as metrics every second, named `<name>.hits` and so on, for as long as the cache lives.
    pub fn report(&self, statsd: &Statsd, name: &str) {
        tokio::spawn(report::run(Arc::downgrade(&self.0), statsd.clone(), name.to_owned()));
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
        self.read(Request::get(href).header(header::ACCEPT, accept).timeout(FETCH_TIMEOUT)).await
    }

    /// What a `GET` with headers of its own returns. What was fetched with `Authorization` or `Cookie` is served to
    /// requests that carry the same ones alone; other headers matter when the answer's `Vary` names them.
    ///
    /// # Errors
    /// As [`Cache::get`], and when it is no plain `GET`: one without a body and conditions of its own.
    pub async fn read(&self, request: Request) -> Result<Cached, Error> {
        if let Some(reason) = not_plain(&request) {
            return Err(Error::Request { subject: request.subject(), reason: reason.to_owned() });
        }
        let ask = Ask::new(request.target(), request.headers());
        let asked = self.0.now();
        if let Some(served) = self.0.state().hit(&ask, asked, asked) {
            return Ok(Cached::new(ask.href, &served));
        }
        let _turn = self.0.flights.turn(ask.href, &ask.name()).await;
        self.0.read(&request, &ask, asked).await
    }

    /// The entities at `hrefs`, in their order, a bounded number fetched at the same time.
    pub async fn get_many(&self, hrefs: &[String]) -> Vec<Result<Cached, Error>> {
        let reads: Vec<_> = hrefs.iter().map(|href| self.get(href)).collect();
        futures_util::stream::iter(reads).buffered(PARALLEL_FETCHES_MAX).collect().await
    }

    /// Sends a request. When it may have changed something, what is kept of its target, and of what its answer names, is
    /// read anew.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let target = (!request.method().is_safe()).then(|| request.target().to_owned());
        let outcome = self.0.client.send(request).await;
        if let Some(target) = target {
            let mut state = self.0.state();
            for href in written::hrefs(&target, outcome.as_ref().ok().map(|answer| &answer.headers)) {
                state.wrote(&href);
            }
        }
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
            Message::Event(event) => self.told(&mut state, event, now),
        }
    }

    fn told(&self, state: &mut State, event: &Event, now: Duration) {
        let (Some(href), Some(change)) = (&event.subject, event.change()) else { return };
        let lag = self.clock.now().since(event.recordedtime);
        let (position, tag) = (event.position(), event.entitytag.as_deref());
        state.event(Told { href, change, position, tag, lag: Some(lag) }, now);
    }

    async fn read(&self, request: &Request, ask: &Ask<'_>, asked: Duration) -> Result<Cached, Error> {
        let look = self.state().look(ask, self.now(), asked);
        let mut ticket = match look {
            Look::Fresh(served) => return Ok(Cached::new(ask.href, &served)),
            Look::Fetch(ticket) => ticket,
        };
        let _pin = Pin { inner: self, href: ask.href };
        for _ in 0..FETCHES_MAX {
            let outcome = self.fetch(request, &ticket).await;
            ticket = match self.judge(ask, ticket, outcome)? {
                Verdict::Serve(served) => return Ok(Cached::new(ask.href, &served)),
                Verdict::AskAnew(ticket) => ticket,
                Verdict::AskLater(ticket) => {
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                    ticket
                }
            };
            ticket = self.state().again(ask.href, ticket, self.now());
        }
        let reason = "its owner answers 304 to a request without conditions".to_owned();
        Err(Error::Request { subject: request.subject(), reason })
    }

    fn judge(
        &self,
        ask: &Ask<'_>,
        ticket: Ticket,
        outcome: Result<Response, Error>,
    ) -> Result<Verdict, Error> {
        let now = self.now();
        match outcome {
            Ok(response) => {
                let answer = self.answer(&response);
                Ok(self.state().answered(ask, ticket, answer, now))
            }
            Err(error) if error.may_pass() => {
                let stale = self.state().stale(ask, now);
                stale.map(Verdict::Serve).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, request: &Request, ticket: &Ticket) -> Result<Response, Error> {
        let mut request = request.clone();
        if let Some(etag) = &ticket.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(modified) = &ticket.modified {
            request = request.header(header::IF_MODIFIED_SINCE, modified);
        }
        let answer = self.client.send(request).await?;
        let is_absence = answer.status == StatusCode::NOT_FOUND || answer.status == StatusCode::GONE;
        // That the router knows no way to an entity says nothing of the entity.
        if is_absence && !answer.is_gateways_own() { Ok(answer) } else { answer.success() }
    }

    fn answer(&self, response: &Response) -> Answer {
        let policy = Policy::of(response.status, &response.headers, self.clock.now());
        let header = |name| response.header(name).map(str::to_owned);
        // A buffer that grew while it was read may hold much more than the body.
        let body =
            if policy.may_store { Bytes::copy_from_slice(&response.body) } else { response.body.clone() };
        Answer {
            not_modified: response.status == StatusCode::NOT_MODIFIED,
            policy,
            stored: Stored {
                status: response.status,
                etag: header(header::ETAG),
                modified: header(header::LAST_MODIFIED),
                media_type: header(header::CONTENT_TYPE),
                body,
            },
        }
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

/// Why a request cannot be answered from memory.
fn not_plain(request: &Request) -> Option<&'static str> {
    const OWN_CONDITIONS: [header::HeaderName; 6] = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ];
    let headers: &HeaderMap = request.headers();
    if request.method() != Method::GET || !request.body().is_empty() {
        Some("only a GET without a body is read through the cache; use Cache::send")
    } else if OWN_CONDITIONS.iter().any(|name| headers.contains_key(name)) {
        Some("the cache makes its own conditions; use Client::send")
    } else {
        None
    }
}
