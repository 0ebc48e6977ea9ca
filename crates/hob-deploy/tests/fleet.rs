//! Nodes, numbers and shields through the crate's door, on a real store and a clock moved by hand, with agents and a
//! router that do as they are told.

#![expect(clippy::unwrap_used, reason = "this program is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_core::{Clock, Digest, ManualClock, Name, Scope, Timestamp};
use hob_deploy::{Announce, Config, Deploy, Timings, pack};
use hob_store::{Store, StoreOptions};
use hob_wire::{
    Condition, Declarations, EventChange, Instance, InstanceReport, InstanceState, InstanceTraffic,
    NewShield, NodeReport, NodeState, Platform, Rollout, RolloutState, RouterReport, Service, ShieldKind,
};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

const DEADLINE: Duration = Duration::from_secs(60);
const ORDERS: &str = "service: orders
kind: domain
package: {include: [bin]}
processes:
  web: {run: [bin/orders], port: http, replicas: 2}
  worker: {run: [bin/worker], strategy: stop_then_start}
routes: [{path: /orders}]
";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn scope() -> Scope {
    "qa/uk".parse().unwrap()
}

/// Keeps which conditions hold.
#[derive(Default)]
struct Told(Mutex<BTreeSet<String>>);

impl Announce for Told {
    fn instance_changed(&self, _: &Instance, _: EventChange) {}

    fn rollout_changed(&self, _: &Rollout, _: EventChange) {}

    fn condition(&self, condition: Condition) {
        let text = format!("{} {}", condition.subject, condition.condition);
        let mut told = self.0.lock().unwrap();
        if condition.active {
            told.insert(text)
        } else {
            told.remove(&text)
        };
    }
}

impl Told {
    fn holds(&self, condition: &str) -> bool {
        self.0.lock().unwrap().iter().any(|told| told.ends_with(condition))
    }
}

/// A core on a folder. Dropping it is a kill.
struct Core {
    deploy: Deploy,
    clock: Clock,
    hand: ManualClock,
    told: Arc<Told>,
    agents: BTreeMap<Name, AbortHandle>,
    /// Requests that wait for the pool, as the router is made to tell.
    held: Arc<Mutex<u64>>,
    /// Requests that the router is to report once.
    traffic: Arc<Mutex<Vec<InstanceTraffic>>>,
    tasks: JoinSet<()>,
    stop: oneshot::Sender<()>,
}

impl Core {
    async fn start(folder: &Path, orders: &str, now: Timestamp) -> Self {
        let store = Store::open(folder, StoreOptions::default()).await.unwrap();
        let (clock, hand) = Clock::manual(now);
        let config = Config {
            api_url: "http://127.0.0.1:7070".to_owned(),
            router_url: "http://127.0.0.1:8080".to_owned(),
            data: folder.to_owned(),
            ca_file: None,
            clock: clock.clone(),
            timings: Timings::default(),
        };
        let (kv, blobs) = (Arc::clone(&store.kv), Arc::clone(&store.blobs));
        let told = Arc::new(Told::default());
        let announce: Arc<dyn Announce> = Arc::<Told>::clone(&told);
        let (deploy, service) = Deploy::open(config, kv, blobs, announce).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            service.run(async { stopped.await.unwrap_or_default() }).await;
            drop(store);
        });
        let (held, traffic) = (Arc::default(), Arc::default());
        tasks.spawn(router(deploy.clone(), Arc::clone(&held), Arc::clone(&traffic)));
        deploy.apply(declarations(orders), None).await.unwrap();
        Self { deploy, clock, hand, told, agents: BTreeMap::new(), held, traffic, tasks, stop }
    }

    async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    async fn end(mut self) {
        drop(self.stop);
        self.tasks.join_next().await;
        self.tasks.shutdown().await;
    }

    fn join(&mut self, node: &str) {
        let node = name(node);
        let task = self.tasks.spawn(agent(self.deploy.clone(), node.clone()));
        self.agents.insert(node, task);
    }

    fn lose(&mut self, node: &Name) {
        self.agents.remove(node).unwrap().abort();
    }

    async fn ship(&self, folder: &Path, orders: &str) {
        self.ship_of(folder, orders, "x").await;
    }

    async fn ship_of(&self, folder: &Path, orders: &str, program: &str) -> Digest {
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::write(folder.join("bin/orders"), program).unwrap();
        let service = Service::read("service.yml", orders).unwrap();
        let packed = pack(folder, &service, orders, None).unwrap();
        let digest = self.deploy.put_package(packed.bytes).await.unwrap();
        let (orders, scope) = (name("orders"), scope());
        let rollout = self.deploy.deploy(&orders, &scope, &digest, BTreeMap::new(), None).await.unwrap();
        self.until("the rollout has ended", || {
            self.deploy.rollout(&orders, &scope, &rollout.id).unwrap().ended.is_some()
        })
        .await;
        digest
    }

    /// Waits in real time, while the clock stands.
    async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "{what}: {:?} {:?}", self.deploy.instances(None), self.told.0.lock());
    }

    /// Moves the clock in steps in which every agent and the router report, so that nobody is lost by the way.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(4) {
            self.hand.advance(Duration::from_secs(4));
            let now = self.clock.now();
            self.until("everybody has reported", || {
                let nodes = self.deploy.nodes();
                let mut alive = nodes.iter().filter(|node| self.agents.contains_key(&node.name));
                alive.all(|node| node.reported == Some(now))
                    && self.deploy.router_summaries().iter().all(|router| router.reported == now)
            })
            .await;
        }
    }

    /// How many ready instances of a process are on each node.
    fn spread(&self, process: &str) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        let instances = self.deploy.instances(None).into_iter();
        let ready = instances.filter(|instance| instance.state == InstanceState::Ready);
        for instance in ready.filter(|instance| instance.process.as_str() == process) {
            *spread.entry(instance.node.to_string()).or_default() += 1;
        }
        spread
    }

    async fn until_spread(&self, process: &str, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> =
            expected.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
        let what = format!("{process} is at {expected:?}, it is at {:?}", self.spread(process));
        self.until(&what, || self.spread(process) == expected).await;
    }

    fn targets(&self) -> usize {
        self.deploy.routing().borrow().pools["orders.qa.uk"].targets.len()
    }
}

fn declarations(orders: &str) -> Declarations {
    let service = Service::read("service.yml", orders).unwrap();
    let platform = "platform: test\nenvironments: [qa]\ntenants: [uk, ie]\n";
    Declarations {
        platform: Platform::read("hob.yml", platform).unwrap(),
        services: BTreeMap::from([(service.service.clone(), service)]),
        rules: Vec::new(),
    }
}

/// Everything that is intended runs and is ready.
async fn agent(deploy: Deploy, node: Name) {
    let mut intended = deploy.intended(&node);
    loop {
        let now = Arc::clone(&intended.borrow_and_update());
        let report = |(index, instance): (usize, &hob_wire::IntendedInstance)| InstanceReport {
            id: instance.id.clone(),
            state: InstanceState::Ready,
            address: instance.listens.then(|| format!("127.0.0.1:{}", 40_000 + index)),
            pid: Some(1),
            ..InstanceReport::default()
        };
        let instances = now.instances.iter().enumerate().map(report).collect();
        let report = NodeReport { revision: now.revision, instances, ..NodeReport::default() };
        if deploy.node_report(&node, report).await.is_err() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), intended.changed()).await;
    }
}

/// Takes in every snapshot at once, has nothing in flight, and holds what it is made to.
async fn router(deploy: Deploy, held: Arc<Mutex<u64>>, traffic: Arc<Mutex<Vec<InstanceTraffic>>>) {
    let mut routing = deploy.routing();
    loop {
        let generation = routing.borrow_and_update().generation;
        let held = *held.lock().unwrap();
        let report = RouterReport {
            generation,
            from: Timestamp::EPOCH,
            to: Timestamp::EPOCH,
            instances: std::mem::take(&mut *traffic.lock().unwrap()),
            records_dropped: 0,
            ejected: Vec::new(),
            limited: Vec::new(),
            connections: 0,
            held: [("orders.qa.uk".to_owned(), held)].into(),
        };
        if deploy.router_report(&name("router"), report).await.is_err() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), routing.changed()).await;
    }
}

fn start_time() -> Timestamp {
    "2026-01-09T12:00:00Z".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_drained_lost_and_given_up_without_a_gap() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut core = Core::start(data.path(), ORDERS, start_time()).await;
    core.join("a");
    core.pass(12).await;
    core.ship(source.path(), ORDERS).await;
    core.until_spread("web", &[("a", 2)]).await;

    let last = core.deploy.set_node(&name("a"), NodeState::Killed, "ann").await;
    assert!(matches!(last, Err(hob_deploy::Error::LastNode(_))), "{last:?}");
    core.deploy.set_node(&name("a"), NodeState::Draining, "ann").await.unwrap();
    core.pass(64).await;
    core.until("the drain says why it waits", || core.told.holds("node/a drain_waits")).await;
    assert_eq!(core.targets(), 2, "there is nowhere to go");
    core.join("b");
    core.until_spread("web", &[("b", 2)]).await;
    core.until_spread("worker", &[("b", 1)]).await;
    core.until("the drain waits no more", || !core.told.holds("drain_waits")).await;

    core.deploy.set_node(&name("a"), NodeState::Active, "ann").await.unwrap();
    let before: BTreeSet<String> = core.deploy.instances(None).into_iter().map(|one| one.id).collect();
    let tokens: Vec<String> = core
        .deploy
        .intended(&name("b"))
        .borrow()
        .instances
        .iter()
        .filter(|instance| instance.process.as_str() == "web")
        .map(|instance| instance.env["HOB_TOKEN"].clone())
        .collect();
    core.lose(&name("b"));
    core.pass(16).await;
    core.until_spread("web", &[("a", 2)]).await;
    core.until("the worker is fenced", || core.told.holds(" fenced") && core.told.holds("node/b node_lost"))
        .await;
    assert_eq!(core.spread("worker"), BTreeMap::new(), "it may still run on b");
    let after: BTreeSet<String> = core.deploy.instances(None).into_iter().map(|one| one.id).collect();
    assert_eq!(before.intersection(&after).count(), 1, "only the worker is the same");
    assert!(tokens.iter().all(|token| core.deploy.identify(token).is_none()), "old tokens stand for nobody");

    let (orders, uk, strange) = (name("orders"), scope(), name("strange"));
    let of_b = before.difference(&after).next().unwrap();
    let speaks = |node: &str, id: &str, service| core.deploy.speaks_for(&name(node), id, service, &uk);
    assert!(speaks("b", of_b, &orders), "last lines of what it had");
    assert!(!speaks("a", of_b, &orders) && !speaks("b", of_b, &strange));
    let of_a = core.deploy.instances(None).into_iter().find(|one| one.node == name("a")).unwrap().id;
    assert!(speaks("a", &of_a, &orders) && !speaks("b", &of_a, &orders));
    assert!(speaks("b", "unknown", &orders), "it may be from before the start");
    core.pass(300).await;
    assert!(!core.deploy.speaks_for(&name("b"), "unknown", &orders, &uk));

    core.deploy.set_node(&name("b"), NodeState::Killed, "ann").await.unwrap();
    core.until_spread("worker", &[("a", 1)]).await;
    core.until("b is over", || core.deploy.nodes_over() == [name("b")]).await;
    core.deploy.forget_node(&name("b")).await.unwrap();
    assert_eq!(core.deploy.nodes().len(), 1);
    core.until("nothing is wrong any more", || core.told.0.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_and_shields_outlive_a_restart() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (orders, scope) = (name("orders"), scope());
    let mut core = Core::start(data.path(), ORDERS, start_time()).await;
    core.join("a");
    core.ship(source.path(), ORDERS).await;
    let number = |process: &str, number| BTreeMap::from([(name(process), number)]);
    core.deploy.scale(&orders, &scope, number("web", 5), "ann").await.unwrap();
    core.until_spread("web", &[("a", 5)]).await;
    for (process, many) in [("nothing", 1), ("web", 1001)] {
        assert!(core.deploy.scale(&orders, &scope, number(process, many), "ann").await.is_err());
    }
    let hold = NewShield {
        service: Some(orders.clone()),
        environment: None,
        tenant: Some(name("uk")),
        path: None,
        kind: ShieldKind::Hold { max_ms: 1000 },
    };
    let state = core.deploy.put_shield("stop", hold, "ann").await.unwrap();
    assert_eq!(core.deploy.taken_in(state.generation, DEADLINE).await, [] as [Name; 0]);
    assert_eq!(core.deploy.routing().borrow().shields[0].by, "ann");
    core.until("the hold is told", || core.told.holds("shield/stop hold")).await;
    core.end().await;

    let mut core = Core::start(data.path(), ORDERS, start_time()).await;
    core.join("a");
    core.until_spread("web", &[("a", 5)]).await;
    assert_eq!(core.deploy.shields()[0].shield.id, "stop");
    core.deploy.drop_shield("stop", "bob").await.unwrap();
    assert!(core.deploy.routing().borrow().shields.is_empty());
    core.deploy.scale(&orders, &scope, BTreeMap::new(), "bob").await.unwrap();
    core.until_spread("web", &[("a", 2)]).await;
    core.deploy.scale(&orders, &scope, number("worker", 0), "bob").await.unwrap();
    core.until_spread("worker", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_goes_to_zero_and_a_held_request_starts_it() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (service, scope) = (name("orders"), scope());
    let orders = format!("{ORDERS}scale: {{min: 1, max: 3, idle: {{after: 1m}}}}\n");
    let mut core = Core::start(data.path(), &orders, start_time()).await;
    core.join("a");
    core.ship(source.path(), &orders).await;
    let pool = || core.deploy.routing().borrow().pools["orders.qa.uk"].clone();
    assert!(pool().idle_hold_ms.is_some());
    core.pass(80).await;
    core.until("nothing is left", || pool().targets.is_empty()).await;
    core.until_spread("web", &[]).await;
    core.until_spread("worker", &[("a", 1)]).await;
    assert_eq!(core.deploy.scale_state(&service, &scope).unwrap().processes[&name("web")].wanted, 0);
    *core.held.lock().unwrap() = 1;
    core.until("one is started", || pool().targets.len() == 1).await;
    *core.held.lock().unwrap() = 0;
    core.pass(40).await;
    assert_eq!(pool().targets.len(), 1, "it stays for its time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_that_no_release_needs_are_removed_also_after_kills() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (service, scope) = (name("orders"), scope());
    let orders = format!("{ORDERS}release: {{keep: 2, standby: 1m}}\n");
    let mut core = Core::start(data.path(), &orders, start_time()).await;
    core.join("a");
    let mut packages = Vec::new();
    for number in 1..=5 {
        packages.push(core.ship_of(source.path(), &orders, &number.to_string()).await);
        if number == 1 {
            core.deploy.name_release(&service, &scope, 1, Some("golden".to_owned())).await.unwrap();
        }
    }
    assert_eq!(core.deploy.collect_packages().await.unwrap(), [], "all were sent a moment ago");
    core.end().await;

    // Each life is ended in the middle of a collection, until one finds nothing more to do.
    let mut now = start_time();
    let mut removed = BTreeSet::new();
    for life in 0..5 {
        now = now.plus(Duration::from_secs(10));
        let mut core = Core::start(data.path(), &orders, now).await;
        core.join("a");
        core.hand.advance(Duration::from_secs(3600));
        if life < 3 {
            // What is asked of a core that is killed may have been done or not.
            let asked =
                tokio::time::timeout(Duration::from_micros(300 << life), core.deploy.collect_packages());
            drop(asked.await);
            core.kill().await;
            continue;
        }
        removed.extend(core.deploy.collect_packages().await.unwrap());
        let mut here = Vec::new();
        for package in &packages {
            here.push(core.deploy.manifest(package).await.is_ok());
        }
        assert!(here[0] && here[3] && here[4], "named, before, present: {here:?}");
        if life == 4 {
            assert_eq!(here, [true, false, false, true, true]);
            let gone = core.deploy.rollback(&service, &scope, Some(2)).await;
            assert!(matches!(gone, Err(hob_deploy::Error::PackageGone { number: 2, .. })), "{gone:?}");
            core.deploy.rollback(&service, &scope, Some(1)).await.unwrap();
        }
        core.end().await;
    }
    let stray = std::fs::read_dir(data.path().join("blobs/packages")).unwrap().count();
    assert!(stray <= 5, "folders of removed packages may stay, empty");
    assert!(removed.iter().all(|digest| packages[1..3].contains(digest)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gates_saw_outlives_a_kill() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (service, scope) = (name("orders"), scope());
    let orders = format!(
        "{ORDERS}release: {{steps: [{{weight: 50, for: 1m}}], gates: [{{rule: http_error_ratio, max: 1%, min_requests: 100}}]}}\n"
    );
    let mut core = Core::start(data.path(), &orders, start_time()).await;
    core.join("a");
    core.ship_of(source.path(), &orders, "one").await;
    std::fs::write(source.path().join("bin/orders"), "two").unwrap();
    let read = Service::read("service.yml", &orders).unwrap();
    let packed = pack(source.path(), &read, &orders, None).unwrap();
    let digest = core.deploy.put_package(packed.bytes).await.unwrap();
    let rollout = core.deploy.deploy(&service, &scope, &digest, BTreeMap::new(), None).await.unwrap();
    let state = |core: &Core| core.deploy.rollout(&service, &scope, &rollout.id).unwrap().state;
    core.until("it takes a share", || state(&core) == RolloutState::Stepping).await;
    let fresh = core.deploy.instances(None).into_iter();
    let fresh = fresh.filter(|one| one.release == 2 && one.process.as_str() == "web");
    *core.traffic.lock().unwrap() = fresh
        .map(|one| InstanceTraffic {
            instance: one.id,
            service: service.clone(),
            scope: scope.clone(),
            release: 2,
            requests: 100,
            errors: 0,
            in_flight: 0,
            held: 0,
            latency: Default::default(),
            retried: 0,
        })
        .collect();
    core.until("it is told", || core.traffic.lock().unwrap().is_empty()).await;
    core.pass(12).await;
    assert_eq!(core.deploy.services(&scope)[0].ready, 3, "two of web and the worker of the release in use");
    let now = core.clock.now();
    core.kill().await;

    let mut core = Core::start(data.path(), &orders, now).await;
    core.join("a");
    core.pass(64).await;
    core.until("it is over", || state(&core) == RolloutState::Complete).await;
}
