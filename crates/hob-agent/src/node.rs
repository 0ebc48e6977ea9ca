//! The loop of the agent: compares what should run with what runs, does the difference, and reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hob_core::Digest;
use hob_wire::{Intended, IntendedInstance, NodeReport};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adopt::{Found, adopt};
use crate::client::{Client, Refused, plain_client};
use crate::confine::cgroup;
use crate::instance::{self, Adopted, Instance, Shared};
use crate::packages::{Packages, Seen};
use crate::plan::plan;
use crate::process::{Ports, make_private, runs_root, temporary, temporary_root};
use crate::queue::Queue;
use crate::users::Users;
use crate::{Config, Error, facts, follow, forward, join};

/// A report goes out at least this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The wait after a report that did not arrive.
const REPORT_RETRY: Duration = Duration::from_millis(200);
/// A node whose token was not known so often in a row, for half a minute, is none any more.
const STRANGER_MAX: u32 = 150;
/// Instances get this long to end with the agent, whatever their own limit says.
const SHUTDOWN_MAX: Duration = Duration::from_secs(15);
/// What was still to be forwarded gets this long.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Empty control groups that are older are nobody's.
const GROUP_AGE: Duration = Duration::from_secs(3600);
/// Orders to shoot that may wait for an instance.
const SHOTS_MAX: usize = 4;

/// How an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Instances live on; the next agent adopts them.
    Leave,
    /// Instances are stopped first.
    StopInstances,
}

/// Runs the node's instances until `shutdown` says how to end.
pub async fn run(config: Config, shutdown: impl Future<Output = Shutdown> + Send) -> Result<(), Error> {
    let client = Client::new(&config)?;
    make_private(&runs_root(&config))?;
    let shared = share(config, client.clone()).await?;
    let mut node = Node {
        shared: Arc::clone(&shared),
        wards: BTreeMap::new(),
        tasks: JoinSet::new(),
        names: HashMap::new(),
        wanted: watch::Sender::default(),
    };
    node.adopt().await?;
    remove_leftovers(&shared.config, node.wards.keys())?;
    sweep_groups(&shared.config);
    let (sender, intended) = watch::channel(None);
    let revision = Arc::new(AtomicU64::new(0));
    let mut others = JoinSet::new();
    others.spawn(follow::follow(client.clone(), sender));
    let revoked = CancellationToken::new();
    others.spawn(report(client.clone(), Arc::clone(&shared), Arc::clone(&revision), revoked.clone()));
    let ends = async {
        tokio::select! {
            how = shutdown => how,
            () = revoked.cancelled() => Shutdown::StopInstances,
        }
    };
    let mut senders = JoinSet::new();
    senders.spawn(forward::records(client.clone(), Arc::clone(&shared.records)));
    senders.spawn(forward::samples(client.clone(), Arc::clone(&shared.samples)));

    let how = node.reconcile_until(intended, &mut others, &revision, ends).await;
    if how == Shutdown::StopInstances {
        node.stop_all().await;
        last_report(&client, &shared, &revision).await;
        shared.burials.close();
        if tokio::time::timeout(FLUSH_MAX, shared.burials.wait()).await.is_err() {
            tracing::warn!("the last lines of some instances wait for the next agent");
        }
    }
    shared.leave.cancel();
    shared.records.close();
    shared.samples.close();
    let flushed = async { while senders.join_next().await.is_some() {} };
    if tokio::time::timeout(FLUSH_MAX, flushed).await.is_err() {
        tracing::warn!("some records or samples could not be sent before the end");
    }
    if revoked.is_cancelled() {
        join::forget(&shared.config.data_dir);
        let (node, url) = (shared.config.node.clone(), shared.config.core_url.clone());
        return Err(Error::Revoked { node, url });
    }
    Ok(())
}

async fn share(config: Config, client: Client) -> Result<Arc<Shared>, Error> {
    let facts = facts::find(&config).await?;
    if !facts.confinement.missing.is_empty() {
        tracing::info!(missing = ?facts.confinement.missing, "what instances cannot be given here");
    }
    Ok(Arc::new(Shared {
        facts,
        board: Default::default(),
        packages: Packages::open(&config.work_dir, client)?,
        users: Users::open(&config.work_dir),
        ports: Ports::default(),
        prober: plain_client()?,
        records: Arc::new(Queue::new()),
        samples: Arc::new(Queue::new()),
        leave: CancellationToken::new(),
        burials: TaskTracker::new(),
        config,
    }))
}

/// Temporary folders of instances that are no more.
fn remove_leftovers<'a>(config: &Config, known: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    let root = temporary_root(config);
    let known: Vec<_> = known.map(|id| temporary(config, id)).collect();
    let entries = match std::fs::read_dir(&root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::file("read", &root))?,
    };
    for folder in entries.flatten().map(|entry| entry.path()).filter(|folder| !known.contains(folder)) {
        std::fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
    }
    Ok(())
}

/// Control groups that nobody has used for long. One that was just made is empty, too, so only old ones count.
fn sweep_groups(config: &Config) {
    let now = u64::try_from(config.clock.now().as_micros()).unwrap_or(0);
    let before = SystemTime::UNIX_EPOCH + Duration::from_micros(now).saturating_sub(GROUP_AGE);
    let removed = cgroup::Hierarchies::here().sweep(before);
    if removed > 0 {
        tracing::info!(removed, "control groups that were left behind are removed");
    }
}

/// The instances of a node.
struct Node {
    shared: Arc<Shared>,
    wards: BTreeMap<String, Ward>,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
    /// Packages to have.
    wanted: watch::Sender<BTreeSet<Digest>>,
}

/// An instance that was started and has not ended.
struct Ward {
    spec: IntendedInstance,
    stop: CancellationToken,
    shots: mpsc::Sender<u32>,
}

impl Node {
    async fn adopt(&mut self) -> Result<(), Error> {
        for found in adopt(&self.shared, SHOTS_MAX).await? {
            let Found { instance, adopted, spec, stop, shots } = found;
            self.begin(spec, instance, Some(adopted), stop, shots);
        }
        Ok(())
    }

    /// Reconciles until `shutdown` says how to end. What else runs is `others`: the end of any would be the node's.
    async fn reconcile_until(
        &mut self,
        mut intended: watch::Receiver<Option<Arc<Intended>>>,
        others: &mut JoinSet<()>,
        revision: &AtomicU64,
        shutdown: impl Future<Output = Shutdown> + Send,
    ) -> Shutdown {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                how = &mut shutdown => return how,
                changed = intended.changed() => if changed.is_err() { return Shutdown::Leave },
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended.map(|(id, ())| id)),
            }
            let newest = intended.borrow_and_update().clone();
            if let Some(newest) = newest {
                // From the first word of the core on: before it nobody knows which packages are wanted.
                if self.wanted.receiver_count() == 0 {
                    let (shared, wanted) = (Arc::clone(&self.shared), self.wanted.subscribe());
                    self.want_packages(&newest);
                    others.spawn(async move { shared.packages.keep(wanted).await });
                }
                self.reconcile(&newest);
                self.want_packages(&newest);
                revision.store(newest.revision, Ordering::Release);
                self.shared.board.wake();
            }
        }
    }

    fn want_packages(&self, intended: &Intended) {
        let running = self.wards.values().map(|ward| ward.spec.package);
        let next: BTreeSet<Digest> = intended
            .instances
            .iter()
            .map(|instance| instance.package)
            .chain(intended.packages.iter().copied())
            .chain(running)
            .collect();
        self.wanted.send_if_modified(|wanted| {
            let is_other = *wanted != next;
            *wanted = next;
            is_other
        });
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
        self.begin(spec, instance, None, stop, shots);
    }

    fn begin(
        &mut self,
        spec: IntendedInstance,
        instance: Instance,
        adopted: Option<Adopted>,
        stop: CancellationToken,
        shots: mpsc::Sender<u32>,
    ) {
        let task = self.tasks.spawn(instance::live(instance, adopted));
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
            self.shared.board.end(&id);
        }
        self.wards.remove(&id);
    }

    async fn stop_all(&mut self) {
        self.wards.values().for_each(|ward| ward.stop.cancel());
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_MAX, ended).await.is_err() {
            tracing::warn!("some instances did not end in time; their shims end them when theirs is up");
            self.tasks.shutdown().await;
        }
    }
}

/// Reports at every change and each second. The revision is read before the instances: whoever sees it knows that what
/// it does not intend is listed for as long as it runs.
/// A core that does not know the node's token ends the node.
async fn report(client: Client, shared: Arc<Shared>, revision: Arc<AtomicU64>, revoked: CancellationToken) {
    let mut is_known_away = false;
    let mut strangers = 0;
    loop {
        match send_report(&client, &shared, &revision).await {
            Ok(()) => (is_known_away, strangers) = (false, 0),
            Err(why) => {
                strangers = if matches!(why, Refused::Stranger) { strangers + 1 } else { 0 };
                match strangers {
                    1 => tracing::warn!(
                        "the core does not know this node's token; unless it does within half a minute, instances are stopped"
                    ),
                    STRANGER_MAX.. => revoked.cancel(),
                    _ => {}
                }
                if !std::mem::replace(&mut is_known_away, true) {
                    tracing::warn!(%why, "a report did not arrive; it is sent again");
                }
                tokio::time::sleep(REPORT_RETRY).await;
                continue;
            }
        }
        // Whether it changed or the time is up, the next report says how it is.
        tokio::select! {
            () = shared.board.changed() => {}
            () = shared.packages.changed() => {}
            () = tokio::time::sleep(REPORT_EVERY) => {}
        }
    }
}

async fn last_report(client: &Client, shared: &Shared, revision: &AtomicU64) {
    let sent = tokio::time::timeout(FLUSH_MAX, send_report(client, shared, revision)).await;
    if !matches!(sent, Ok(Ok(()))) {
        tracing::debug!("the last report did not arrive");
    }
}

async fn send_report(client: &Client, shared: &Shared, revision: &AtomicU64) -> Result<(), Refused> {
    let revision = revision.load(Ordering::Acquire);
    let mut instances = shared.board.all();
    for report in &mut instances {
        if let (Some(pid), Some(groups)) = (report.pid, shared.board.groups(&report.id)) {
            report.usage = cgroup::usage(&groups, pid);
        }
    }
    let Seen { here, unfetched } = shared.packages.seen();
    let report = NodeReport {
        revision,
        time: shared.config.clock.now(),
        instances,
        packages: here.into_iter().collect(),
        unfetched,
        facts: shared.facts.clone(),
    };
    client.post_to_node("report", &report).await?;
    shared.board.forget_gone(&report.instances);
    Ok(())
}
