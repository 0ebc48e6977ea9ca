//! Wires the floors of the core together, and takes them down in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hob_agent::Shutdown;
use hob_api::{Api, Facts, Parts, Tokens, app};
use hob_bus::{Bus, IndexLimits};
use hob_core::{Clock, Name, Scope, Secret};
use hob_deploy::{Deploy, Timings};
use hob_metrics::Metrics;
use hob_records::Records;
use hob_sdk::Trust;
use hob_store::{Store, StoreOptions};
use hob_watch::Watch;
use hob_wire::Role;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Asked;
use super::act::ActThroughRouter;
use super::announce::{announcer, publish};
use super::fetch::ThroughRouter;
use super::housekeeping;
use super::intake::Telemetry;
use super::push::HttpEndpoint;
use super::sampler::Sampler;
use crate::failure::Failure;
use crate::settings::Settings;

/// How long open requests have to end when the core stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long instances have to end when the core stops.
const INSTANCES_MAX: Duration = Duration::from_secs(22);

/// The name of the node that this machine is.
const LOCAL_NODE: &str = "node-1";

/// Knows instances through the deploy floor.
struct KnownInstances(Deploy);

impl hob_api::Instances for KnownInstances {
    fn identify(&self, token: &Secret) -> Option<(String, Name, Scope)> {
        let identity = self.0.identify(token.expose())?;
        Some((identity.instance, identity.service, identity.scope))
    }
}

/// The core's parts that outlive the wiring.
struct Core {
    api: Api,
    bus: Bus,
    watch: Watch,
    deploy_loop: hob_deploy::Service,
    waiting: super::announce::Waiting,
    sampler: Sampler,
    endpoint: HttpEndpoint,
    store: Store,
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(hob_api::chain(error))
}

/// Sizes that tests make small, so that little work makes many segments, parts and flushes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) segment_bytes: Option<u64>,
    pub(super) index_events: Option<u64>,
}

impl Sizes {
    fn store(self) -> StoreOptions {
        let mut options = StoreOptions::default();
        options.events.segment_bytes = self.segment_bytes.unwrap_or(options.events.segment_bytes);
        options
    }

    fn index(self) -> IndexLimits {
        let usual = IndexLimits::default();
        IndexLimits { events: self.index_events.unwrap_or(usual.events), ..usual }
    }
}

/// Runs the core until it is told to stop.
pub(super) async fn run(settings: Settings, sizes: Sizes) -> Result<(), Failure> {
    let clock = Clock::system();
    let core = open(&settings, sizes, &clock).await?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], settings.api_port()))).await.map_err(
        |error| {
            let code = hob_core::code::PORT.name();
            Failure::new(format!("{code}: port {} cannot be used: {error}", settings.api_port()))
                .hint("stop what listens there, or use other ports with --port-offset")
        },
    )?;
    let node_token = settings.token("node").map_err(Failure::from)?;
    let agent = hob_agent::Config {
        node: LOCAL_NODE.parse().expect("a short word is a name"),
        core_url: settings.api_url(),
        token: node_token,
        work_dir: settings.data.join("node"),
        data_dir: settings.data.clone(),
        clock,
        exec: crate::supervisor::SELF.into(),
    };

    let (stop_agent, agent_stops) = watch::channel(None);
    let (stop_api, api_stops) = watch::channel(false);
    let (stop_deploy, deploy_stops) = watch::channel(false);
    let (stop_push, push_stops) = watch::channel(false);
    let Core { api, bus, watch, deploy_loop, waiting, sampler, endpoint, store } = core;
    let deploying = tokio::spawn(deploy_loop.run(raised(deploy_stops)));
    let ticking = tokio::spawn({
        let bus = bus.clone();
        async move { bus.tick_wall_clock().await }
    });
    let pushing = tokio::spawn({
        let (bus, stop) = (bus.clone(), raised(push_stops));
        async move { bus.push(Arc::new(endpoint), stop).await }
    });
    let announcing = tokio::spawn(publish(waiting, bus.clone()));
    let trimming = tokio::spawn(housekeeping::trim(Arc::clone(&store.signals)));
    let sampling = tokio::spawn(sampler.run());
    let burying = tokio::spawn(housekeeping::bury(api.deploy.clone(), api.tokens.clone()));
    let sweeping = tokio::spawn(housekeeping::sweep(api.deploy.clone()));
    let serving = tokio::spawn(hob_api::serve(listener, app(api), raised(api_stops)));
    let working = tokio::spawn(async move {
        if let Err(error) = hob_agent::run(agent, agent_ends(agent_stops)).await {
            // Starting Hob again has this machine be a node again.
            tracing::error!(error = hob_api::chain(&error), "the agent of this machine ended");
        }
    });

    let asked = super::stopped().await;
    // Instances that are to end do so first, while the API still takes their last words; the log is closed last.
    let _ = stop_agent.send(Some(asked));
    if tokio::time::timeout(INSTANCES_MAX, working).await.is_err() {
        tracing::warn!("the agent did not end in time; instances that still run are left to the next");
    }
    let _ = stop_api.send(true);
    let _ = tokio::time::timeout(DRAIN_MAX, serving).await;
    let _ = stop_deploy.send(true);
    let _ = tokio::time::timeout(DRAIN_MAX, deploying).await;
    let _ = stop_push.send(true);
    let _ = tokio::time::timeout(DRAIN_MAX, pushing).await;
    watch.close().await;
    bus.close().await;
    for task in [ticking, announcing, trimming, sampling, burying, sweeping] {
        task.abort();
    }
    Ok(())
}

/// The scopes' public origins, as they are declared at the time.
fn origins(deploy: Deploy, router_url: String) -> super::push::Origins {
    Arc::new(move |scope| {
        let declared = deploy.declarations();
        let public_url = declared.and_then(|(_, declared)| declared.platform.public_url.clone());
        Some(public_url.map_or_else(|| router_url.clone(), |url| scope.fill(&url)))
    })
}

/// How the agent is to end, once it is.
async fn agent_ends(mut asked: watch::Receiver<Option<Asked>>) -> Shutdown {
    let asked = asked.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
    if asked == Some(Asked::StopAll) { Shutdown::StopInstances } else { Shutdown::Leave }
}

async fn raised(mut flag: watch::Receiver<bool>) {
    crate::supervisor::raised(&mut flag).await;
}

async fn open(settings: &Settings, sizes: Sizes, clock: &Clock) -> Result<Core, Failure> {
    let code = hob_core::code::DATA_DIRECTORY.name();
    let store = Store::open(&settings.data, sizes.store())
        .await
        .map_err(|error| Failure::new(format!("{code}: {}", hob_api::chain(&error))))?;
    let bus = Bus::open_with(&store, clock.clone(), sizes.index()).await.map_err(|error| failed(&error))?;
    let (announcer, waiting) = announcer(settings.api_url());
    let config = hob_deploy::Config {
        api_url: settings.api_url(),
        router_url: settings.router_url(),
        ca_file: settings.ca_file.clone(),
        data: settings.data.clone(),
        clock: clock.clone(),
        timings: Timings::default(),
    };
    let (deploy, deploy_loop) =
        Deploy::open(config, Arc::clone(&store.kv), Arc::clone(&store.blobs), Arc::new(announcer))
            .await
            .map_err(|error| failed(&error))?;
    let fetch = ThroughRouter::new(&settings.router_url()).map_err(|error| failed(&error))?;
    let trust = Trust::with_ca_file(settings.ca_file.as_deref()).map_err(|error| failed(&error))?;
    let endpoint =
        HttpEndpoint::new(&settings.router_url(), origins(deploy.clone(), settings.router_url()), &trust)
            .map_err(|error| failed(&error))?;
    let declared = deploy.declarations();
    let scopes = declared.as_ref().map(|(_, declared)| declared.platform.scopes()).unwrap_or_default();
    let act = ActThroughRouter::new(&settings.router_url()).map_err(|error| failed(&error))?;
    let watch = Watch::open(&store, &bus, Arc::new(fetch), Arc::new(act), scopes)
        .await
        .map_err(|error| failed(&error))?;
    let tokens = Tokens::open(Arc::clone(&store.kv), Arc::new(KnownInstances(deploy.clone())))
        .await
        .map_err(|error| failed(&error))?;
    let own = [
        ("admin", "admin", Role::Admin),
        ("node", LOCAL_NODE, Role::Node),
        ("router", "router", Role::Router),
    ];
    for (file, name, role) in own {
        let token = settings.token(file).map_err(Failure::from)?;
        tokens.admit(&token, name, role).await.map_err(|error| failed(&error))?;
    }
    let records = Records::new(Arc::clone(&store.signals));
    let metrics = Metrics::new(Arc::clone(&store.signals));
    let intake = Telemetry { records: records.clone(), metrics: metrics.clone(), clock: clock.clone() };
    let sampler =
        Sampler { bus: bus.clone(), deploy: deploy.clone(), metrics: metrics.clone(), clock: clock.clone() };
    let api = Api::new(Parts {
        bus: bus.clone(),
        deploy,
        watch: watch.clone(),
        records,
        metrics,
        intake: Arc::new(intake),
        tokens,
        clock: clock.clone(),
        facts: Facts { router_url: settings.router_url(), started: clock.now() },
    });
    if let Some((_, declared)) = declared {
        api.derive(&declared).await.map_err(|error| Failure::from(*error.0))?;
    }
    Ok(Core { api, bus, watch, deploy_loop, waiting, sampler, endpoint, store })
}
