//! Decides how one service in one scope moves from a release to the next. Pure: no I/O, no clock, no randomness.
//!
//! A rollout passes its stages one per step, each with a deadline. What is left to do is derived each time from the
//! state and the facts, so a step may be repeated, and Hob may be killed between any two:
//! - a release that is in use, kept hot, or on its way has all its instances; any other's leave;
//! - an instance that leaves is stopped once no router sends it requests and none of its requests is in flight, or
//!   when its time is up;
//! - an exclusive instance comes to be only when none of another release is left, and a process that runs once ends
//!   before the next release's begins.
//!
//! Here rollouts begin and end; `advance.rs` passes from stage to stage, `judge.rs` holds the gates, `look.rs` reads
//! the facts, `settle.rs` says which instances there should be.

mod advance;
mod gate;
mod judge;
mod look;
mod rank;
pub(crate) mod settle;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use advance::is_past_orders;

use std::collections::BTreeSet;

use hob_core::Timestamp;
use hob_wire::{ReleaseState, Rollout, RolloutState, RolloutStep, Wanted};

use crate::Timings;
use crate::model::{Active, Begin, Facts, Input, Plan, ROLLOUTS_MAX, Set, Stage, Standby, State};

/// What the step asks the loop to do beside keeping the state: everything else is derived from the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell others that the newest rollout failed, and why.
    Failed(String),
    /// Tell others that the newest rollout reached its goal.
    Complete,
    /// Tell others that the newest rollout stands still for longer than it may, and why; or that this is over.
    Stalled(Option<String>),
}

/// The next state, and what to do about it.
pub(crate) fn step(
    mut state: State,
    input: Input<'_>,
    timings: &Timings,
    now: Timestamp,
) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    let mut at = At { timings, now, actions: &mut actions };
    match input {
        Input::Deploy { rollout, plan } => {
            state.marks.insert(rollout.to, ReleaseState::Pending);
            begin(&mut state, rollout, plan, false, &mut at);
        }
        Input::Rollback { rollout, plan } => begin(&mut state, rollout, plan, true, &mut at),
        Input::Retire => retire(&mut state, &mut at),
        Input::Order { wanted, by } => order(&mut state, wanted, by, &mut at),
        Input::Observe(facts) => observe(&mut state, facts, &mut at),
    }
    (state, actions)
}

/// What every decision is given beside the state.
struct At<'a> {
    timings: &'a Timings,
    now: Timestamp,
    actions: &'a mut Vec<Action>,
}

fn observe(state: &mut State, facts: &Facts, at: &mut At<'_>) {
    settle::forget_gone(state, facts);
    expire_standby(state, at.now);
    if let Some(active) = state.active.clone() {
        advance::advance(state, &active, facts, at);
    }
    settle::settle(state, facts, at.now);
    settle::stop_drained(state, facts, at.now);
    look::describe(state, facts);
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

/// After a restart of Hob: times that ran while nobody looked are given again. Steps and bakes go on by their own
/// time; what their gates saw is gone, and they hold until they have seen enough again.
pub(crate) fn resume(mut state: State, timings: &Timings, now: Timestamp) -> State {
    if let Some(active) = &mut state.active
        && !matches!(active.stage, Stage::Step | Stage::Bake)
    {
        active.deadline = active.deadline.max(now.plus(timings.ready));
    }
    state
}

fn begin(state: &mut State, begin: Begin, plan: Plan, rollback: bool, at: &mut At<'_>) {
    supersede(state, at);
    if state.standby.as_ref().is_some_and(|standby| standby.release == begin.to) {
        state.standby = None;
        state.marks.insert(begin.to, ReleaseState::Retired);
    }
    let wanted = plan.wanted(false) + plan.wanted(true);
    let left_ms = plan.terms.release.deadline_ms;
    let seed = format!("{}/{}", begin.home.service, begin.id);
    let set = Set { plan, seed, members: Vec::new(), done: BTreeSet::new() };
    state.sets.entry(begin.to).or_insert(set);
    let from = state.routed.filter(|routed| *routed != begin.to);
    let stage = if rollback { Stage::Web } else { Stage::Queued };
    let mut active = Active::new(begin.to, from, rollback, stage, at.now);
    active.left_ms = left_ms;
    active.deadline = at.now.plus(advance::time_of(state, &active, at.timings));
    let begins_as = active.rollout_state();
    state.rollouts.push(Rollout {
        id: begin.id,
        service: begin.home.service,
        environment: begin.home.scope.environment,
        tenant: begin.home.scope.tenant,
        to: begin.to,
        from,
        rollback,
        state: begins_as,
        reason: None,
        started: at.now,
        ended: None,
        ready: 0,
        wanted,
        steps: vec![RolloutStep { state: begins_as, at: at.now }],
        deadline: Some(active.deadline),
        share: None,
        weight: 0,
        gates: Vec::new(),
        changes: begin.changes,
    });
    state.active = Some(active);
    let surplus = state.rollouts.len().saturating_sub(ROLLOUTS_MAX);
    state.rollouts.drain(..surplus);
}

/// Ends the rollout under way in favour of another: the newest wins. Where all requests go now, they stay; a share of
/// them goes back.
fn supersede(state: &mut State, at: &mut At<'_>) {
    let Some(active) = state.active.take() else { return };
    end_hold(&active, at);
    let why = active.why.clone();
    if state.routed == Some(active.to) {
        hand_over(state, &active, at.now);
    } else if !active.rollback {
        state.marks.insert(active.to, ReleaseState::Failed);
    }
    state.workers = state.routed;
    match why {
        Some(why) => record(state, RolloutState::Failed, Some(why), at.now),
        None => {
            let why = "a newer rollout took its place".to_owned();
            record(state, RolloutState::Superseded, Some(why), at.now);
        }
    }
}

fn retire(state: &mut State, at: &mut At<'_>) {
    supersede(state, at);
    for mark in state.marks.values_mut() {
        if matches!(mark, ReleaseState::Routed | ReleaseState::Standby) {
            *mark = ReleaseState::Retired;
        }
    }
    (state.routed, state.workers, state.standby) = (None, None, None);
}

/// Whoever asks sees to it that there is a rollout under way that may still be told something.
fn order(state: &mut State, wanted: Wanted, by: &str, at: &mut At<'_>) {
    let asked = || format!("{by} asked for it");
    let Some(mut active) = state.active.clone() else { return };
    match wanted {
        Wanted::Abort => advance::go_back(state, &active, asked(), at),
        Wanted::Hold => {
            active.hold = Some(judge::hold(state, &active, true, at.now));
            let holds = active.rollout_state();
            state.active = Some(active);
            record(state, holds, Some(asked()), at.now);
        }
        Wanted::Resume => {
            let Some(hold) = active.hold.take() else { return };
            if hold.told {
                at.actions.push(Action::Stalled(None));
            }
            if !hold.by_order {
                advance::pass(state, &active, at);
                return;
            }
            let stood = at.now.since(hold.since);
            active.deadline = active.deadline.plus(stood);
            active.entered = active.entered.plus(stood);
            let goes_on = active.rollout_state();
            state.active = Some(active);
            record(state, goes_on, None, at.now);
        }
    }
}

fn expire_standby(state: &mut State, now: Timestamp) {
    if let Some(standby) = state.standby.take_if(|standby| standby.until <= now) {
        state.marks.insert(standby.release, ReleaseState::Retired);
    }
}

fn complete(state: &mut State, active: &Active, at: &mut At<'_>) {
    end_hold(active, at);
    state.active = None;
    hand_over(state, active, at.now);
    record(state, RolloutState::Complete, None, at.now);
    at.actions.push(Action::Complete);
}

/// The target is in use; where it came from is kept hot in the place of an earlier one.
fn hand_over(state: &mut State, active: &Active, now: Timestamp) {
    state.marks.insert(active.to, ReleaseState::Routed);
    let Some(from) = active.from else { return };
    if let Some(standby) = state.standby.take() {
        state.marks.insert(standby.release, ReleaseState::Retired);
    }
    let standby_ms = state.sets.get(&active.to).map_or(0, |set| set.plan.terms.release.standby_ms);
    if standby_ms > 0 && state.sets.get(&from).is_some_and(|set| set.plan.wanted(false) > 0) {
        let until = now.plus(std::time::Duration::from_millis(standby_ms));
        state.standby = Some(Standby { release: from, until });
        state.marks.insert(from, ReleaseState::Standby);
    } else {
        state.marks.insert(from, ReleaseState::Retired);
    }
}

/// Everything has gone back to where it came from; that release still has its instances, and its workers come back.
fn fail(state: &mut State, active: &Active, why: String, at: &mut At<'_>) {
    end_hold(active, at);
    state.active = None;
    state.routed = home_of(state, active);
    state.workers = state.routed;
    if !active.rollback {
        state.marks.insert(active.to, ReleaseState::Failed);
    }
    record(state, RolloutState::Failed, Some(why.clone()), at.now);
    at.actions.push(Action::Failed(why));
}

/// The release that takes the requests when a rollout does not.
fn home_of(state: &State, active: &Active) -> Option<u64> {
    active.from.or(state.routed.filter(|routed| *routed != active.to || active.rollback))
}

fn end_hold(active: &Active, at: &mut At<'_>) {
    if active.hold.as_ref().is_some_and(|hold| hold.told) {
        at.actions.push(Action::Stalled(None));
    }
}

/// Notes a state of the newest rollout, and when it fails or ends.
fn record(state: &mut State, to: RolloutState, reason: Option<String>, now: Timestamp) {
    let deadline = state.active.as_ref().map(Active::shown_deadline);
    let Some(rollout) = state.rollouts.last_mut() else { return };
    if rollout.state != to {
        rollout.steps.push(RolloutStep { state: to, at: now });
    }
    rollout.state = to;
    rollout.reason = reason;
    rollout.deadline = deadline;
    if matches!(to, RolloutState::Complete | RolloutState::Failed | RolloutState::Superseded) {
        rollout.ended = Some(now);
    }
}
