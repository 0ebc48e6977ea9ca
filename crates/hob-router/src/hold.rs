//! Requests that wait for an instance: bounded in number and in time, told to the core while they do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hob_core::code;
use hob_wire::Problem;
use tokio::time::{Instant, timeout_at};

use crate::gateway::Gateway;
use crate::lobby::Lobby;

/// The first pause before instances that refused are asked again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A request that waits; it counts as held until this is dropped.
pub(crate) struct Held {
    gateway: Arc<Gateway>,
    lobby: Arc<Lobby>,
}

impl Held {
    /// Counts a request as held, if there is room for one more. Of a pool's first the core hears at once.
    pub(crate) fn begin(gateway: &Arc<Gateway>, lobby: &Arc<Lobby>) -> Option<Self> {
        if gateway.held.fetch_add(1, Ordering::Relaxed) >= gateway.limits.held_max {
            gateway.held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if lobby.held.fetch_add(1, Ordering::Relaxed) == 0 {
            gateway.fleet.urgent.notify_one();
        }
        Some(Self { gateway: Arc::clone(gateway), lobby: Arc::clone(lobby) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lobby.held.fetch_sub(1, Ordering::Relaxed);
        self.gateway.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's time to wait for an instance, from its first wait until this is dropped.
pub(crate) struct Hold {
    held: Held,
    time: Duration,
    deadline: Instant,
    pause: Duration,
}

impl Hold {
    /// Begins to wait, if there is room.
    pub(crate) fn begin(gateway: &Arc<Gateway>, lobby: &Arc<Lobby>) -> Result<Self, Box<Problem>> {
        let Some(held) = Held::begin(gateway, lobby) else {
            gateway.counts.add(Some(&lobby.pool), "hold");
            return Err(no_instance(lobby, "and too many requests wait for one already"));
        };
        let time = lobby.hold().unwrap_or(gateway.limits.hold);
        Ok(Self { held, time, deadline: Instant::now() + time, pause: PAUSE_MIN })
    }

    /// Waits for a table newer than `epoch`; with `instances_refused`, at most for a moment. An error once the time to wait is up.
    pub(crate) async fn wait(&mut self, epoch: u64, instances_refused: bool) -> Result<(), Box<Problem>> {
        let mut until = self.deadline;
        if instances_refused {
            until = until.min(Instant::now() + self.pause);
            self.pause = PAUSE_MAX.min(self.pause * 2);
        }
        let mut changes = self.held.gateway.fleet.changes();
        let news = timeout_at(until, changes.wait_for(|newest| *newest > epoch)).await;
        if news.is_err() && Instant::now() >= self.deadline {
            let waited = hob_core::format_duration(self.time);
            self.held.gateway.counts.add(Some(&self.held.lobby.pool), "hold");
            return Err(no_instance(&self.held.lobby, &format!("and none came within {waited}")));
        }
        Ok(())
    }
}

fn no_instance(lobby: &Lobby, why: &str) -> Box<Problem> {
    let service = &lobby.service;
    let detail = format!("{service} has no instance that takes requests, {why}");
    Box::new(
        Problem::new(code::NO_INSTANCE, detail).hint(format!("see `hob instances` for what {service}'s do")),
    )
}
