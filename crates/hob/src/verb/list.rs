//! Verbs that show what there is: services, releases, instances, the platform; and `hob shoot`.

use hob_core::{Clock, Name};
use hob_sdk::Request;
use hob_wire::{Hal, Instance, Release, ReleaseName, RouterSummary, ServiceSummary, Status};
use serde::Serialize;

use crate::cli::{Global, Releases};
use crate::failure::Failure;
use crate::remote::{Remote, escape};
use crate::screen::{self, Cell};

/// Rows of one list.
const ROWS_MAX: usize = 10_000;

/// The word with which a state is serialised.
pub(super) fn word<T: Serialize>(state: &T) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub(crate) async fn services(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let services: Vec<ServiceSummary> = remote.list(remote.path("/v1/services", &[]), ROWS_MAX).await?;
    if global.json {
        screen::json(&services);
        return Ok(());
    }
    let rows = services.iter().map(|s| {
        let ready = format!("{}/{}", s.ready, s.wanted);
        let owner = optional(s.owner.as_ref());
        vec![
            Cell::bold(&s.name),
            Cell::state(word(&s.state)),
            Cell::plain(optional(s.release)),
            Cell::plain(ready),
            Cell::dim(optional(s.standby)),
            Cell::dim(word(&s.kind)),
            Cell::dim(owner),
        ]
    });
    let head = ["service", "state", "release", "ready", "standby", "kind", "owner"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "no services are declared; declare some with hob apply");
    Ok(())
}

pub(crate) async fn releases(remote: &Remote, global: &Global, arguments: &Releases) -> Result<(), Failure> {
    let service = &arguments.service;
    let named = arguments.name.clone().map(|(number, name)| (number, Some(name)));
    if let Some((number, name)) = named.or_else(|| arguments.unname.map(|number| (number, None))) {
        let path = remote.path(&format!("/v1/services/{service}/releases/{number}/name"), &[]);
        remote.send(Request::put(path).json(&ReleaseName { name })).await?;
    }
    let path = remote.path(&format!("/v1/services/{service}/releases"), &[]);
    let releases: Vec<Release> = remote.list(path, ROWS_MAX).await?;
    if global.json {
        screen::json(&releases);
        return Ok(());
    }
    let now = Clock::system().now();
    let rows = releases.iter().map(|r| {
        let short = |digest: &hob_core::Digest| digest.hex()[..12].to_owned();
        vec![
            Cell::bold(r.number),
            Cell::state(word(&r.state)),
            Cell::plain(format!("{} ago", screen::ago(r.created, now))),
            Cell::dim(short(&r.package)),
            Cell::dim(short(&r.config)),
            Cell::dim(optional(r.promoted_from.as_ref())),
            Cell::plain(r.name.clone().unwrap_or_default()),
        ]
    });
    let head = ["release", "state", "made", "package", "configuration", "from", "name"];
    screen::table(
        &head,
        &rows.collect::<Vec<_>>(),
        &format!("{service} has no release; make one: hob deploy {service}"),
    );
    Ok(())
}

pub(crate) async fn instances(
    remote: &Remote,
    global: &Global,
    service: Option<&Name>,
) -> Result<(), Failure> {
    let path = remote.path("/v1/instances", &[("service", service.map(ToString::to_string))]);
    let instances: Vec<Instance> = remote.list(path, ROWS_MAX).await?;
    if global.json {
        screen::json(&instances);
        return Ok(());
    }
    let now = Clock::system().now();
    let rows = instances.iter().map(|i| {
        let reason = i.reason.clone().unwrap_or_default();
        let reason = reason.lines().next().unwrap_or_default().chars().take(60).collect::<String>();
        vec![
            Cell::bold(&i.id),
            Cell::state(word(&i.state)),
            Cell::plain(i.release),
            Cell::plain(optional(i.address.as_ref())),
            Cell::plain(optional(i.started.map(|started| screen::ago(started, now)))),
            Cell::plain(i.restarts),
            Cell::plain(screen::bytes(i.usage.memory_bytes)),
            Cell::dim(word(&i.confinement.isolation)),
            Cell::dim(&i.node),
            Cell::dim(reason),
        ]
    });
    let head =
        ["instance", "state", "release", "address", "up", "restarts", "memory", "isolation", "node", "why"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "no instances run; deploy a service: hob deploy SERVICE");
    Ok(())
}

/// One instance, line by line.
pub(crate) async fn instance(remote: &Remote, global: &Global, id: &str) -> Result<(), Failure> {
    let instance: Instance = remote.get(remote.path(&format!("/v1/instances/{id}"), &[])).await?;
    if global.json {
        screen::json(&instance);
        return Ok(());
    }
    let Instance { confinement, usage, .. } = &instance;
    let now = Clock::system().now();
    let of = format!("{} {}, release {}", instance.service, instance.process, instance.release);
    let uses = format!(
        "{:.1} s of processor, {}, {} processes and threads",
        usage.cpu_seconds,
        screen::bytes(usage.memory_bytes),
        usage.pids
    );
    screen::facts(&[
        ("instance", instance.id.clone()),
        ("of", format!("{of} in {}/{}", instance.environment, instance.tenant)),
        ("state", word(&instance.state)),
        ("says", optional(instance.status.as_ref())),
        ("node", instance.node.to_string()),
        ("address", optional(instance.address.as_ref())),
        ("process", optional(instance.pid)),
        ("up", optional(instance.started.map(|started| screen::ago(started, now)))),
        ("restarts", instance.restarts.to_string()),
        ("ended last", optional(instance.ended.as_ref())),
        ("isolation", word(&confinement.isolation)),
        ("limits", screen::listed(&confinement.limits)),
        ("missing", screen::listed(&confinement.missing)),
        ("uses", uses),
        ("why", optional(instance.reason.as_ref())),
    ]);
    Ok(())
}

pub(crate) async fn shoot(remote: &Remote, instance: &str) -> Result<(), Failure> {
    remote
        .send(Request::post(format!("/v1/instances/{}/shoot", escape(instance))).json(&serde_json::json!({})))
        .await?;
    screen::say(format!("{instance} is being killed; its agent starts it again"));
    Ok(())
}

pub(crate) async fn status(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let status: Hal<Status> = remote.get("/v1/status".to_owned()).await?;
    let status = status.body;
    if global.json {
        screen::json(&status);
        return Ok(());
    }
    let routers: Vec<RouterSummary> = remote.list("/v1/routers".to_owned(), ROWS_MAX).await?;
    let live = || routers.iter().filter(|router| router.live);
    let held: u64 = live().flat_map(|router| router.held.values()).sum();
    let refused: u64 = live().flat_map(|router| &router.limited).map(|limited| limited.requests).sum();
    let mut ejected: Vec<&str> =
        live().flat_map(|router| &router.ejected).map(|ejection| ejection.instance.as_str()).collect();
    ejected.sort_unstable();
    ejected.dedup();
    let scopes: Vec<String> = status.scopes.iter().map(ToString::to_string).collect();
    let uptime = hob_core::format_duration(std::time::Duration::from_secs(status.uptime_seconds));
    let rows = [
        ("platform", Cell::bold(optional(status.platform.as_ref()))),
        ("state", Cell::state(if status.ready { "ready" } else { "starting" })),
        ("version", Cell::plain(&status.version)),
        ("up", Cell::plain(uptime)),
        ("scopes", Cell::plain(scopes.join(", "))),
        ("services", Cell::plain(format!("{} of {} ready", status.services_ready, status.services))),
        ("nodes", Cell::plain(status.nodes)),
        ("routers", Cell::plain(status.routers)),
        ("router", Cell::plain(&status.router_url)),
        ("held now", Cell::plain(format!("{held} requests"))),
        ("refused", Cell::plain(format!("{refused} requests within a minute"))),
        ("ejected", Cell::plain(if ejected.is_empty() { "-".to_owned() } else { ejected.join(", ") })),
        ("events", Cell::plain(status.events)),
        ("open issues", Cell::plain(status.issues)),
    ];
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(name, cell)| vec![Cell::dim(name), cell]).collect();
    screen::table(&["", ""], &rows, "");
    Ok(())
}
