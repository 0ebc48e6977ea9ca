//! A live stream of a subscription's events that reconnects by itself and resumes where it was.

use std::time::Duration;

use futures_util::StreamExt;
use hob_wire::{Event, Seek, SubscriptionSpec};
use http::StatusCode;
use tokio::time::Instant;

use super::sse::Parser;
use crate::client::{Client, Error, Request, Streaming, gateways_own};
use crate::pause::{self, Pauses};

/// Silence after which a stream is given up: Hob sends a heartbeat every two seconds.
const SILENCE_MAX: Duration = Duration::from_secs(7);
/// Pauses before attempts to connect again.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) };
/// The longest pause that Hob may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What a stream brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The stream is connected. When it is not `resumed`, events may have been missed before.
    Connected {
        /// Whether it goes on exactly where it was.
        resumed: bool,
    },
    /// An event.
    Event(Box<Event>),
    /// Everything up to this position of the event log has been brought.
    Heartbeat {
        /// The position.
        head: u64,
    },
}

/// A live stream of events. It has no end: it reconnects with growing pauses for as long as it is asked for more.
pub struct Stream {
    client: Client,
    name: String,
    spec: SubscriptionSpec,
    /// Position up to which everything has been brought.
    position: Option<u64>,
    connection: Option<Connection>,
    failures: u32,
    not_before: Instant,
    start_at_end: bool,
    is_from_now: bool,
}

struct Connection {
    streaming: Streaming,
    parser: Parser,
}

impl Stream {
    /// Follows the subscription `name` from its cursor on.
    pub fn new(client: &Client, name: &str, spec: SubscriptionSpec) -> Self {
        Self {
            client: client.clone(),
            name: name.to_owned(),
            spec,
            position: None,
            connection: None,
            failures: 0,
            not_before: Instant::now(),
            start_at_end: false,
            is_from_now: false,
        }
    }

    /// Follows the subscription `name` from now on, whatever its cursor: for readers that hold no state from before.
    pub fn from_now(client: &Client, name: &str, spec: SubscriptionSpec) -> Self {
        Self { start_at_end: true, is_from_now: true, ..Self::new(client, name, spec) }
    }

    /// The next message. Waits for as long as there is none; may be cancelled and called again.
    pub async fn next(&mut self) -> Message {
        loop {
            let Some(connection) = &mut self.connection else {
                tokio::time::sleep_until(self.not_before).await;
                match self.connect().await {
                    Ok(resumed) => return Message::Connected { resumed },
                    Err(error) => self.failed(&error, error.retry_after()),
                }
                continue;
            };
            match connection.next(&self.name).await {
                Ok(message) => {
                    self.failures = 0;
                    self.advance(&message);
                    return message;
                }
                Err(error) => {
                    self.connection = None;
                    self.failed(&error, None);
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<bool, Error> {
        if self.start_at_end {
            super::remove(&self.client, &self.name).await?;
            self.start_at_end = false;
        }
        super::put(&self.client, &self.name, &self.spec).await?;
        let mut request = Request::get(format!("/v1/subscriptions/{}/events", self.name));
        request = request.header("accept", "text/event-stream");
        if let Some(position) = self.position {
            request = request.header("last-event-id", &hob_wire::sequence_text(position));
        }
        let streaming = self.client.open(request).await?;
        if !streaming.status.is_success() {
            self.give_up_position(streaming.status).await?;
            let subject = format!("GET /v1/subscriptions/{}/events", self.name);
            let told = streaming.headers.get(http::header::RETRY_AFTER);
            let seconds = told.and_then(|told| told.to_str().ok()?.trim().parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            let (status, is_gateways_own) = (streaming.status, gateways_own(&streaming.headers));
            return Err(Error::Status { subject, status, problem: None, retry_after, is_gateways_own });
        }
        self.connection = Some(Connection { streaming, parser: Parser::default() });
        Ok(self.position.is_some())
    }

    /// Takes note that Hob no longer has what comes after our position (410), or never had the position (422: another log
    /// stands there now). The next attempt begins at the cursor, and says that something was missed; when the cursor
    /// itself is such a place, it is moved to where events are: the oldest, or the newest for who wants no past.
    async fn give_up_position(&mut self, status: StatusCode) -> Result<(), Error> {
        let is_unknown = status == StatusCode::UNPROCESSABLE_ENTITY && self.position.is_some();
        if is_unknown || (status == StatusCode::GONE && self.position.is_some()) {
            self.position = None;
            return Ok(());
        }
        if status != StatusCode::GONE {
            return Ok(());
        }
        tracing::warn!(subscription = self.name, "events that were not seen are no longer kept");
        let at = if self.is_from_now { "end" } else { "start" };
        let seek = Request::put(format!("/v1/subscriptions/{}/cursor", self.name));
        self.client.send(seek.json(&Seek { at: at.to_owned() })).await?.success().map(drop)
    }

    fn advance(&mut self, message: &Message) {
        match message {
            Message::Event(event) => self.position = self.position.max(Some(event.position())),
            Message::Heartbeat { head } => self.position = self.position.max(Some(*head)),
            Message::Connected { .. } => {}
        }
    }

    fn failed(&mut self, error: &(dyn std::error::Error + 'static), retry_after: Option<Duration>) {
        self.failures += 1;
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.not_before = Instant::now() + PAUSES.after(self.failures, pause::random()).max(asked);
        // The first loss is everyday life: a server was restarted.
        if self.failures > 3 {
            tracing::warn!(
                subscription = self.name,
                error,
                attempt = self.failures,
                "the event stream cannot be followed"
            );
        } else {
            tracing::debug!(
                subscription = self.name,
                error,
                attempt = self.failures,
                "the event stream was lost"
            );
        }
    }
}

/// Why a connected stream was given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("follow {name}: the stream ended")]
    Ended { name: String },
    #[error("follow {name}: nothing came for {} s", SILENCE_MAX.as_secs())]
    Silent { name: String },
    #[error("follow {name}")]
    Broken { name: String, source: Error },
    #[error("follow {name}")]
    TooLarge { name: String, source: super::sse::TooLarge },
    #[error("follow {name}: read {event} {data:?}")]
    Unreadable { name: String, event: String, data: String, source: serde_json::Error },
}

#[derive(serde::Deserialize)]
struct Heartbeat {
    head: String,
}

impl Connection {
    async fn next(&mut self, name: &str) -> Result<Message, Lost> {
        let named = || name.to_owned();
        loop {
            while let Some(frame) =
                self.parser.next().map_err(|source| Lost::TooLarge { name: named(), source })?
            {
                let event = frame.event.unwrap_or_default();
                let unreadable = |source| Lost::Unreadable {
                    name: named(),
                    event: event.clone(),
                    data: frame.data.chars().take(200).collect(),
                    source,
                };
                match event.as_str() {
                    "event" => {
                        return serde_json::from_str(&frame.data).map(Message::Event).map_err(unreadable);
                    }
                    "heartbeat" => {
                        let beat: Heartbeat = serde_json::from_str(&frame.data).map_err(unreadable)?;
                        return Ok(Message::Heartbeat { head: beat.head.parse().unwrap_or(0) });
                    }
                    _ => {}
                }
            }
            let chunk = tokio::time::timeout(SILENCE_MAX, self.streaming.chunks.next()).await;
            match chunk.map_err(|_| Lost::Silent { name: named() })? {
                Some(Ok(chunk)) => self.parser.push(&chunk),
                Some(Err(source)) => return Err(Lost::Broken { name: named(), source }),
                None => return Err(Lost::Ended { name: named() }),
            }
        }
    }
}
