//! The whole of the crate through its door, on a real store, with an agent and a router that do as they are told.

#![expect(clippy::unwrap_used, reason = "this program is a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Clock, Digest, Histogram, Name, Scope, Timestamp};
use hob_deploy::{Config, Deploy, Error, Silent, Timings, pack};
use hob_store::{Store, StoreOptions};
use hob_wire::{
    Declarations, InstanceReport, InstanceState, InstanceTraffic, Intended, NodeReport, Platform,
    ReleaseState, Rollout, RolloutState, RouterReport, RoutingSnapshot, Service, ServiceState, Wanted,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(20);
const ORDERS: &str = "service: orders
kind: domain
package: {include: [bin]}
processes:
  web: {run: [bin/orders], port: http, replicas: 2}
  worker: {run: [bin/worker], strategy: stop_then_start}
env: {CURRENCY: GBP}
routes: [{host: 'orders.${tenant}.test', path: /orders}]
";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn scope() -> Scope {
    "qa/uk".parse().unwrap()
}

fn declarations(orders: &str) -> Declarations {
    let platform =
        "platform: test\nenvironments: [qa]\ntenants: [uk, ie]\npublic_url: http://${tenant}.test\n";
    let service = Service::read("service.yml", orders).unwrap();
    Declarations {
        platform: Platform::read("hob.yml", platform).unwrap(),
        services: BTreeMap::from([(service.service.clone(), service)]),
        rules: Vec::new(),
    }
}

/// A core on a folder, with its agent and router. Dropping it is a kill.
struct Core {
    deploy: Deploy,
    instances: watch::Receiver<Arc<Intended>>,
    tasks: JoinSet<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Core {
    async fn start(folder: &std::path::Path) -> Self {
        let store = Store::open(folder, StoreOptions::default()).await.unwrap();
        let config = Config {
            ca_file: None,
            api_url: "http://127.0.0.1:7070".to_owned(),
            router_url: "http://127.0.0.1:8080".to_owned(),
            data: folder.to_owned(),
            clock: Clock::system(),
            timings: Timings { ready: Duration::from_secs(3), ..Timings::default() },
        };
        let (kv, blobs) = (Arc::clone(&store.kv), Arc::clone(&store.blobs));
        let (deploy, service) = Deploy::open(config, kv, blobs, Arc::new(Silent)).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let instances = deploy.intended(&name("local"));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            service.run(async { stopped.await.unwrap_or_default() }).await;
            drop(store);
        });
        tasks.spawn(agent(deploy.clone()));
        tasks.spawn(router(deploy.clone()));
        Self { deploy, instances, tasks, stop: Some(stop) }
    }

    async fn end(mut self) {
        drop(self.stop.take());
        self.tasks.join_next().await;
        self.tasks.shutdown().await;
    }

    async fn package(&self, folder: &std::path::Path, content: &str) -> Digest {
        self.package_of(folder, content, ORDERS).await
    }

    async fn package_of(&self, folder: &std::path::Path, content: &str, text: &str) -> Digest {
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::write(folder.join("bin/orders"), content).unwrap();
        let service = Service::read("service.yml", text).unwrap();
        let packed = pack(folder, &service, text, Some("abc")).unwrap();
        let digest = self.deploy.put_package(packed.bytes).await.unwrap();
        assert_eq!(digest, packed.digest);
        digest
    }

    async fn wait(&self, rollout: &Rollout) -> Rollout {
        self.wait_in(&scope(), rollout).await
    }

    async fn wait_in(&self, scope: &Scope, rollout: &Rollout) -> Rollout {
        let mut seen = rollout.clone();
        while seen.ended.is_none() {
            let orders = name("orders");
            let next =
                self.deploy.rollout_after(&orders, scope, &seen.id, seen.state, DEADLINE).await.unwrap();
            assert!(next.state != seen.state, "it stands still: {next:?}");
            seen = next;
        }
        seen
    }
}

/// Everything that is intended runs, and is ready unless its configuration says that it is broken.
async fn agent(deploy: Deploy) {
    let node = name("local");
    let mut intended = deploy.intended(&node);
    loop {
        let now = Arc::clone(&intended.borrow_and_update());
        let report = |(index, instance): (usize, &hob_wire::IntendedInstance)| {
            let is_broken = instance.env.contains_key("BROKEN");
            InstanceReport {
                id: instance.id.clone(),
                state: if is_broken { InstanceState::Failed } else { InstanceState::Ready },
                address: instance.listens.then(|| format!("127.0.0.1:{}", 40_000 + index)),
                pid: Some(u32::try_from(index).unwrap() + 1),
                reason: is_broken.then(|| "ended with status 3".to_owned()),
                ..InstanceReport::default()
            }
        };
        let instances = now.instances.iter().enumerate().map(report).collect();
        let report = NodeReport { revision: now.revision, instances, ..NodeReport::default() };
        if deploy.node_report(&node, report).await.is_err() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(500), intended.changed()).await;
    }
}

/// Takes in every snapshot at once and has nothing in flight.
async fn router(deploy: Deploy) {
    let mut routing = deploy.routing();
    loop {
        let generation = routing.borrow_and_update().generation;
        let report = RouterReport {
            generation,
            from: Timestamp::EPOCH,
            to: Timestamp::EPOCH,
            instances: vec![InstanceTraffic {
                instance: "nobody".to_owned(),
                service: name("orders"),
                scope: scope(),
                release: 1,
                requests: 0,
                errors: 0,
                in_flight: 0,
                held: 0,
                latency: Histogram::default(),
                retried: 0,
            }],
            records_dropped: 0,
            ejected: Vec::new(),
            limited: Vec::new(),
            connections: 0,
            held: BTreeMap::new(),
        };
        if deploy.router_report(&name("router"), report).await.is_err() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(500), routing.changed()).await;
    }
}

fn routed_releases(snapshot: &RoutingSnapshot) -> Vec<u64> {
    let pool = &snapshot.pools["orders.qa.uk"];
    pool.targets.iter().map(|target| target.release).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_package_to_route_and_back_across_a_restart() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let core = Core::start(data.path()).await;
    let (orders, scope) = (name("orders"), scope());
    let none = BTreeMap::new();
    let unknown = core.deploy.deploy(&orders, &scope, &Digest::of(b"none"), none.clone(), None).await;
    assert!(matches!(unknown, Err(Error::UnknownPackage(_))), "{unknown:?}");
    let first = core.package(source.path(), "one").await;
    let undeclared = core.deploy.deploy(&orders, &scope, &first, none.clone(), None).await;
    assert!(matches!(undeclared, Err(Error::NothingDeclared)), "{undeclared:?}");

    let applied = core.deploy.apply(declarations(ORDERS), None).await.unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (1, 2));
    assert_eq!(core.deploy.apply(declarations(ORDERS), Some(1)).await.unwrap().changes, []);
    let stale = core.deploy.apply(declarations(&ORDERS.replace("GBP", "EUR")), Some(7)).await;
    assert!(matches!(stale, Err(Error::DeclarationsChanged { current: 1, .. })), "{stale:?}");
    assert_eq!(core.deploy.services(&scope)[0].state, ServiceState::Undeployed);

    let rollout = core.deploy.deploy(&orders, &scope, &first, none.clone(), None).await.unwrap();
    let ended = core.wait(&rollout).await;
    assert_eq!((ended.state, ended.to, ended.from), (RolloutState::Complete, 1, None));
    let summary = core.deploy.services(&scope).remove(0);
    assert_eq!((summary.ready, summary.wanted, summary.state), (3, 3, ServiceState::Ready));
    let route = core.deploy.routing().borrow().routes[0].clone();
    assert_eq!((route.host.as_deref(), route.pool.as_str()), (Some("orders.uk.test"), "orders.qa.uk"));

    check_environment(&core, "GBP").await;
    let broken = BTreeMap::from([("BROKEN".to_owned(), "yes".to_owned())]);
    let rollout = core.deploy.deploy(&orders, &scope, &first, broken, None).await.unwrap();
    let ended = core.wait(&rollout).await;
    assert_eq!(ended.state, RolloutState::Failed);
    assert!(ended.reason.as_deref().unwrap().contains("ended with status 3"), "{ended:?}");
    assert_eq!(routed_releases(&core.deploy.routing().borrow()), [1, 1]);

    let second = core.package(source.path(), "two").await;
    let euros = BTreeMap::from([("CURRENCY".to_owned(), "EUR".to_owned())]);
    let rollout = core.deploy.deploy(&orders, &scope, &second, euros, None).await.unwrap();
    assert_eq!(core.wait(&rollout).await.state, RolloutState::Complete);
    assert_eq!(routed_releases(&core.deploy.routing().borrow()), [3, 3]);
    check_orders(&core, &rollout, [first, second]).await;
    let revision = core.instances.borrow().revision;
    let generation = core.deploy.routing().borrow().generation;
    core.end().await;

    let core = Core::start(data.path()).await;
    assert!(core.instances.borrow().revision > revision, "revisions rise across restarts");
    let mut routing = core.deploy.routing();
    let next = routing.wait_for(|snapshot| snapshot.generation > 0);
    let next = tokio::time::timeout(DEADLINE, next).await.unwrap().unwrap().clone();
    assert!(next.generation > generation);
    assert_eq!(routed_releases(&next), [3, 3], "a restart takes no instance out of the routes");
    let states: Vec<(u64, ReleaseState)> =
        core.deploy.releases(&orders, &scope).iter().map(|release| (release.number, release.state)).collect();
    assert_eq!(states, [(3, ReleaseState::Routed), (2, ReleaseState::Failed), (1, ReleaseState::Standby)]);
    let rollout = core.deploy.rollback(&orders, &scope, None).await.unwrap();
    assert_eq!((rollout.to, rollout.rollback), (1, true));
    assert_eq!(core.wait(&rollout).await.state, RolloutState::Complete);
    check_environment(&core, "GBP").await;
    let again = core.deploy.rollback(&orders, &scope, Some(1)).await;
    assert!(matches!(again, Err(Error::InUse { .. })), "{again:?}");
    core.end().await;
}

/// What ended takes no orders; names are one release's; what never ran elsewhere is not promoted; nodes keep packages.
async fn check_orders(core: &Core, ended: &Rollout, packages: [Digest; 2]) {
    let (deploy, orders, scope) = (&core.deploy, name("orders"), scope());
    let late = deploy.order(&ended.id, Wanted::Hold, "ann").await;
    assert!(matches!(late, Err(Error::TooLate { .. })), "{late:?}");
    let unknown = deploy.order("nothing", Wanted::Abort, "ann").await;
    assert!(matches!(unknown, Err(Error::UnknownRollout(_))), "{unknown:?}");

    let golden = || Some("golden".to_owned());
    deploy.name_release(&orders, &scope, 1, golden()).await.unwrap();
    assert_eq!(deploy.releases(&orders, &scope)[2].name, golden());
    let taken = deploy.name_release(&orders, &scope, 3, golden()).await;
    assert!(matches!(taken, Err(Error::ReleaseName { .. })), "{taken:?}");
    let wrong = deploy.name_release(&orders, &scope, 3, Some("a b".to_owned())).await;
    assert!(matches!(wrong, Err(Error::ReleaseName { .. })), "{wrong:?}");
    let missing = deploy.name_release(&orders, &scope, 9, None).await;
    assert!(matches!(missing, Err(Error::UnknownRelease { .. })), "{missing:?}");

    let never = deploy.deploy(&orders, &scope, &packages[1], BTreeMap::new(), Some(name("production"))).await;
    assert!(matches!(never, Err(Error::NotPromoted { .. })), "{never:?}");
    let kept = core.instances.borrow().packages.clone();
    assert!(packages.iter().all(|package| kept.contains(package)), "{kept:?}");
    let newest = deploy.rollouts(&orders, &scope).remove(0);
    let changed: Vec<&str> = newest.changes.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(changed, ["package", "variable CURRENCY"]);
}

/// Instances of the release in use get their environment, and their token stands for them.
async fn check_environment(core: &Core, currency: &str) {
    let routed = core.deploy.services(&scope())[0].release.unwrap();
    let intended = Arc::clone(&core.instances.borrow());
    let instance = intended.instances.iter().find(|instance| instance.release == routed).unwrap();
    let env = |key: &str| instance.env[key].as_str();
    assert_eq!(env("CURRENCY"), currency);
    assert_eq!(env("HOB_PUBLIC_URL"), "http://uk.test");
    assert_eq!(
        (env("HOB_SERVICE"), env("HOB_TENANT"), env("HOB_INSTANCE")),
        ("orders", "uk", instance.id.as_str())
    );
    let identity = core.deploy.identify(env("HOB_TOKEN")).unwrap();
    assert_eq!((identity.instance.as_str(), &identity.scope), (instance.id.as_str(), &scope()));
    assert_eq!(core.deploy.identify("hob_instance_orders-web-0_00"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_in_the_middle_goes_on_after_a_restart_and_a_shot_is_ordered_once() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let core = Core::start(data.path()).await;
    let (orders, scope) = (name("orders"), scope());
    core.deploy.apply(declarations(ORDERS), None).await.unwrap();
    let package = core.package(source.path(), "one").await;
    let rollout = core.deploy.deploy(&orders, &scope, &package, BTreeMap::new(), None).await.unwrap();
    core.end().await;

    let core = Core::start(data.path()).await;
    assert_eq!(core.wait(&rollout).await.state, RolloutState::Complete);
    let instance = core.deploy.instances(Some(&scope)).remove(0);
    core.deploy.shoot(&instance.id).await.unwrap();
    let mut intended = core.instances.clone();
    let ordered =
        tokio::time::timeout(DEADLINE, intended.wait_for(|intended| !intended.shoot.is_empty())).await;
    assert_eq!(ordered.unwrap().unwrap().shoot[0].pid, instance.pid.unwrap());
    assert!(matches!(core.deploy.shoot("nobody").await, Err(Error::UnknownInstance(_))));

    let mut without = declarations(ORDERS);
    without.services.clear();
    core.deploy.apply(without, None).await.unwrap();
    let mut changes = core.deploy.changes();
    let gone = async {
        while !core.deploy.instances(None).is_empty() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
    core.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_goes_first_holds_back_the_others_until_it_has_run_the_package() {
    let (data, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let core = Core::start(data.path()).await;
    let text = format!("{ORDERS}release: {{steps: [{{tenant: ie, for: 1s}}]}}\n");
    let (orders, uk, ie) = (name("orders"), scope(), "qa/ie".parse::<Scope>().unwrap());
    core.deploy.apply(declarations(&text), None).await.unwrap();
    let first = core.package_of(source.path(), "one", &text).await;
    for scope in [&uk, &ie] {
        let rollout = core.deploy.deploy(&orders, scope, &first, BTreeMap::new(), None).await.unwrap();
        assert_eq!(core.wait_in(scope, &rollout).await.state, RolloutState::Complete);
    }
    let second = core.package_of(source.path(), "two", &text).await;
    let held = core.deploy.deploy(&orders, &uk, &second, BTreeMap::new(), None).await.unwrap();
    assert_eq!(held.state, RolloutState::Queued);
    let rollout = core.deploy.deploy(&orders, &ie, &second, BTreeMap::new(), None).await.unwrap();
    let there = core.wait_in(&ie, &rollout).await;
    assert_eq!(there.state, RolloutState::Complete);
    let here = core.wait_in(&uk, &held).await;
    assert_eq!(here.state, RolloutState::Complete);
    let left_queue = here.steps.iter().find(|step| step.state == RolloutState::Prefetching).unwrap();
    assert!(left_queue.at.since(there.ended.unwrap()) >= Duration::from_secs(1), "{here:?}");
    core.end().await;
}
