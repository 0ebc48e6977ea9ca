//! `hob deploy` and `hob rollback`: begin, follow the states, end with what changed and how to go back.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hob_core::{Digest, Name};
use hob_sdk::Request;
use hob_wire::{Hal, NewRollback, NewRollout, Rollout, RolloutState, Stored};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{Deploy, Global, Rollback};
use crate::failure::{Exit, Failure};
use crate::project::{build, find_service, pack};
use crate::remote::{Remote, read};
use crate::screen;

/// How long a rollout is followed; its own deadlines are shorter.
const FOLLOW_MAX: Duration = Duration::from_secs(300);

pub(crate) async fn deploy(remote: &Remote, global: &Global, arguments: &Deploy) -> Result<(), Failure> {
    let name = &arguments.service;
    let folder = find_service(name)?;
    let bar = bar(name);
    bar.set_message("building");
    let packed = tokio::task::spawn_blocking(move || build(&folder).and_then(|()| pack(&folder)));
    let packed = packed.await.map_err(|error| Failure::new(error.to_string()))??;
    bar.set_message("sending the package");
    let digest = send_package(remote, packed.bytes).await?;
    let overrides: BTreeMap<String, String> = arguments.set.iter().cloned().collect();
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
    let path = remote.path(&format!("/v1/services/{service}/rollouts"), &[]);
    let rollout: Hal<Rollout> = remote.post(path, &NewRollout { package, overrides }).await?;
    Ok(rollout.body)
}

/// A bar that shows a rollout's states; nothing where there is no terminal.
pub(crate) fn bar(service: &Name) -> ProgressBar {
    let bar = ProgressBar::new(3).with_prefix(service.to_string());
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix:>14.bold} {bar:18.green/dim} {msg} {elapsed:.dim}");
    bar.set_style(style.expect("the template is right").progress_chars("━━╌"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Follows a rollout to its end.
pub(crate) async fn follow(
    remote: &Remote,
    mut rollout: Rollout,
    bar: &ProgressBar,
) -> Result<Rollout, Failure> {
    let deadline = tokio::time::Instant::now() + FOLLOW_MAX;
    let mut told = None;
    loop {
        let (step, words) = stage(&rollout);
        bar.set_position(step);
        if bar.is_hidden() && told != Some(rollout.state) {
            screen::say(format!("{}: {words}", rollout.service));
            told = Some(rollout.state);
        }
        bar.set_message(words);
        match rollout.state {
            RolloutState::Complete => {
                bar.finish_and_clear();
                return Ok(rollout);
            }
            RolloutState::Failed | RolloutState::Superseded => {
                bar.finish_and_clear();
                return Err(failed(&rollout));
            }
            _ => {}
        }
        if tokio::time::Instant::now() > deadline {
            bar.finish_and_clear();
            let message =
                format!("release {} of {} is still {}", rollout.to, rollout.service, words_of(rollout.state));
            return Err(
                Failure::with(Exit::TimedOut, message).hint(format!("see hob instances {}", rollout.service))
            );
        }
        let seen = serde_json::to_value(rollout.state).ok().and_then(|v| v.as_str().map(str::to_owned));
        let path = format!("/v1/services/{}/rollouts/{}", rollout.service, rollout.id);
        let path = remote.path(&path, &[("state", seen), ("wait", Some("1s".to_owned()))]);
        let answer: Hal<Rollout> = tokio::select! {
            answer = remote.get(path) => answer?,
            _ = crate::core::stopped() => {
                bar.finish_and_clear();
                let message = format!("no longer following release {} of {}; its rollout goes on", rollout.to, rollout.service);
                return Err(Failure::new(message).hint(format!("see hob releases {}", rollout.service)));
            }
        };
        rollout = answer.body;
    }
}

fn stage(rollout: &Rollout) -> (u64, String) {
    let waits = rollout.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match rollout.state {
        RolloutState::Queued
        | RolloutState::Prefetching
        | RolloutState::PreRelease
        | RolloutState::Holding
        | RolloutState::Reverting => (0, format!("{}{waits}", words_of(rollout.state))),
        RolloutState::Stepping => (1, format!("{} % of the requests{waits}", rollout.weight)),
        RolloutState::Baking => (2, format!("baking{waits}")),
        RolloutState::Starting => {
            (0, format!("starting, {} of {} ready{waits}", rollout.ready, rollout.wanted))
        }
        RolloutState::Routing => (1, format!("routing{waits}")),
        RolloutState::Draining => (2, format!("draining the old instances{waits}")),
        RolloutState::Complete => (3, "done".to_owned()),
        RolloutState::Failed | RolloutState::Superseded => (0, words_of(rollout.state).to_owned()),
    }
}

fn words_of(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Queued => "queued",
        RolloutState::Prefetching => "prefetching",
        RolloutState::PreRelease => "pre-release",
        RolloutState::Starting => "starting",
        RolloutState::Stepping => "stepping",
        RolloutState::Holding => "holding",
        RolloutState::Baking => "baking",
        RolloutState::Reverting => "reverting",
        RolloutState::Routing => "routing",
        RolloutState::Draining => "draining",
        RolloutState::Complete => "complete",
        RolloutState::Failed => "failed",
        RolloutState::Superseded => "superseded",
    }
}

fn failed(rollout: &Rollout) -> Failure {
    let service = &rollout.service;
    let reason = rollout.reason.clone().unwrap_or_else(|| "no reason was told".to_owned());
    if rollout.state == RolloutState::Superseded {
        return Failure::with(
            Exit::Conflict,
            format!("release {} of {service} was superseded: {reason}", rollout.to),
        );
    }
    let stays = match rollout.from {
        Some(from) => format!("release {from} goes on taking the requests; "),
        None => String::new(),
    };
    Failure::new(format!("release {} of {service} did not make it: {reason}", rollout.to))
        .hint(format!("{stays}see hob logs {service} --level warn"))
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
            screen::say(format!("go back with: hob rollback {service}"));
        }
        (None, _) => screen::say(format!("{service} runs release {to}{took}")),
    }
}
