//! Pushing events to endpoints: a task for each subscription that names a sink.
//!
//! The pure parts decide: `breaker` when an endpoint is left alone, `reply` what its answers mean, `pieces` how events
//! go together. `flight` sends one batch, `task` keeps several in the air, and `supervise` sees to it that the right
//! tasks run: it looks at what subscriptions ask for and at what runs, does the difference, and may be told too often.
//! What is handed out, when an event is tried again and when it is given up is not decided here but by the
//! subscription's `step`. The port is the one way out: the bus knows no HTTP client.

mod flight;
mod health;
mod limits;
mod message;
mod pieces;
mod port;
mod reply;
mod source;
mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{BreakerState, DeliveryError, Stall, SubscriptionState};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::handle::Inner;
use crate::lag::span;
use crate::signature::Secrets;
use crate::subscription::Subscription;
use crate::{Bus, SubscriptionKey};
use flight::{Pusher, Target};
use health::Health;
use source::Source;

pub(crate) use limits::check_delivery;
pub use port::{ANSWER_BYTES_MAX, Answer, CONNECT_TIMEOUT, Delivery, Endpoint, Unreached};

/// Pause before a task that ended by itself is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What pushing shares with the rest of the bus.
#[derive(Default)]
pub(crate) struct Pushes {
    /// Something about a subscription changed: the tasks are looked at again.
    changed: Notify,
    healths: Mutex<BTreeMap<SubscriptionKey, Arc<Health>>>,
}

impl Pushes {
    /// Tells that a subscription came, changed or went.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Adds to a subscription's state how its endpoint is doing, while it is pushed to.
    pub(crate) fn show(&self, key: &SubscriptionKey, state: &mut SubscriptionState, now: Timestamp) {
        let Some(shown) = self.healths().get(key).map(|health| health.shown()) else { return };
        state.breaker = Some(shown.breaker);
        state.next_attempt = shown.next_probe.or(state.next_attempt);
        let time = |error: &Option<DeliveryError>| error.as_ref().map(|error| error.time);
        if time(&shown.last_error) > time(&state.last_error) {
            state.last_error = shown.last_error;
        }
        // Other reasons that were found say more than that the endpoint is unwell.
        let is_plain = matches!(state.stall, None | Some(Stall::NoConsumer | Stall::Retrying));
        if shown.breaker != BreakerState::Closed && state.lag_events > 0 && is_plain {
            state.stall = Some(Stall::BreakerOpen);
            let next = shown
                .next_probe
                .map_or("is on its way".to_owned(), |next| format!("is sent in {}", span(now, next)));
            state.stall_reason =
                Some(format!("its endpoint failed several times in a row; one probe {next}"));
            "stalled".clone_into(&mut state.state);
        }
    }

    fn healths(&self) -> MutexGuard<'_, BTreeMap<SubscriptionKey, Arc<Health>>> {
        self.healths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Pushes the events of every subscription that names a sink, through this port, until told to stop or the bus is
    /// closed. Returns when the last requests on their way have ended, or a few seconds later.
    pub async fn push(&self, endpoint: Arc<dyn Endpoint>, stop: impl Future<Output = ()> + Send) {
        let bus = &self.inner;
        let mut closed = bus.closed.subscribe();
        let mut tasks =
            Tasks { bus: Arc::clone(bus), endpoint, running: BTreeMap::new(), ending: Vec::new() };
        let mut stop = std::pin::pin!(stop);
        while !*closed.borrow_and_update() {
            tasks.reconcile().await;
            tokio::select! {
                () = bus.pushes.changed.notified() => {}
                _ = closed.changed() => {}
                () = &mut stop => break,
            }
        }
        tasks.end().await;
    }
}

/// Where a subscription's events go; none while they are pulled, or its endpoint is gone.
async fn target(subscription: &Subscription) -> Option<Target> {
    let body = subscription.body.lock().await;
    let url = body.row.sink.clone()?;
    if body.state.halt.as_ref().is_some_and(|halt| halt.gone.is_some()) {
        return None;
    }
    let secrets = body.row.secrets.as_ref().and_then(Secrets::from_row);
    if secrets.is_none() {
        tracing::error!(subscription = %subscription.key, "a subscription's secret cannot be read; rotate it");
    }
    Some(Target { url, delivery: body.row.delivery.clone(), secrets: secrets? })
}

/// A task that pushes.
struct Running {
    subscription: Arc<Subscription>,
    target: Target,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Tasks {
    bus: Arc<Inner>,
    endpoint: Arc<dyn Endpoint>,
    running: BTreeMap<SubscriptionKey, Running>,
    /// Told to stop; their last requests are on their way.
    ending: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Looks at what is wanted and at what runs, and does the difference.
    async fn reconcile(&mut self) {
        let mut wanted = BTreeMap::new();
        for subscription in self.bus.subscriptions.all() {
            if let Some(target) = target(&subscription).await {
                wanted.insert(subscription.key.clone(), (subscription, target));
            }
        }
        self.ending.retain(|task| !task.is_finished());
        let is_right = |running: &Running| {
            let (subscription, target) = wanted.get(&running.subscription.key)?;
            let is_same = Arc::ptr_eq(subscription, &running.subscription) && *target == running.target;
            (is_same && !running.task.is_finished()).then_some(())
        };
        let wrong: Vec<_> = self.running.iter().filter(|(_, running)| is_right(running).is_none()).collect();
        let wrong: Vec<SubscriptionKey> = wrong.into_iter().map(|(key, _)| key.clone()).collect();
        for key in wrong {
            let Some(running) = self.running.remove(&key) else { continue };
            running.stop.send_replace(true);
            self.ending.push(running.task);
            self.bus.pushes.healths().remove(&key);
        }
        for (key, (subscription, target)) in wanted {
            if !self.running.contains_key(&key) {
                let running = self.start(subscription, target);
                self.running.insert(key, running);
            }
        }
    }

    fn start(&self, subscription: Arc<Subscription>, target: Target) -> Running {
        let health = Arc::new(Health::new(&target.delivery));
        self.bus.pushes.healths().insert(subscription.key.clone(), Arc::clone(&health));
        let bus = Arc::clone(&self.bus);
        let pusher = Pusher {
            source: Source { bus: Arc::clone(&bus), subscription: Arc::clone(&subscription) },
            endpoint: Arc::clone(&self.endpoint),
            health,
            wall: bus.clocks.wall.clone(),
            target: target.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let working = tokio::spawn(task::run(Arc::new(pusher), stopped));
        let task = tokio::spawn(async move {
            let ended = working.await;
            if let Err(error) = ended {
                tracing::error!(%error, "a task that pushes failed; it is started again");
                tokio::time::sleep(RESTART_PAUSE).await;
            }
            bus.pushes.changed();
        });
        Running { subscription, target, stop, task }
    }

    /// Stops all, and waits until their last requests are told.
    async fn end(self) {
        let Self { running, mut ending, .. } = self;
        for (_, Running { stop, task, .. }) in running {
            stop.send_replace(true);
            ending.push(task);
        }
        for task in ending {
            let _ = task.await;
        }
    }
}
