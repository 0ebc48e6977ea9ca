//! Follows the core's routing snapshots for as long as the router runs. While the core is away, the last one stays.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hob_wire::RoutingSnapshot;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::core_client::{self, CoreClient};
use crate::fleet::Fleet;

/// A stream that says nothing for so long, not even a blank line, is dead: the core writes one every two seconds.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// The first pause before the stream is asked for again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Bytes of one snapshot.
const SNAPSHOT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Call(#[from] core_client::Error),
    #[error("read the routing stream: {0}")]
    Read(#[from] hyper::Error),
    #[error("read the routing stream: it was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("read a routing snapshot: it has more than {SNAPSHOT_BYTES_MAX} bytes")]
    TooLong,
    #[error("read a routing snapshot: {0}")]
    Nonsense(#[from] serde_json::Error),
}

/// Installs each snapshot that the core sends, and hands it to `keep`. Never returns.
pub(crate) async fn follow(
    core: Arc<CoreClient>,
    fleet: Arc<Fleet>,
    keep: watch::Sender<Option<Arc<RoutingSnapshot>>>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let mut taken_in = 0_u32;
        let ended = follow_once(&core, |snapshot| {
            fleet.install(&snapshot);
            tracing::info!(generation = snapshot.generation, "requests are routed by a new snapshot");
            keep.send_replace(Some(Arc::new(snapshot)));
            taken_in += 1;
        });
        match ended.await {
            Ok(()) => tracing::debug!("the core ended the routing stream"),
            // Said once, not with every attempt while the core is away.
            Err(error) if taken_in > 0 || pause == PAUSE_MIN => {
                tracing::warn!(%error, "the routing stream broke off; requests go on as before");
            }
            Err(error) => tracing::debug!(%error, "the routing stream was not had"),
        }
        if taken_in > 0 {
            pause = PAUSE_MIN;
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Follows one stream to its end. Generations rise within it; a new stream may come from a core that counts anew.
async fn follow_once(core: &CoreClient, mut take_in: impl FnMut(RoutingSnapshot)) -> Result<(), Error> {
    let mut body = core.get("/v1/routing").await?.into_body();
    let mut lines = Lines::default();
    let mut newest = None;
    while let Some(data) = next(&mut body).await? {
        lines.push(&data)?;
        while let Some(line) = lines.next() {
            let snapshot: RoutingSnapshot = serde_json::from_slice(&line)?;
            if newest.is_none_or(|newest| snapshot.generation >= newest) {
                newest = Some(snapshot.generation);
                take_in(snapshot);
            }
        }
    }
    Ok(())
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Error> {
    match timeout(SILENCE_MAX, body.frame()).await {
        Err(_) => Err(Error::Silent),
        Ok(None) => Ok(None),
        Ok(Some(frame)) => Ok(Some(frame?.into_data().unwrap_or_default())),
    }
}

/// Takes lines out of a stream of bytes; blank ones, the heartbeats, are passed over.
#[derive(Default)]
struct Lines {
    rest: BytesMut,
    /// How much of the rest was searched already.
    searched: usize,
}

impl Lines {
    fn push(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.rest.len() + data.len() > SNAPSHOT_BYTES_MAX {
            return Err(Error::TooLong);
        }
        self.rest.extend_from_slice(data);
        Ok(())
    }

    fn next(&mut self) -> Option<BytesMut> {
        while let Some(at) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(self.searched + at + 1);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        self.searched = self.rest.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = b"\n{\"a\":1}\n\r\n\n{\"b\":2}\n{\"c\"";
        for cut in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for part in text.chunks(cut) {
                lines.push(part).unwrap();
                while let Some(line) = lines.next() {
                    found.push(String::from_utf8(line.trim_ascii().to_vec()).unwrap());
                }
            }
            assert_eq!(found, ["{\"a\":1}", "{\"b\":2}"], "cut into {cut}");
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; SNAPSHOT_BYTES_MAX]).unwrap();
        assert!(matches!(lines.push(b"x"), Err(Error::TooLong)));
    }
}
