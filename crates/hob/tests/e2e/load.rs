//! Requests at a constant rate, each counted: what came back, and after how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// A request of the load: GET of an URL, or POST of a body.
#[derive(Clone)]
pub(crate) struct Shot {
    pub(crate) url: String,
    pub(crate) body: Option<String>,
}

/// What a load came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sent: usize,
    pub(crate) failed: Vec<String>,
    latencies: Vec<Duration>,
}

impl Outcome {
    /// The latency below which the share `q` of requests lies.
    pub(crate) fn quantile(&mut self, q: f64) -> Duration {
        self.latencies.sort();
        let rank = ((self.latencies.len() as f64 * q) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(rank).copied().unwrap_or_default()
    }
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    running: JoinHandle<Outcome>,
}

impl Load {
    /// Sends `per_second` requests a second, each on time whether the one before has come back or not, taking the
    /// shots in turn.
    pub(crate) fn start(shots: Vec<Shot>, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let running = tokio::spawn(async move {
            let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
            let (mut requests, mut outcome) = (JoinSet::new(), Outcome::default());
            while !stopped.load(Ordering::Relaxed) {
                let due = ticks.tick().await;
                let shot = shots[outcome.sent % shots.len()].clone();
                outcome.sent += 1;
                requests.spawn(send(client.clone(), shot, due));
                while let Some(Ok(done)) = requests.try_join_next() {
                    note(&mut outcome, done);
                }
            }
            while let Some(Ok(done)) = requests.join_next().await {
                note(&mut outcome, done);
            }
            outcome
        });
        Self { stop, running }
    }

    /// Stops sending, waits for the last answers.
    pub(crate) async fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.running.await.unwrap()
    }
}

fn note(outcome: &mut Outcome, (result, took): (Result<(), String>, Duration)) {
    outcome.latencies.push(took);
    outcome.failed.extend(result.err());
}

async fn send(client: reqwest::Client, shot: Shot, due: Instant) -> (Result<(), String>, Duration) {
    let request = match &shot.body {
        None => client.get(&shot.url),
        Some(body) => client.post(&shot.url).header("content-type", "application/json").body(body.clone()),
    };
    let result = match request.send().await {
        Ok(answer) if answer.status().is_success() => {
            answer.bytes().await.map(drop).map_err(|error| error.to_string())
        }
        Ok(answer) => {
            let status = answer.status();
            Err(format!("{} {status} {}", shot.url, answer.text().await.unwrap_or_default()))
        }
        Err(error) => Err(format!("{error:?}")),
    };
    (result, due.elapsed())
}
