//! The loop of the agent: compares what should run with what runs, does the difference, and reports.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hob_wire::{InstanceState, Intended, IntendedInstance, NodeReport};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, plain_client};
use crate::instance::{self, Instance, Shared};
use crate::packages::Packages;
use crate::plan::plan;
use crate::process::{Ports, temporary_root};
use crate::queue::Queue;
use crate::spawner::Spawner;
use crate::{Config, Error, follow, forward, leftovers};

/// A report goes out at least this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The wait after a report that did not arrive.
const REPORT_RETRY: Duration = Duration::from_millis(200);
/// Instances get this long to end with the agent, whatever their own limit says.
const SHUTDOWN_MAX: Duration = Duration::from_secs(15);
/// What was still to be forwarded gets this long.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Orders to shoot that may wait for an instance.
const SHOTS_MAX: usize = 4;

/// Runs the node's instances until `shutdown` resolves, then stops them.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
    let client = Client::new(&config)?;
    let temporary = temporary_root(&config);
    let swept = leftovers::sweep(&temporary);
    if swept > 0 {
        tracing::warn!(count = swept, "processes that an agent before left were killed");
    }
    match std::fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::file("remove", &temporary)(error));
        }
        _ => {}
    }
    let (records, samples) = (Arc::new(Queue::new()), Arc::new(Queue::new()));
    let shared = Arc::new(Shared {
        board: Default::default(),
        packages: Packages::open(&config.work_dir, client.clone())?,
        spawner: Spawner::start().map_err(Error::Spawner)?,
        ports: Ports::default(),
        prober: plain_client()?,
        records: Arc::clone(&records),
        samples: Arc::clone(&samples),
        config,
    });
    let (sender, intended) = watch::channel(None);
    let revision = Arc::new(AtomicU64::new(0));
    let mut others = JoinSet::new();
    others.spawn(follow::follow(client.clone(), sender));
    others.spawn(report(client.clone(), Arc::clone(&shared), Arc::clone(&revision)));
    let mut senders = JoinSet::new();
    senders.spawn(forward::records(client.clone(), Arc::clone(&records)));
    senders.spawn(forward::samples(client.clone(), Arc::clone(&samples)));

    let mut node = Node {
        shared: Arc::clone(&shared),
        wards: BTreeMap::new(),
        tasks: JoinSet::new(),
        names: HashMap::new(),
    };
    node.reconcile_until(intended, &revision, shutdown).await;
    node.stop_all().await;
    // What an instance started in a session of its own is in no group that was stopped.
    leftovers::sweep(&temporary);
    last_report(&client, &shared, &revision).await;
    records.close();
    samples.close();
    let flushed = async { while senders.join_next().await.is_some() {} };
    if tokio::time::timeout(FLUSH_MAX, flushed).await.is_err() {
        tracing::warn!("some records or samples could not be sent before the end");
    }
    Ok(())
}

/// The instances of a node.
struct Node {
    shared: Arc<Shared>,
    wards: BTreeMap<String, Ward>,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// An instance that was started and has not ended.
struct Ward {
    spec: IntendedInstance,
    stop: CancellationToken,
    shots: mpsc::Sender<u32>,
}

impl Node {
    async fn reconcile_until(
        &mut self,
        mut intended: watch::Receiver<Option<Arc<Intended>>>,
        revision: &AtomicU64,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                changed = intended.changed() => if changed.is_err() { return },
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended.map(|(id, ())| id)),
            }
            let newest = intended.borrow_and_update().clone();
            if let Some(newest) = newest {
                self.reconcile(&newest);
                revision.store(newest.revision, Ordering::Release);
                self.shared.board.wake();
            }
        }
    }

    /// Does the difference. It may be repeated.
    fn reconcile(&mut self, intended: &Intended) {
        let running = self.wards.iter().map(|(id, ward)| (id.as_str(), &ward.spec)).collect();
        let plan = plan(&intended.instances, &running);
        for id in &plan.stop {
            if let Some(ward) = self.wards.get(id) {
                ward.stop.cancel();
            }
        }
        for spec in plan.start {
            self.start(spec);
        }
        for shot in &intended.shoot {
            if let Some(ward) = self.wards.get(&shot.instance) {
                // A full queue holds an order that is as good.
                let _ = ward.shots.try_send(shot.pid);
            }
        }
    }

    fn start(&mut self, spec: IntendedInstance) {
        let (shots, orders) = mpsc::channel(SHOTS_MAX);
        let stop = CancellationToken::new();
        self.shared.board.begin(&spec.id);
        let instance = Instance::new(spec.clone(), Arc::clone(&self.shared), stop.clone(), orders);
        let task = self.tasks.spawn(instance::live(instance));
        self.names.insert(task.id(), spec.id.clone());
        self.wards.insert(spec.id.clone(), Ward { spec, stop, shots });
    }

    fn forget(&mut self, ended: Result<Id, tokio::task::JoinError>) {
        let task = match &ended {
            Ok(task) => *task,
            Err(error) => error.id(),
        };
        let Some(id) = self.names.remove(&task) else { return };
        if let Err(error) = ended {
            tracing::error!(%error, instance = id, "the task of an instance failed; it is started again");
            self.shared.board.update(&id, |report| report.state = InstanceState::Stopped);
        }
        self.wards.remove(&id);
    }

    async fn stop_all(&mut self) {
        self.wards.values().for_each(|ward| ward.stop.cancel());
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
            tracing::warn!("some instances did not end in time; they are killed");
            self.tasks.shutdown().await;
        }
    }
}

/// Reports at every change and each second. The revision is read before the instances: whoever sees it knows that what
/// it does not intend is listed for as long as it runs.
async fn report(client: Client, shared: Arc<Shared>, revision: Arc<AtomicU64>) {
    let mut is_known_away = false;
    loop {
        match send_report(&client, &shared, &revision).await {
            Ok(()) => is_known_away = false,
            Err(why) => {
                if !std::mem::replace(&mut is_known_away, true) {
                    tracing::warn!(%why, "a report did not arrive; it is sent again");
                }
                tokio::time::sleep(REPORT_RETRY).await;
                continue;
            }
        }
        // Whether it changed or the time is up, the next report says how it is.
        let _ = tokio::time::timeout(REPORT_EVERY, shared.board.changed()).await;
    }
}

async fn last_report(client: &Client, shared: &Shared, revision: &AtomicU64) {
    let sent = tokio::time::timeout(FLUSH_MAX, send_report(client, shared, revision)).await;
    if !matches!(sent, Ok(Ok(()))) {
        tracing::debug!("the last report did not arrive");
    }
}

async fn send_report(client: &Client, shared: &Shared, revision: &AtomicU64) -> Result<(), String> {
    let revision = revision.load(Ordering::Acquire);
    let instances = shared.board.all();
    let report = NodeReport { revision, time: shared.config.clock.now(), instances, ..NodeReport::default() };
    client.post_to_node("report", &report).await.map_err(|error| error.to_string())?;
    shared.board.forget_stopped(&report.instances);
    Ok(())
}
