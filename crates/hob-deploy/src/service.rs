//! The loop that owns all decisions: takes a command, decides, stores, derives, tells.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_core::{Digest, Name, Timestamp};
use hob_store::{Blobs, Kv};
use hob_wire::{
    Declarations, EventChange, Instance, Intended, Manifest, NodeReport, Rollout, RolloutState, RouterReport,
    RoutingSnapshot, Wanted,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::conditions::{self, Conditions};
use crate::model::Input;
use crate::package::{self, Touched};
use crate::past::{Owner, Past};
use crate::rows::{self, DeclarationsRow};
use crate::step::Action;
use crate::tokens::Tokens;
use crate::view::View;
use crate::world::World;
use crate::{Announce, Applied, Config, Deploy, Error, ServiceScope, declare};

mod fleet;
mod release;

pub(crate) use fleet::FleetOrder;

/// Commands that may wait for the loop.
const COMMANDS_MAX: usize = 256;
/// Commands that are taken in one turn.
const TURN_MAX: usize = 64;
/// How often times are looked at when nothing else happens.
const TICK: Duration = Duration::from_millis(250);
/// Steps of one service in one turn; a rollout has fewer stages.
const STEPS_MAX: usize = 16;
/// Revisions and generations: the upper bits count the starts of Hob, the lower ones the changes since.
const EPOCH_SHIFT: u32 = 32;

/// What the door asks of the loop.
pub(crate) enum Command {
    Apply {
        declarations: Box<Declarations>,
        expected: Option<u64>,
        reply: Reply<Applied>,
    },
    Deploy {
        home: ServiceScope,
        package: Digest,
        manifest: Box<Manifest>,
        overrides: BTreeMap<String, String>,
        promoted_from: Option<Name>,
        reply: Reply<Rollout>,
    },
    Order {
        rollout: String,
        wanted: Wanted,
        by: String,
        reply: Reply<Rollout>,
    },
    NameRelease {
        home: ServiceScope,
        number: u64,
        name: Option<String>,
        reply: Reply<()>,
    },
    Rollback {
        home: ServiceScope,
        to: Option<u64>,
        reply: Reply<Rollout>,
    },
    /// Removes packages that nothing needs.
    Collect {
        reply: Reply<Vec<Digest>>,
    },
    Shoot {
        instance: String,
        reply: Reply<()>,
    },
    NodeReport {
        node: Name,
        report: NodeReport,
    },
    RouterReport {
        router: Name,
        report: Box<RouterReport>,
    },
    Fleet(FleetOrder),
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What loop and door share: the channels on which answers stand.
pub(crate) struct Doors {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) tokens: Tokens,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) count: watch::Sender<u64>,
    pub(crate) routing: watch::Sender<Arc<RoutingSnapshot>>,
    intended: Mutex<BTreeMap<Name, watch::Sender<Arc<Intended>>>>,
    touched: Mutex<Touched>,
    /// Instances that are no more, whose last lines may still come.
    past: Mutex<Past>,
    first_revision: u64,
}

impl Doors {
    pub(crate) fn intended(&self, node: &Name) -> watch::Receiver<Arc<Intended>> {
        let mut nodes = self.intended.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = || Arc::new(Intended { revision: self.first_revision, ..Intended::default() });
        nodes.entry(node.clone()).or_insert_with(|| watch::Sender::new(nothing())).subscribe()
    }

    pub(crate) fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Manifest, Error> {
        self.touched().touch(*digest);
        package::manifest(self.blobs.as_ref(), digest).await
    }

    pub(crate) fn touched(&self) -> MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_intended(&self, node: &Name, intended: &Arc<Intended>) {
        let mut nodes = self.intended.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = nodes.entry(node.clone()).or_insert_with(|| watch::Sender::new(Arc::clone(intended)));
        sender.send_if_modified(|known| {
            let differs = known.revision != intended.revision;
            if differs {
                *known = Arc::clone(intended);
            }
            differs
        });
    }
}

/// The loop behind [`Deploy`].
pub struct Service {
    config: Config,
    kv: Arc<dyn Kv>,
    announce: Arc<dyn Announce>,
    doors: Arc<Doors>,
    commands: mpsc::Receiver<Command>,
    world: World,
    conditions: Conditions,
    /// What was last told of each instance and of each newest rollout.
    told_instances: BTreeMap<String, Instance>,
    told_rollouts: BTreeMap<String, RolloutState>,
}

impl Service {
    pub(crate) async fn open(
        config: Config,
        tokens: Tokens,
        kv: Arc<dyn Kv>,
        blobs: Arc<dyn Blobs>,
        announce: Arc<dyn Announce>,
    ) -> Result<(Deploy, Self), Error> {
        let first = rows::next_epoch(kv.as_ref()).await? << EPOCH_SHIFT;
        let rows = rows::load(kv.as_ref()).await?;
        let now = config.clock.now();
        let world = World::new(rows, first, &config.timings, now);
        let doors = Arc::new(Doors {
            blobs,
            tokens,
            view: watch::Sender::new(Arc::new(View::default())),
            count: watch::Sender::new(0),
            routing: watch::Sender::new(Arc::default()),
            intended: Mutex::new(BTreeMap::new()),
            touched: Mutex::new(Touched::new(config.clock.clone())),
            past: Mutex::new(Past::new(config.clock.clone())),
            first_revision: first,
        });
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let mut service = Self {
            config,
            kv,
            announce,
            doors: Arc::clone(&doors),
            commands,
            world,
            conditions: Conditions::default(),
            told_instances: BTreeMap::new(),
            told_rollouts: BTreeMap::new(),
        };
        service.derive(now);
        service.publish(now);
        Ok((Deploy { doors, commands: sender }, service))
    }

    /// Runs until `shutdown` resolves. Everything that was answered is stored.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.take_waiting(command).await,
                    None => return,
                },
                _ = tick.tick() => {}
            }
            self.converge().await;
            let now = self.now();
            self.publish(now);
            self.save_seen(now).await;
        }
    }

    /// Stores what would take long to see again.
    async fn save_seen(&mut self, now: Timestamp) {
        for (home, row) in self.world.unsaved(now) {
            match rows::put_seen(self.kv.as_ref(), &home, &row).await {
                Ok(()) => drop(self.world.rows.seen.insert(home, row)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(service = %home, error, "what the gates saw could not be stored");
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    /// Takes a command and those that wait behind it: when many instances start, their agents report faster than each
    /// report deserves a turn of its own.
    async fn take_waiting(&mut self, first: Command) {
        self.take(first).await;
        for _ in 1..TURN_MAX {
            let Ok(command) = self.commands.try_recv() else { return };
            self.take(command).await;
        }
    }

    /// Whoever is answered sees what was done: the view comes before the answer. An answer that nobody waits for any
    /// more is dropped; what was asked is done all the same.
    async fn take(&mut self, command: Command) {
        match command {
            Command::Apply { declarations, expected, reply } => {
                let answer = self.apply(*declarations, expected).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            Command::Deploy { home, package, manifest, overrides, promoted_from, reply } => {
                let answer = self.deploy(home, package, *manifest, overrides, promoted_from).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            Command::Order { rollout, wanted, by, reply } => {
                let answer = self.order(&rollout, wanted, &by).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            Command::NameRelease { home, number, name, reply } => {
                let answer = self.name_release(home, number, name).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            Command::Rollback { home, to, reply } => {
                let answer = self.rollback(home, to).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            Command::Collect { reply } => {
                let answer = self.collect().await;
                let _ = reply.send(answer);
            }
            Command::Shoot { instance, reply } => {
                let is_known = self.world.nodes.shoot(&instance);
                let _ = reply.send(if is_known { Ok(()) } else { Err(Error::UnknownInstance(instance)) });
            }
            Command::NodeReport { node, report } => {
                let now = self.now();
                self.world.nodes.report(&node, report, now);
            }
            Command::RouterReport { router, report } => {
                let now = self.now();
                self.world.traffic.report(&report);
                self.world.routers.report(router, *report, now);
            }
            Command::Fleet(order) => self.obey(order).await,
        }
    }

    async fn apply(&mut self, declarations: Declarations, expected: Option<u64>) -> Result<Applied, Error> {
        declare::validate(&declarations)?;
        let known = self.world.rows.declarations.as_ref();
        let current = known.map_or(0, |row| row.revision);
        if let Some(expected) = expected.filter(|expected| *expected != current) {
            return Err(Error::DeclarationsChanged { expected, current });
        }
        let changes = declare::differences(known.map(|row| row.declarations.as_ref()), &declarations);
        if known.is_some_and(|row| *row.declarations == declarations) {
            return Ok(Applied { revision: current, changes });
        }
        let row = DeclarationsRow { revision: current + 1, declarations: Arc::new(declarations) };
        rows::put_declarations(self.kv.as_ref(), &row).await?;
        let revision = row.revision;
        self.world.rows.declarations = Some(row);
        self.world.redeclare();
        self.derive(self.now());
        Ok(Applied { revision, changes })
    }

    /// Takes steps until nothing changes any more: first those of a service, then what follows for nodes and routers.
    async fn converge(&mut self) {
        let now = self.now();
        self.derive(now);
        self.world.rescale(now);
        for home in self.homes() {
            if let Err(error) = self.converge_home(&home).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(service = %home, error, "a decision could not be stored; it is tried again");
            }
        }
    }

    async fn converge_home(&mut self, home: &ServiceScope) -> Result<(), Error> {
        if !self.world.is_declared(home) {
            self.step(home, Input::Retire).await?;
        }
        for _ in 0..STEPS_MAX {
            let facts = self.world.facts(home, self.now());
            if !self.step(home, Input::Observe(&facts)).await? {
                break;
            }
        }
        Ok(())
    }

    fn homes(&self) -> Vec<ServiceScope> {
        self.world.rows.states.keys().cloned().collect()
    }

    /// Decides, stores, and only then lets it be seen. Says whether anything changed.
    async fn step(&mut self, home: &ServiceScope, input: Input<'_>) -> Result<bool, Error> {
        let now = self.now();
        let Some((next, actions)) = self.world.decide(home, input, &self.config.timings, now) else {
            return Ok(false);
        };
        rows::put_state(self.kv.as_ref(), home, &next).await?;
        self.world.accept(home, next);
        self.derive(now);
        for action in actions {
            let condition = match action {
                Action::Failed(why) => conditions::rollout_failed(home, true, why),
                Action::Complete => conditions::rollout_failed(home, false, "it is complete".to_owned()),
                Action::Stalled(Some(why)) => conditions::rollout_stalled(home, true, why),
                Action::Stalled(None) => conditions::rollout_stalled(home, false, "it goes on".to_owned()),
            };
            self.announce.condition(condition);
        }
        Ok(true)
    }

    /// Gives nodes and routers what follows from the decisions and the reports.
    fn derive(&mut self, now: Timestamp) {
        let has_new_routes = self.world.derive(&self.config, &self.doors.tokens, now);
        for (node, intended) in self.world.nodes.intended() {
            self.doors.publish_intended(node, intended);
        }
        if has_new_routes {
            self.doors.routing.send_replace(self.world.routers.snapshot());
        }
    }

    /// Shows and tells what is new.
    fn publish(&mut self, now: Timestamp) {
        let view = View::new(&self.world, now);
        let is_known = |id: &str| view.all_instances().contains_key(id);
        self.world.nodes.forget(is_known, now);
        self.world.routers.forget(is_known, now);
        self.world.numbers.learn(view.all_instances(), now);
        let told = self.conditions.look(&view.conditions(&self.world, now), now);
        told.into_iter().for_each(|condition| self.announce.condition(condition));
        let instances = self.tell_instances(&view);
        let rollouts = self.tell_rollouts(&view);
        let is_new = instances || rollouts || view.differs(&self.doors.view.borrow());
        self.doors.view.send_replace(Arc::new(view));
        if is_new {
            self.doors.count.send_modify(|count| *count += 1);
        }
    }

    fn tell_instances(&mut self, view: &View) -> bool {
        let mut is_new = false;
        for (id, instance) in view.all_instances() {
            let change = match self.told_instances.get(id) {
                None => EventChange::Create,
                Some(known) if !known.is_as(instance) => EventChange::Update,
                Some(_) => continue,
            };
            is_new = true;
            self.announce.instance_changed(instance, change);
            self.told_instances.insert(id.clone(), instance.clone());
        }
        let gone = self.told_instances.extract_if(.., |id, _| !view.all_instances().contains_key(id));
        for (_, instance) in gone {
            is_new = true;
            self.doors.past().remember(&instance.id, Owner::of(&instance));
            self.announce.instance_changed(&instance, EventChange::Delete);
        }
        is_new
    }

    /// Only the newest rollout of a service changes, and the one that it superseded a moment ago.
    fn tell_rollouts(&mut self, view: &View) -> bool {
        let mut is_new = false;
        for rollout in view.recent_rollouts() {
            let change = match self.told_rollouts.insert(rollout.id.clone(), rollout.state) {
                None => EventChange::Create,
                Some(known) if known != rollout.state => EventChange::Update,
                Some(_) => continue,
            };
            is_new = true;
            self.announce.rollout_changed(rollout, change);
        }
        let recent: Vec<&String> = view.recent_rollouts().map(|rollout| &rollout.id).collect();
        self.told_rollouts.retain(|id, _| recent.contains(&id));
        is_new
    }
}
