//! From stage to stage: what each waits for, how long it may take, and the way back.

use std::time::Duration;

use hob_core::{Timestamp, format_duration};
use hob_wire::{InstanceState, RolloutState};

use super::{At, complete, fail, judge, look, record};
use crate::Timings;
use crate::model::{Active, Facts, Hold, Plan, Stage, State};

/// Passes to the next stage when this one is done; goes back when its time is up. At most one stage each time: the
/// facts that the next one waits for are only true of the routes that follow from this one.
pub(super) fn advance(state: &mut State, active: &Active, facts: &Facts, at: &mut At<'_>) {
    if matches!(active.stage, Stage::Step | Stage::Bake) {
        return judge::judge(state, active, facts, at);
    }
    let is_late = at.now >= active.deadline;
    let done = match active.stage {
        Stage::Queued => {
            let waits = look::why_queued(state, active, facts);
            waits.is_none_or(|(until, _)| until.is_some_and(|until| at.now >= until))
        }
        Stage::Fetch => !facts.nodes.is_empty() && facts.lacking.is_empty(),
        Stage::PreRelease => match look_at_once(state, active, facts) {
            Ok(done) => done,
            Err(why) => return go_back(state, active, why, at),
        },
        Stage::Web => {
            let is_compared = is_late || look::has_controls(state, active, facts);
            look::is_ready(state, active.to, facts, false) && is_compared
        }
        Stage::Workers => {
            let is_up = active.rollback || look::is_ready(state, active.to, facts, false);
            let is_whole = look::is_ready(state, active.to, facts, true);
            is_up && is_whole && !look::has_other_workers(state, active.to)
        }
        Stage::Route => facts.acknowledged,
        Stage::Drain => is_late || look::has_drained(state, active, facts),
        Stage::Revert => facts.acknowledged || is_late,
        Stage::Step | Stage::Bake => false,
    };
    let is_first = active.stage == Stage::Route && active.from.is_none();
    let may_go_on = active.hold.as_ref().is_none_or(|hold| !hold.by_order);
    if active.stage == Stage::Revert {
        if done {
            let why = active.why.clone().unwrap_or_default();
            fail(state, active, why, at);
        }
    } else if done && may_go_on {
        pass(state, active, at);
    } else if is_late && is_first && active.hold.is_none() {
        // There is nothing to go back to, and the routers that do answer serve: it waits, and says so.
        let why = look::why_late(state, active, facts, at.now);
        let until = at.now;
        let hold = Hold { until, ..judge::hold(state, active, false, at.now) };
        let active = Active { hold: Some(hold), ..active.clone() };
        let holds = active.rollout_state();
        state.active = Some(active);
        record(state, holds, Some(why), at.now);
        judge::tell_stall(state, at);
    } else if is_late && !done && active.hold.is_none() {
        let why = look::why_late(state, active, facts, at.now);
        go_back(state, active, why, at);
    } else if let Some(why) = look::broken(state, active, facts) {
        go_back(state, active, why, at);
    } else {
        judge::tell_stall(state, at);
    }
}

/// Notes which processes that run once have; done when all have. One that failed is the reason to go back.
fn look_at_once(state: &mut State, active: &Active, facts: &Facts) -> Result<bool, String> {
    let Some(set) = state.sets.get_mut(&active.to) else { return Ok(false) };
    for member in set.members.iter().filter(|member| set.plan.is_once(&member.process)) {
        match facts.instances.get(&member.id).and_then(|fact| fact.state) {
            Some(InstanceState::Stopped) => drop(set.done.insert(member.process.clone())),
            Some(InstanceState::Failed) if !set.done.contains(&member.process) => {
                return Err(format!("{} failed: {}", member.process, look::reason_of(member, facts)));
            }
            _ => {}
        }
    }
    let mut once = set.plan.processes.iter().filter(|(_, planned)| planned.once_ms.is_some());
    Ok(once.all(|(name, _)| set.done.contains(name)))
}

/// Enters the stage after this one, or ends the rollout well.
pub(super) fn pass(state: &mut State, active: &Active, at: &mut At<'_>) {
    super::end_hold(active, at);
    let active = &Active { hold: None, ..active.clone() };
    let next = state.sets.get(&active.to).and_then(|set| active.next_stage(&set.plan));
    match next {
        Some((stage, step)) => enter(state, active, stage, step, at),
        None => complete(state, active, at),
    }
}

fn enter(state: &mut State, active: &Active, stage: Stage, step: u32, at: &mut At<'_>) {
    let spent = if active.is_counted() { at.now.since(active.entered) } else { Duration::ZERO };
    let left_ms = active.left_ms.saturating_sub(u64::try_from(spent.as_millis()).unwrap_or(u64::MAX));
    let base = Active { left_ms, step, why: active.why.clone(), ..active.begin_again(stage, at.now) };
    let next = Active { deadline: at.now.plus(time_of(state, &base, at.timings)), ..base };
    match stage {
        Stage::Workers => state.workers = Some(active.to),
        Stage::Route => state.routed = Some(active.to),
        _ => {}
    }
    let outer = next.rollout_state();
    state.active = Some(next);
    if stage == Stage::Step
        && let Some(rollout) = state.rollouts.last_mut()
    {
        rollout.gates.clear();
    }
    record(state, outer, active.why.clone(), at.now);
}

/// Ends a rollout badly: at once where no router was told of the target, else when all have heard of the way back.
pub(super) fn go_back(state: &mut State, active: &Active, why: String, at: &mut At<'_>) {
    let is_routed = state.sets.get(&active.to).is_some_and(|set| active.is_routed(&set.plan));
    if !is_routed {
        return fail(state, active, why, at);
    }
    super::end_hold(active, at);
    state.routed = super::home_of(state, active);
    state.workers = state.routed;
    let active = Active { why: Some(why), ..active.clone() };
    enter(state, &active, Stage::Revert, active.step, at);
}

/// How long a stage may take; stages that wait for machines share the whole rollout's time.
pub(super) fn time_of(state: &State, active: &Active, timings: &Timings) -> Duration {
    let nothing = Plan::default();
    let plan = state.sets.get(&active.to).map_or(&nothing, |set| &set.plan);
    let millis = Duration::from_millis;
    let time = match active.stage {
        Stage::Queued => {
            let tenants = plan.terms.release.steps.iter().filter(|step| step.tenant.is_some());
            let held: u64 = tenants.map(|step| step.for_ms).fold(0, u64::saturating_add);
            millis(active.left_ms.saturating_add(held))
        }
        Stage::Fetch => timings.fetch,
        Stage::PreRelease => plan.once_time(),
        Stage::Web => plan.start_time(timings),
        Stage::Step => millis(plan.share(active.step).map_or(0, |step| step.for_ms)),
        Stage::Workers => {
            let others = state.sets.values().map(|set| set.plan.terms.stop_ms + set.plan.terms.drain_ms);
            let ready = timings.ready.max(millis(plan.terms.start_ms));
            ready + millis(others.max().unwrap_or(0))
        }
        Stage::Route | Stage::Revert => timings.route,
        Stage::Bake => millis(plan.bake_ms()),
        Stage::Drain => {
            let from = active.from.and_then(|from| state.sets.get(&from));
            millis(from.map_or(0, |set| set.plan.terms.drain_ms))
        }
    };
    if active.is_counted() { time.min(millis(active.left_ms)) } else { time }
}

impl Active {
    /// A rollout at its beginning.
    pub(super) fn new(to: u64, from: Option<u64>, rollback: bool, stage: Stage, now: Timestamp) -> Self {
        Self {
            to,
            from,
            rollback,
            stage,
            deadline: now,
            entered: now,
            left_ms: 0,
            step: 0,
            hold: None,
            judged: None,
            why: None,
        }
    }

    fn begin_again(&self, stage: Stage, now: Timestamp) -> Self {
        Self::new(self.to, self.from, self.rollback, stage, now)
    }

    /// Whether the stage's time is part of the whole rollout's.
    fn is_counted(&self) -> bool {
        matches!(self.stage, Stage::Fetch | Stage::PreRelease | Stage::Web | Stage::Workers | Stage::Route)
    }

    /// In words, when the stage's time is up.
    pub(super) fn waited(&self, now: Timestamp) -> String {
        format_duration(now.min(self.deadline).since(self.entered))
    }
}

/// Whether nothing of a rollout can be told any more.
pub(crate) fn is_past_orders(state: RolloutState) -> bool {
    matches!(
        state,
        RolloutState::Draining
            | RolloutState::Reverting
            | RolloutState::Complete
            | RolloutState::Failed
            | RolloutState::Superseded
    )
}
