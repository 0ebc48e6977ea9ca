//! `hob deploy`, `hob rollback` and `hob rollout`: begin, follow the states, end with what changed and how to go back.

mod follow;

use std::collections::BTreeMap;

use bytes::Bytes;
use hob_core::{Digest, Name, Scope};
use hob_sdk::Request;
use hob_wire::{
    Change, Hal, NewRollback, NewRollout, Rollout, RolloutPatch, ServiceSummary, Status, Stored, Wanted,
};
use http::Method;

use crate::cli::{Deploy, Global, Rollback, RolloutOf, RolloutOrder};
use crate::failure::{Exit, Failure};
use crate::project::{build, find_service, pack};
use crate::remote::{Remote, read};
use crate::screen;

pub(crate) use follow::{bar, follow};

pub(crate) async fn deploy(remote: &Remote, global: &Global, arguments: &Deploy) -> Result<(), Failure> {
    let name = &arguments.service;
    let bar = bar(name);
    let overrides: BTreeMap<String, String> = arguments.set.iter().cloned().collect();
    if let Some(from) = &arguments.from {
        let digest = running_in(remote, name, from).await?;
        let new = NewRollout { package: digest, overrides, promoted_from: Some(from.clone()) };
        let rollout = follow(remote, begin_new(remote, name, &new).await?, &bar).await?;
        tell(global, &rollout);
        return Ok(());
    }
    let folder = find_service(name)?;
    bar.set_message("building");
    let packed = tokio::task::spawn_blocking(move || build(&folder).and_then(|()| pack(&folder)));
    let packed = packed.await.map_err(|error| Failure::new(error.to_string()))??;
    bar.set_message("sending the package");
    let digest = send_package(remote, packed.bytes).await?;
    let rollout = begin(remote, name, digest, overrides).await?;
    let rollout = follow(remote, rollout, &bar).await?;
    tell(global, &rollout);
    Ok(())
}

pub(crate) async fn rollback(remote: &Remote, global: &Global, arguments: &Rollback) -> Result<(), Failure> {
    let name = &arguments.service;
    let path = remote.path(&format!("/v1/services/{name}/rollback"), &[]);
    let rollout: Hal<Rollout> = remote.post(path, &NewRollback { to: arguments.to }).await?;
    let rollout = follow(remote, rollout.body, &bar(name)).await?;
    tell(global, &rollout);
    Ok(())
}

/// Sends a package; the answer is its name.
pub(crate) async fn send_package(remote: &Remote, bytes: Bytes) -> Result<Digest, Failure> {
    let request = Request::post("/v1/packages").bytes("application/octet-stream", bytes).repeatable();
    let stored: Hal<Stored> = read(remote.send(request).await?)?;
    Ok(stored.body.digest)
}

/// Begins to roll a package out.
pub(crate) async fn begin(
    remote: &Remote,
    service: &Name,
    package: Digest,
    overrides: BTreeMap<String, String>,
) -> Result<Rollout, Failure> {
    begin_new(remote, service, &NewRollout { package, overrides, promoted_from: None }).await
}

async fn begin_new(remote: &Remote, service: &Name, new: &NewRollout) -> Result<Rollout, Failure> {
    let path = remote.path(&format!("/v1/services/{service}/rollouts"), &[]);
    let rollout: Hal<Rollout> = remote.post(path, new).await?;
    Ok(rollout.body)
}

/// The package that takes a service's requests in another environment, for the same tenant.
async fn running_in(remote: &Remote, service: &Name, from: &Name) -> Result<Digest, Failure> {
    let tenant = match remote.tenant() {
        Some(tenant) => tenant.clone(),
        None => {
            let status: Hal<Status> = remote.get("/v1/status".to_owned()).await?;
            let first = status.body.scopes.into_iter().next();
            first.ok_or_else(|| Failure::new("nothing is declared yet; run hob apply"))?.tenant
        }
    };
    let other = remote.in_scope(&Scope { environment: from.clone(), tenant });
    let path = other.path(&format!("/v1/services/{service}"), &[]);
    let summary: Hal<ServiceSummary> = other.get(path).await?;
    let package = summary.body.package.filter(|_| summary.body.release.is_some());
    package.ok_or_else(|| {
        let message = format!("{service} does not run in {from}: there is nothing to promote");
        Failure::with(Exit::NotFound, message)
            .hint(format!("deploy it there first: hob deploy {service} --env {from}"))
    })
}

/// Shows the newest rollout with what its gates saw, or tells it to hold, go on or go back.
pub(crate) async fn rollout(remote: &Remote, global: &Global, arguments: &RolloutOf) -> Result<(), Failure> {
    let name = &arguments.service;
    let path = remote.path(&format!("/v1/services/{name}/rollouts"), &[]);
    let newest: Option<Rollout> = remote.list(path, 1).await?.pop();
    let Some(mut rollout) = newest else {
        let message = format!("{name} was never rolled out here");
        return Err(Failure::with(Exit::NotFound, message).hint(format!("roll it out: hob deploy {name}")));
    };
    if let Some(order) = &arguments.order {
        let wanted = match order {
            RolloutOrder::Hold => Wanted::Hold,
            RolloutOrder::Resume => Wanted::Resume,
            RolloutOrder::Abort => Wanted::Abort,
        };
        let request = Request::new(Method::PATCH, format!("/v1/rollouts/{}", rollout.id));
        let request = request.json(&RolloutPatch { wanted });
        rollout = read::<Hal<Rollout>>(remote.send(request).await?)?.body;
    }
    if global.json {
        screen::json(&rollout);
        return Ok(());
    }
    screen::line(format!("release {} of {name}: {}", rollout.to, follow::words_of(&rollout)));
    follow::tell_gates(&rollout.gates);
    Ok(())
}

fn tell(global: &Global, rollout: &Rollout) {
    if global.json {
        screen::json(rollout);
        return;
    }
    let (service, to) = (&rollout.service, rollout.to);
    let took = rollout.ended.map(|ended| ended.since(rollout.started));
    let took = took.map(|took| format!(" in {:.2} s", took.as_secs_f64())).unwrap_or_default();
    match (rollout.from, rollout.rollback) {
        (Some(from), true) => {
            screen::say(format!("{service} went back from release {from} to release {to}{took}"))
        }
        (Some(from), false) => {
            screen::say(format!("{service} went from release {from} to release {to}{took}"));
            screen::say(format!("changed: {}", changes_of(&rollout.changes)));
            follow::tell_gates(&rollout.gates);
            screen::say(format!("go back with: hob rollback {service}"));
        }
        (None, _) => screen::say(format!("{service} runs release {to}{took}")),
    }
}

/// `package; variables DB, LOG; process mailer added`.
fn changes_of(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing: the same package and configuration again".to_owned();
    }
    let word = |change: &Change| match change.change.as_str() {
        "add" => format!("{} added", change.what),
        "remove" => format!("{} removed", change.what),
        _ => change.what.clone(),
    };
    changes.iter().map(word).collect::<Vec<String>>().join(", ")
}
