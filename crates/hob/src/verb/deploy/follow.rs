//! A rollout live: a bar that moves through its states, and how it ended in words.

use std::time::Duration;

use hob_core::{Clock, Name};
use hob_wire::{GateEvidence, Hal, Rollout, RolloutState, Verdict};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::{Exit, Failure};
use crate::remote::Remote;
use crate::screen;

/// How long a rollout is followed beyond the deadline of its state, which is its own to keep.
const FOLLOW_BEYOND: Duration = Duration::from_secs(300);
/// Where the bar ends.
const WHOLE: u64 = 100;

/// A bar that shows a rollout's states; nothing where there is no terminal.
pub(crate) fn bar(service: &Name) -> ProgressBar {
    let bar = ProgressBar::new(WHOLE).with_prefix(service.to_string());
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix:>14.bold} {bar:24.green/dim} {msg} {elapsed:.dim}");
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
    let mut told = None;
    let mut deadline = tokio::time::Instant::now() + patience(&rollout);
    loop {
        let words = words_of(&rollout);
        if let Some(position) = position(&rollout) {
            bar.set_position(position);
        }
        let present = (rollout.state, rollout.share);
        if told != Some(present) {
            deadline = tokio::time::Instant::now() + patience(&rollout);
            if bar.is_hidden() {
                screen::say(format!("{}: {words}", rollout.service));
            }
            told = Some(present);
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
                format!("release {} of {} is still {}", rollout.to, rollout.service, name_of(rollout.state));
            let hint = format!("see hob rollout {}", rollout.service);
            return Err(Failure::with(Exit::TimedOut, message).hint(hint));
        }
        let path = format!("/v1/services/{}/rollouts/{}", rollout.service, rollout.id);
        let seen = Some(name_of(rollout.state).to_owned());
        let path = remote.path(&path, &[("state", seen), ("wait", Some("1s".to_owned()))]);
        let answer: Hal<Rollout> = tokio::select! {
            answer = remote.get(path) => answer?,
            _ = crate::core::stopped() => {
                bar.finish_and_clear();
                let message = format!("no longer following release {} of {}; its rollout goes on", rollout.to, rollout.service);
                return Err(Failure::new(message).hint(format!("see hob rollout {}", rollout.service)));
            }
        };
        rollout = answer.body;
    }
}

/// How long the present state may still last.
fn patience(rollout: &Rollout) -> Duration {
    let left = rollout.deadline.map(|deadline| deadline.since(Clock::system().now()));
    left.unwrap_or_default() + FOLLOW_BEYOND
}

/// How far it has come, of [`WHOLE`]; where it stands still, nothing moves.
fn position(rollout: &Rollout) -> Option<u64> {
    let ready = u64::from(rollout.ready) * 30 / u64::from(rollout.wanted.max(1));
    Some(match rollout.state {
        RolloutState::Queued => 2,
        RolloutState::Prefetching => 6,
        RolloutState::PreRelease => 14,
        RolloutState::Starting => 22 + ready.min(30),
        RolloutState::Stepping => 54 + u64::from(rollout.weight) * 24 / 100,
        RolloutState::Routing => 80,
        RolloutState::Baking => 88,
        RolloutState::Draining => 94,
        RolloutState::Complete => WHOLE,
        RolloutState::Reverting => 10,
        RolloutState::Holding | RolloutState::Failed | RolloutState::Superseded => return None,
    })
}

/// Where it stands and what it waits for, in words.
pub(crate) fn words_of(rollout: &Rollout) -> String {
    let waits = rollout.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let left = rollout.deadline.map(|deadline| deadline.since(Clock::system().now()).as_secs());
    let left = left.filter(|seconds| *seconds > 0).map(|s| format!(", {s} s left")).unwrap_or_default();
    match rollout.state {
        RolloutState::Starting => {
            format!("starting, {} of {} ready{waits}", rollout.ready, rollout.wanted)
        }
        RolloutState::Stepping => {
            let step = rollout.share.map_or(1, |share| share + 1);
            format!("step {step}, {} % of the requests{left}{}", rollout.weight, seen(&rollout.gates))
        }
        RolloutState::Baking => format!("baking, all requests{left}{}", seen(&rollout.gates)),
        RolloutState::Draining => format!("draining the old instances{waits}"),
        state => format!("{}{waits}", name_of(state)),
    }
}

/// The gates in a word each.
fn seen(gates: &[GateEvidence]) -> String {
    let word = |gate: &GateEvidence| match gate.verdict {
        Verdict::Pass => format!("{} passes", gate.gate),
        Verdict::Fail => format!("{} fails", gate.gate),
        Verdict::NoData => format!("{} has seen too little", gate.gate),
    };
    let words: Vec<String> = gates.iter().map(word).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

/// What each gate saw, a line each.
pub(crate) fn tell_gates(gates: &[GateEvidence]) {
    for gate in gates {
        screen::say(format!("  {}: {}", gate.gate, gate.why));
    }
}

/// A state by the word with which it is written.
pub(crate) fn name_of(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Queued => "queued",
        RolloutState::Prefetching => "prefetching",
        RolloutState::PreRelease => "pre_release",
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
    tell_gates(&rollout.gates);
    let stays = match rollout.from {
        Some(from) => format!("release {from} goes on taking the requests; "),
        None => String::new(),
    };
    Failure::new(format!("release {} of {service} did not make it: {reason}", rollout.to))
        .hint(format!("{stays}see hob logs {service} --level warn"))
}
