//! Decides how one service in one scope moves from a release to the next. Pure: no I/O, no clock, no randomness.
//!
//! A rollout passes its stages one per step, each with a deadline. What is left to do is derived each time from the
//! state and the facts, so a step may be repeated, and Hob may be killed between any two:
//! - a release that is in use, kept hot, or on its way has all its instances; any other's leave;
//! - an instance that leaves is stopped once no router sends it requests and none of its requests is in flight, or
//!   when its time is up;
//! - an exclusive instance comes to be only when none of another release is left.

mod settle;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use hob_core::Timestamp;
use hob_wire::{ReleaseState, Rollout, RolloutState, RolloutStep};

use crate::Timings;
use crate::model::{
    Active, Begin, Fact, Facts, Input, Member, Plan, ROLLOUTS_MAX, Set, Stage, Standby, State,
};

/// Restarts after which a new release's instance is taken for broken, before its deadline.
const RESTARTS_BROKEN: u32 = 5;
/// Letters of a reason that a rollout keeps.
const REASON_CHARS_MAX: usize = 4000;

/// What the step asks the loop to do beside keeping the state: everything else is derived from the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell others that the newest rollout failed, and why.
    TellFailed(String),
    /// Tell others that the newest rollout reached its goal.
    TellComplete,
}

/// The next state, and what to do about it.
pub(crate) fn step(
    mut state: State,
    input: Input<'_>,
    timings: &Timings,
    now: Timestamp,
) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    match input {
        Input::Deploy { rollout, plan } => {
            state.marks.insert(rollout.to, ReleaseState::Pending);
            begin(&mut state, rollout, plan, false, timings, now);
        }
        Input::Rollback { rollout, plan } => begin(&mut state, rollout, plan, true, timings, now),
        Input::Retire => retire(&mut state, timings, now),
        Input::Observe(facts) => {
            settle::forget_gone(&mut state, facts);
            expire_standby(&mut state, now);
            if let Some(active) = state.active.clone() {
                advance(&mut state, &active, facts, timings, now, &mut actions);
            }
            settle::settle(&mut state, facts, timings, now);
            settle::stop_drained(&mut state, facts, now);
            describe(&mut state, facts);
        }
    }
    (state, actions)
}

/// The release that a rollback without a number goes to.
pub(crate) fn rollback_target(state: &State) -> Option<u64> {
    if let Some(active) = &state.active {
        return active.from.filter(|_| !active.rollback);
    }
    let routed = state.routed?;
    let standby = state.standby.as_ref().map(|standby| standby.release).filter(|number| *number < routed);
    let worked = |mark: &ReleaseState| matches!(mark, ReleaseState::Standby | ReleaseState::Retired);
    let earlier = state.marks.range(..routed).rev().find(|(_, mark)| worked(mark)).map(|(number, _)| *number);
    standby.or(earlier)
}

/// After a restart of Hob every instance starts anew: times that ran while nobody looked are given again.
pub(crate) fn resume(mut state: State, timings: &Timings, now: Timestamp) -> State {
    if let Some(active) = &mut state.active {
        active.deadline = active.deadline.max(now.plus(timings.ready));
    }
    state
}

fn begin(state: &mut State, begin: Begin, plan: Plan, rollback: bool, timings: &Timings, now: Timestamp) {
    supersede(state, timings, now);
    if state.standby.as_ref().is_some_and(|standby| standby.release == begin.to) {
        state.standby = None;
        state.marks.insert(begin.to, ReleaseState::Retired);
    }
    let wanted = plan.wanted(false) + plan.wanted(true);
    let seed = format!("{}/{}", begin.home.service, begin.id);
    state.sets.entry(begin.to).or_insert_with(|| Set { plan, seed, members: Vec::new() });
    let from = state.routed.filter(|routed| *routed != begin.to);
    let deadline = now.plus(timings.ready);
    state.active = Some(Active { to: begin.to, from, rollback, stage: Stage::Web, deadline });
    state.rollouts.push(Rollout {
        id: begin.id,
        service: begin.home.service,
        environment: begin.home.scope.environment,
        tenant: begin.home.scope.tenant,
        to: begin.to,
        from,
        rollback,
        state: RolloutState::Starting,
        reason: None,
        started: now,
        ended: None,
        ready: 0,
        wanted,
        steps: vec![RolloutStep { state: RolloutState::Starting, at: now }],
        deadline: Some(deadline),
        share: None,
        weight: 0,
        gates: Vec::new(),
    });
    let surplus = state.rollouts.len().saturating_sub(ROLLOUTS_MAX);
    state.rollouts.drain(..surplus);
}

/// Ends the rollout under way in favour of another. Where the routes are now, they stay.
fn supersede(state: &mut State, timings: &Timings, now: Timestamp) {
    let Some(active) = state.active.take() else { return };
    if state.routed == Some(active.to) {
        hand_over(state, &active, timings, now);
    } else if !active.rollback {
        state.marks.insert(active.to, ReleaseState::Failed);
    }
    state.workers = state.routed;
    record(state, RolloutState::Superseded, Some("a newer rollout took its place".to_owned()), now);
}

fn retire(state: &mut State, timings: &Timings, now: Timestamp) {
    supersede(state, timings, now);
    for mark in state.marks.values_mut() {
        if matches!(mark, ReleaseState::Routed | ReleaseState::Standby) {
            *mark = ReleaseState::Retired;
        }
    }
    (state.routed, state.workers, state.standby) = (None, None, None);
}

fn expire_standby(state: &mut State, now: Timestamp) {
    if let Some(standby) = state.standby.take_if(|standby| standby.until <= now) {
        state.marks.insert(standby.release, ReleaseState::Retired);
    }
}

/// Passes to the next stage when this one is done; fails when its time is up. At most one stage each time: the facts
/// that the next one waits for are only true of the routes that follow from this one.
fn advance(
    state: &mut State,
    active: &Active,
    facts: &Facts,
    timings: &Timings,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    let is_late = now >= active.deadline;
    let done = match active.stage {
        Stage::Web => is_ready(state, active.to, facts, false),
        Stage::Workers => {
            let is_up = active.rollback || is_ready(state, active.to, facts, false);
            is_up && is_ready(state, active.to, facts, true) && !has_other_workers(state, active.to)
        }
        Stage::Route => facts.acknowledged,
        Stage::Drain => is_late || has_drained(state, active, facts),
    };
    if done {
        match active.next_stage() {
            Some(stage) => enter(state, active, stage, timings, now),
            None => complete(state, active, timings, now, actions),
        }
    } else if is_late && !(active.stage == Stage::Route && active.from.is_none()) {
        let why = why_not_ready(state, active, facts, timings);
        fail(state, active, why, now, actions);
    } else if let Some(why) = broken(state, active, facts) {
        fail(state, active, why, now, actions);
    }
}

fn enter(state: &mut State, active: &Active, stage: Stage, timings: &Timings, now: Timestamp) {
    let time = if stage == Stage::Drain { timings.drain } else { timings.ready };
    let next = Active { stage, deadline: now.plus(time), ..active.clone() };
    match stage {
        Stage::Workers => state.workers = Some(active.to),
        Stage::Route => state.routed = Some(active.to),
        Stage::Web | Stage::Drain => {}
    }
    let outer = next.rollout_state();
    state.active = Some(next);
    record(state, outer, None, now);
}

fn complete(
    state: &mut State,
    active: &Active,
    timings: &Timings,
    now: Timestamp,
    actions: &mut Vec<Action>,
) {
    state.active = None;
    hand_over(state, active, timings, now);
    record(state, RolloutState::Complete, None, now);
    actions.push(Action::TellComplete);
}

/// The target is in use; where it came from is kept hot in the place of an earlier one.
fn hand_over(state: &mut State, active: &Active, timings: &Timings, now: Timestamp) {
    state.marks.insert(active.to, ReleaseState::Routed);
    let Some(from) = active.from else { return };
    if let Some(standby) = state.standby.take() {
        state.marks.insert(standby.release, ReleaseState::Retired);
    }
    if state.sets.get(&from).is_some_and(|set| set.plan.wanted(false) > 0) {
        state.standby = Some(Standby { release: from, until: now.plus(timings.standby) });
        state.marks.insert(from, ReleaseState::Standby);
    } else {
        state.marks.insert(from, ReleaseState::Retired);
    }
}

/// Everything goes back to where it came from; that release still has its instances, and its workers come back.
fn fail(state: &mut State, active: &Active, why: String, now: Timestamp, actions: &mut Vec<Action>) {
    state.active = None;
    state.routed = active.from.or(state.routed.filter(|routed| *routed != active.to || active.rollback));
    state.workers = state.routed;
    if !active.rollback {
        state.marks.insert(active.to, ReleaseState::Failed);
    }
    record(state, RolloutState::Failed, Some(why.clone()), now);
    actions.push(Action::TellFailed(why));
}

/// Notes a state of the newest rollout.
fn record(state: &mut State, to: RolloutState, reason: Option<String>, now: Timestamp) {
    let Some(rollout) = state.rollouts.last_mut() else { return };
    if rollout.state != to {
        rollout.steps.push(RolloutStep { state: to, at: now });
    }
    rollout.state = to;
    rollout.reason = reason;
    if matches!(to, RolloutState::Complete | RolloutState::Failed | RolloutState::Superseded) {
        rollout.ended = Some(now);
    }
}

/// Keeps the newest rollout's counts and what it waits for.
fn describe(state: &mut State, facts: &Facts) {
    let Some(active) = state.active.clone() else { return };
    let Some(set) = state.sets.get(&active.to) else { return };
    let ready = set.members.iter().filter(|member| settle::is_ready(member, facts)).count();
    let reason = match active.stage {
        Stage::Web | Stage::Workers => first_unready(state, &active, facts),
        Stage::Route => Some("waits until every router has taken in the new routes".to_owned()),
        Stage::Drain => Some("waits until the last requests of the old instances have ended".to_owned()),
    };
    if let Some(rollout) = state.rollouts.last_mut() {
        rollout.ready = u32::try_from(ready).unwrap_or(u32::MAX);
        rollout.reason = reason;
    }
}

/// Whether the release has all its instances of the one or the other kind, each ready.
fn is_ready(state: &State, release: u64, facts: &Facts, exclusive: bool) -> bool {
    let Some(set) = state.sets.get(&release) else { return false };
    let counts = |member: &&Member| set.plan.is_exclusive(&member.process) == exclusive;
    let ready = set.members.iter().filter(counts).filter(|member| settle::is_ready(member, facts)).count();
    u32::try_from(ready).is_ok_and(|ready| ready >= set.plan.wanted(exclusive))
}

fn has_other_workers(state: &State, release: u64) -> bool {
    let mut others = state.sets.iter().filter(|(number, _)| **number != release);
    others.any(|(_, set)| set.members.iter().any(|member| set.plan.is_exclusive(&member.process)))
}

fn has_drained(state: &State, active: &Active, facts: &Facts) -> bool {
    let Some(set) = active.from.and_then(|from| state.sets.get(&from)) else { return true };
    set.members.iter().all(|member| facts.instances.get(&member.id).is_some_and(|fact| fact.clear))
}

/// A new release whose instance ends again and again need not wait for its deadline. One that worked before may.
fn broken(state: &State, active: &Active, facts: &Facts) -> Option<String> {
    if active.rollback || !matches!(active.stage, Stage::Web | Stage::Workers) {
        return None;
    }
    let set = state.sets.get(&active.to)?;
    let is_broken = |fact: &Fact| fact.restarts >= RESTARTS_BROKEN;
    let mut members = set.members.iter().filter(|member| !settle::is_ready(member, facts));
    let member = members.find(|member| facts.instances.get(&member.id).is_some_and(is_broken))?;
    Some(format!("{} ended {RESTARTS_BROKEN} times: {}", member.id, reason_of(member, facts)))
}

fn why_not_ready(state: &State, active: &Active, facts: &Facts, timings: &Timings) -> String {
    let waited = hob_core::format_duration(timings.ready);
    match active.stage {
        Stage::Route => format!("a router did not take in the new routes within {waited}"),
        _ => {
            let first = first_unready(state, active, facts);
            let first = first.unwrap_or_else(|| "instances of another release have not ended".to_owned());
            format!("not ready within {waited}: {first}")
        }
    }
}

fn first_unready(state: &State, active: &Active, facts: &Facts) -> Option<String> {
    let set = state.sets.get(&active.to)?;
    let Some(member) = set.members.iter().find(|member| !settle::is_ready(member, facts)) else {
        let is_whole = is_ready(state, active.to, facts, active.stage == Stage::Workers);
        return (!is_whole).then(|| "waits until the old workers have ended".to_owned());
    };
    if member.node.is_none() {
        return Some(format!("{} has no node: no agent reports", member.id));
    }
    Some(format!("{} is not ready: {}", member.id, reason_of(member, facts)))
}

fn reason_of(member: &Member, facts: &Facts) -> String {
    let reason = facts.instances.get(&member.id).and_then(|fact| fact.reason.as_deref());
    reason.unwrap_or("its agent gave no reason yet").chars().take(REASON_CHARS_MAX).collect()
}
