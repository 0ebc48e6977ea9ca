//! What a router is told when it starts, and every limit that it keeps.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hob_core::{Clock, Name, Secret};

/// What a router is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name under which it reports.
    pub name: Name,
    /// Where it takes requests.
    pub listen: SocketAddr,
    /// The core's API, `http://127.0.0.1:7070`.
    pub core_url: String,
    /// The router's token.
    pub token: Secret,
    /// Where the last snapshot is kept, to start with while the core is away; nowhere when left out.
    pub snapshot_file: Option<PathBuf>,
    /// Where the time of records and reports comes from.
    pub clock: Clock,
    /// The limits; [`Limits::default`] suits a machine of any size.
    pub limits: Limits,
}

/// What a router bounds: times, sizes, counts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request's head to its last. A slower client is cut off, at most half as late again.
    pub head_read: Duration,
    /// How long a client's connection may idle between requests.
    pub client_idle: Duration,
    /// How long connecting to an instance may take.
    pub connect: Duration,
    /// From the request sent to the head of the answer.
    pub response_head: Duration,
    /// How long a body may stand still, in either direction; noticed at the latest after twice this time.
    pub body_idle: Duration,
    /// How long a request waits for an instance when there is none.
    pub hold: Duration,
    /// How many requests may wait at the same time.
    pub held_max: usize,
    /// How often one request is sent, at most, when instances die under it.
    pub attempts_max: u32,
    /// Bytes of a request's body that are kept for sending it again.
    pub replay_bytes_max: usize,
    /// How long an instance that refused a connection is passed over, while others do not.
    pub skip: Duration,
    /// How long an idle connection to an instance is used again for a request that may be repeated. It is shorter than
    /// the five seconds after which common servers close theirs.
    pub reuse_idle: Duration,
    /// The same for a request that may not be repeated: a server that closes just then would have it fail.
    pub reuse_idle_unrepeatable: Duration,
    /// Idle connections kept to one instance.
    pub idle_max: usize,
    /// Clients' connections at the same time; more wait to be accepted.
    pub connections_max: usize,
    /// Bytes of a request's or an answer's head.
    pub head_bytes_max: usize,
    /// Bytes of a request's target.
    pub target_bytes_max: usize,
    /// Access records per second of requests that were neither slow nor failed.
    pub records_per_second: u32,
    /// From when on a request counts as slow, so that it is recorded always.
    pub slow: Duration,
    /// Access records that wait to be sent.
    pub records_queued_max: usize,
    /// How long requests in flight get to end when the router stops.
    pub shutdown: Duration,
    /// How long a websocket or an event stream goes on, at most, after its instance was taken from the table. Each
    /// ends at a random moment within, so that not all come back at once.
    pub linger: Duration,
    /// How long a router waits for a snapshot from the core before it begins with the one that was kept.
    pub fresh: Duration,
    /// Over how long the connections of a router that hands over are closed.
    pub spread: Duration,
    /// How long requests in flight get to end when the router hands over to another.
    pub leave: Duration,
    /// Connections of one client's address at the same time; more are closed at once.
    pub client_connections_max: u32,
    /// Bytes of a request's body.
    pub body_bytes_max: u64,
    /// Bytes a second that a request's body comes at least with, looked at every [`Limits::body_look`].
    pub body_rate_min: u64,
    /// How often it is looked at whether a request's body goes on.
    pub body_look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_read: Duration::from_secs(10),
            client_idle: Duration::from_secs(75),
            connect: Duration::from_secs(1),
            response_head: Duration::from_secs(60),
            body_idle: Duration::from_secs(60),
            hold: Duration::from_secs(5),
            held_max: 1000,
            attempts_max: 3,
            replay_bytes_max: 64 * 1024,
            skip: Duration::from_secs(1),
            reuse_idle: Duration::from_secs(4),
            reuse_idle_unrepeatable: Duration::from_secs(1),
            idle_max: 256,
            connections_max: 10_000,
            head_bytes_max: 32 * 1024,
            target_bytes_max: 8 * 1024,
            records_per_second: 200,
            slow: Duration::from_secs(1),
            records_queued_max: 10_000,
            shutdown: Duration::from_secs(10),
            linger: Duration::from_secs(60),
            fresh: Duration::ZERO,
            spread: Duration::from_secs(10),
            leave: Duration::from_secs(60),
            client_connections_max: 2_000,
            body_bytes_max: 1 << 30,
            body_rate_min: 64,
            body_look: Duration::from_secs(15),
        }
    }
}
