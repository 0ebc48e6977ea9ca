//! `hob up`: start core and router, then build, apply, and deploy what differs from what runs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use hob_core::{Clock, Digest, Name, Scope};
use hob_wire::{Rollout, ServiceSummary};
use indicatif::MultiProgress;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::console_url;
use super::deploy::{bar, begin, follow, send_package};
use crate::cli::{Global, Up};
use crate::core::Asked;
use crate::doorkeeper::Doorkeeper;
use crate::failure::Failure;
use crate::project::{Project, build, pack};
use crate::remote::Remote;
use crate::screen;
use crate::settings::Settings;
use crate::supervisor::Supervised;

/// How long the core may take until its API answers.
const START_MAX: Duration = Duration::from_secs(60);
/// How long everything deployed may take to be ready.
const READY_MAX: Duration = Duration::from_secs(120);

type Overrides = BTreeMap<Name, BTreeMap<String, String>>;

/// Runs the platform until it is told to stop.
pub(crate) async fn up(global: &Global, arguments: Up) -> Result<ExitCode, Failure> {
    let started = Clock::system().now();
    let project = Project::read(arguments.dir.as_deref())?;
    let overrides = overrides(&project, arguments.set)?;
    let settings = Settings::to_run(global, arguments.port_offset)?;
    settings.check_ports()?;
    settings.remember()?;
    let mut core = Supervised::start("core", &settings)?;
    wait_for_api(&settings, &mut core).await?;
    let router = Doorkeeper::start(&settings)?;
    let (stop, stops) = watch::channel(None);
    let mut asked = Asked::StopAll;
    let mut children = JoinSet::new();
    children.spawn(core.keep(stops.clone()));
    let router = tokio::spawn(router.keep(async move {
        let mut stops = stops;
        crate::supervisor::asked(&mut stops).await;
    }));
    let token = settings.token("admin").map_err(Failure::from)?;
    let own = Global {
        data: settings.data.clone(),
        url: Some(settings.api_url()),
        token: Some(token.expose().to_owned()),
        ..global.clone()
    };
    let mut is_over = false;
    let mut outcome = tokio::select! {
        shipped = ship(&own, &project, &overrides) => shipped,
        ended = children.join_next() => {
            is_over = true;
            ended.and_then(Result::ok).unwrap_or(Ok(()))
        }
        how = crate::core::stopped() => {
            (is_over, asked) = (true, how);
            Ok(())
        }
    };
    if !is_over {
        let console = console_url(&settings.api_url(), &token);
        match outcome {
            Ok(()) => welcome(&settings, &console, started),
            // A platform with a service that does not start is still worth looking at.
            Err(failure) => {
                failure.tell();
                screen::say(format!("Hob runs on; console: {console}"));
            }
        }
        outcome = tokio::select! {
            ended = children.join_next() => ended.and_then(Result::ok).unwrap_or(Ok(())),
            how = crate::core::stopped() => {
                asked = how;
                Ok(())
            }
        };
    }
    screen::say(match asked {
        Asked::StopAll => "stopping",
        Asked::Leave => "ending; instances run on, and the next hob up adopts them",
    });
    let _ = stop.send(Some(asked));
    while children.join_next().await.is_some() {}
    let _ = router.await;
    outcome.map(|()| ExitCode::SUCCESS)
}

fn overrides(project: &Project, set: Vec<(Name, String, String)>) -> Result<Overrides, Failure> {
    let mut overrides = Overrides::new();
    for (service, key, value) in set {
        project.service(&service)?;
        overrides.entry(service).or_default().insert(key, value);
    }
    Ok(overrides)
}

async fn wait_for_api(settings: &Settings, core: &mut Supervised) -> Result<(), Failure> {
    let url = format!("{}/health/ready", settings.api_url());
    let client = hob_sdk::Client::for_api(&settings.api_url(), None);
    let client = client.map_err(|error| Failure::new(hob_api::chain(&error)))?;
    let deadline = tokio::time::Instant::now() + START_MAX;
    loop {
        if let Some(status) = core.ended()? {
            return Err(Failure::new(format!("the core could not start ({status}); it said why above")));
        }
        let request = hob_sdk::Request::get(url.clone()).timeout(Duration::from_secs(1));
        if client.send(request).await.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Failure::new(format!("the core did not answer at {url} within {START_MAX:?}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Builds all services, applies the declarations, and deploys in every scope what differs.
async fn ship(global: &Global, project: &Project, overrides: &Overrides) -> Result<(), Failure> {
    let remote = Remote::new(global)?;
    let bars = MultiProgress::new();
    let mut packages = BTreeMap::new();
    for name in project.folders.keys() {
        let bar = bars.add(bar(name));
        bar.set_message("building");
        let folder = project.service(name)?;
        let packed = tokio::task::spawn_blocking(move || build(&folder).and_then(|()| pack(&folder)));
        let packed = packed.await.map_err(|error| Failure::new(error.to_string()))??;
        bar.finish_and_clear();
        packages.insert(name.clone(), packed);
    }
    super::apply::put(&remote, &project.declarations, false).await?;
    let mut rollouts = JoinSet::new();
    for scope in project.declarations.platform.scopes() {
        let remote = remote.in_scope(&scope);
        let running: Vec<ServiceSummary> = remote.list(remote.path("/v1/services", &[]), 10_000).await?;
        for (name, packed) in &packages {
            let overrides = overrides.get(name).cloned().unwrap_or_default();
            let (_, config) = hob_deploy::configuration(&project.in_scope(name, &scope)?, overrides.clone());
            if runs(&running, name, packed.digest, config) {
                continue;
            }
            send_package(&remote, packed.bytes.clone()).await?;
            let rollout = begin(&remote, name, packed.digest, overrides).await?;
            let (remote, bar) = (remote.clone(), bars.add(bar(name)));
            rollouts.spawn(async move { follow(&remote, rollout, &bar).await });
        }
    }
    let mut failures = Vec::new();
    while let Some(ended) = rollouts.join_next().await {
        match ended.map_err(|error| Failure::new(error.to_string()))? {
            Ok(rollout) => say_done(&rollout),
            Err(failure) => failures.push(failure),
        }
    }
    match failures.pop() {
        Some(last) => {
            failures.into_iter().for_each(|failure| {
                failure.tell();
            });
            Err(last)
        }
        None => wait_ready(&remote, &project.declarations.platform.scopes()).await,
    }
}

fn runs(running: &[ServiceSummary], name: &Name, package: Digest, config: Digest) -> bool {
    let same = |s: &&ServiceSummary| s.package == Some(package) && s.config == Some(config);
    running.iter().filter(|service| service.name == *name).any(|service| same(&service))
}

fn say_done(rollout: &Rollout) {
    let took = rollout.ended.map_or(Duration::ZERO, |ended| ended.since(rollout.started));
    let (service, to) = (&rollout.service, rollout.to);
    screen::say(format!(
        "{:>14}  release {to} ready in {:.2} s",
        console::style(service).bold(),
        took.as_secs_f64()
    ));
}

/// Services that were deployed before and differ in nothing start too.
async fn wait_ready(remote: &Remote, scopes: &[Scope]) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + READY_MAX;
    loop {
        let mut waiting = Vec::new();
        for scope in scopes {
            let remote = remote.in_scope(scope);
            let services: Vec<ServiceSummary> = remote.list(remote.path("/v1/services", &[]), 10_000).await?;
            waiting.extend(services.into_iter().filter(|s| s.ready < s.wanted).map(|s| s.name.to_string()));
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            let hint = "see hob instances, and hob logs --level warn";
            return Err(Failure::new(format!("not ready: {}", waiting.join(", "))).hint(hint));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn welcome(settings: &Settings, console: &str, started: hob_core::Timestamp) {
    let took = Clock::system().now().since(started).as_secs_f64();
    let label = |text: &str| console::style(format!("{text:>14}")).dim().to_string();
    screen::say("");
    screen::say(format!("{}  {}", label("console"), console::style(console).cyan().bold()));
    screen::say(format!("{}  {}", label("router"), console::style(settings.router_url()).cyan().bold()));
    screen::say(format!("{}  {}", label("data"), settings.data.display()));
    screen::say(format!("{}  {took:.1} s; Ctrl-C stops everything", label("ready in")));
}
