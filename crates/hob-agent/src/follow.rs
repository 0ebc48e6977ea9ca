//! Follows the stream of intended instances: one JSON document a line, a blank line every two seconds as a heartbeat.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hob_wire::Intended;
use tokio::sync::watch;

use crate::client::Client;

/// A stream that is silent for this long is dead: three heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// The wait before the stream is opened again.
const RETRY: Duration = Duration::from_millis(500);
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Gives each item on, for ever. While the core is away the last one stands.
pub(crate) async fn follow(client: Client, intended: watch::Sender<Option<Arc<Intended>>>) {
    let mut is_known_away = false;
    loop {
        let why = follow_once(&client, &intended).await;
        if !std::mem::replace(&mut is_known_away, true) {
            tracing::warn!(%why, "the stream of intended instances ended; it is opened again");
        }
        if intended.is_closed() {
            return;
        }
        if why.was_open {
            is_known_away = false;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Why a stream ended.
struct Ended {
    was_open: bool,
    why: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

async fn follow_once(client: &Client, intended: &watch::Sender<Option<Arc<Intended>>>) -> Ended {
    let answer = match client.intended().await {
        Ok(answer) => answer,
        Err(error) => return Ended { was_open: false, why: error.to_string() },
    };
    let ended = |why: &str| Ended { was_open: true, why: why.to_owned() };
    let mut stream = answer.bytes_stream();
    let mut buffer = Vec::new();
    loop {
        let piece = match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            Err(_) => return ended("it was silent"),
            Ok(None) => return ended("the core closed it"),
            Ok(Some(Err(error))) => return ended(&crate::error::chain(&error)),
            Ok(Some(Ok(piece))) => piece,
        };
        buffer.extend_from_slice(&piece);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice::<Intended>(&line) {
                Ok(item) => drop(intended.send_replace(Some(Arc::new(item)))),
                Err(error) => return ended(&format!("an item does not read: {error}")),
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return ended("an item is too large");
        }
    }
}
