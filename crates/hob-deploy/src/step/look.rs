//! What the facts say of a rollout: who is ready, what it waits for, what went wrong.

use hob_core::{Timestamp, format_duration};
use hob_wire::{InstanceState, Verdict};

use super::settle;
use crate::model::{Active, Fact, Facts, Member, Plan, Stage, State};

/// Restarts after which a new release's instance is taken for broken, before its deadline.
const RESTARTS_BROKEN: u32 = 5;
/// Letters of a reason that a rollout keeps.
const REASON_CHARS_MAX: usize = 4000;

/// Keeps the newest rollout's counts and what it waits for.
pub(super) fn describe(state: &mut State, facts: &Facts) {
    let Some(active) = state.active.clone() else { return };
    let Some(set) = state.sets.get(&active.to) else { return };
    let stays = |member: &&Member| !set.plan.is_once(&member.process) && !member.control;
    let ready = set.members.iter().filter(stays).filter(|member| settle::is_ready(member, facts)).count();
    let share = active.present_share(&set.plan);
    let weight = match active.stage {
        Stage::Route | Stage::Bake | Stage::Drain => 100,
        Stage::Workers if active.rollback => 100,
        _ => share.and_then(|share| share.weight).unwrap_or(0),
    };
    let step = share.map(|_| active.step);
    let reason = reason(state, &active, facts);
    if let Some(rollout) = state.rollouts.last_mut() {
        rollout.ready = u32::try_from(ready).unwrap_or(u32::MAX);
        rollout.deadline = Some(active.shown_deadline());
        (rollout.share, rollout.weight) = (step, weight);
        rollout.reason = reason.or_else(|| rollout.reason.take().filter(|_| active.hold.is_some()));
    }
}

fn reason(state: &State, active: &Active, facts: &Facts) -> Option<String> {
    if let Some(hold) = &active.hold {
        let gates = state.rollouts.last().map(|rollout| rollout.gates.as_slice()).unwrap_or_default();
        let missing = gates.iter().find(|gate| gate.verdict == Verdict::NoData);
        return missing.filter(|_| !hold.by_order).map(|gate| gate.why.clone());
    }
    match active.stage {
        Stage::Queued => why_queued(state, active, facts).map(|(_, why)| why),
        Stage::Fetch => Some(why_lacking(facts)),
        Stage::PreRelease => first_once(state, active, facts),
        Stage::Web | Stage::Workers => first_unready(state, active, facts),
        Stage::Step | Stage::Bake => None,
        Stage::Route => Some("waits until every router has taken in the new routes".to_owned()),
        Stage::Drain => Some("waits until the last requests of the old instances have ended".to_owned()),
        Stage::Revert => active.why.clone(),
    }
}

/// Whether a member is one of the instances that stay of the one or the other kind.
pub(super) fn counts(plan: &Plan, member: &Member, exclusive: bool) -> bool {
    let stays = !member.control && !plan.is_once(&member.process);
    stays && plan.is_exclusive(&member.process) == exclusive
}

/// Whether the release has all its instances of the one or the other kind, each ready.
pub(super) fn is_ready(state: &State, release: u64, facts: &Facts, exclusive: bool) -> bool {
    let Some(set) = state.sets.get(&release) else { return false };
    let members = set.members.iter().filter(|member| counts(&set.plan, member, exclusive));
    let ready = members.filter(|member| settle::is_ready(member, facts)).count();
    u32::try_from(ready).is_ok_and(|ready| ready >= set.plan.wanted(exclusive))
}

/// Whether the instances of the release before with which the target is compared are ready, if there shall be any.
pub(super) fn has_controls(state: &State, active: &Active, facts: &Facts) -> bool {
    let wanted = settle::controls(state, active);
    let Some(set) = active.from.and_then(|from| state.sets.get(&from)) else { return true };
    let controls = set.members.iter().filter(|member| member.control);
    controls.filter(|member| settle::is_ready(member, facts)).count() >= wanted
}

pub(super) fn has_other_workers(state: &State, release: u64) -> bool {
    let mut others = state.sets.iter().filter(|(number, _)| **number != release);
    others.any(|(_, set)| set.members.iter().any(|member| set.plan.is_exclusive(&member.process)))
}

pub(super) fn has_drained(state: &State, active: &Active, facts: &Facts) -> bool {
    let Some(set) = active.from.and_then(|from| state.sets.get(&from)) else { return true };
    set.members.iter().all(|member| facts.instances.get(&member.id).is_some_and(|fact| fact.clear))
}

/// What a rollout waits for before it does anything: a migration of another release, or another tenant. With it the
/// time until which it waits for certain, where that is known.
pub(super) fn why_queued(
    state: &State,
    active: &Active,
    facts: &Facts,
) -> Option<(Option<Timestamp>, String)> {
    let others = state.sets.iter().filter(|(number, _)| **number != active.to);
    let mut once = others.flat_map(|(number, set)| {
        let members = set.members.iter().filter(|member| set.plan.is_once(&member.process));
        members.map(move |member| (number, member))
    });
    if let Some((number, member)) = once.next() {
        return Some((None, format!("waits until {} of release {number} has ended", member.process)));
    }
    let reasons = tenants(state, active, facts).map(|(tenant, since, time)| match since {
        None => {
            let time = format_duration(time);
            (None, format!("tenant {tenant} goes first, for {time}: deploy the same package there"))
        }
        Some(since) => {
            let until = since.plus(time);
            (Some(until), format!("tenant {tenant} goes first, until {until}"))
        }
    });
    // The one without a time is the one that lasts.
    reasons.max_by_key(|(until, _)| until.unwrap_or(Timestamp::from_micros(i64::MAX)))
}

/// The declared tenants that go first, since when they run the package, and for how long they shall have.
fn tenants<'a>(
    state: &'a State,
    active: &'a Active,
    facts: &'a Facts,
) -> impl Iterator<Item = (&'a hob_core::Name, Option<Timestamp>, std::time::Duration)> {
    let own = state.rollouts.last().map(|rollout| &rollout.tenant);
    let set = state.sets.get(&active.to).filter(|_| active.from.is_some());
    let steps = set.into_iter().flat_map(|set| &set.plan.terms.release.steps);
    steps.filter_map(move |step| {
        let tenant = step.tenant.as_ref().filter(|tenant| Some(*tenant) != own)?;
        let since = facts.tenants.get(tenant)?;
        Some((tenant, *since, std::time::Duration::from_millis(step.for_ms)))
    })
}

/// A new release whose instance ends again and again need not wait for its deadline. One that worked before may.
pub(super) fn broken(state: &State, active: &Active, facts: &Facts) -> Option<String> {
    let may_break = matches!(active.stage, Stage::Web | Stage::Step | Stage::Workers | Stage::Bake);
    if active.rollback || !may_break {
        return None;
    }
    let set = state.sets.get(&active.to)?;
    let is_broken = |fact: &Fact| fact.restarts >= RESTARTS_BROKEN;
    let mut members = set.members.iter().filter(|member| !settle::is_ready(member, facts));
    let member = members.find(|member| facts.instances.get(&member.id).is_some_and(is_broken))?;
    Some(format!("{} ended {RESTARTS_BROKEN} times: {}", member.id, reason_of(member, facts)))
}

/// Why a stage's time was not enough.
pub(super) fn why_late(state: &State, active: &Active, facts: &Facts, now: Timestamp) -> String {
    let waited = active.waited(now);
    match active.stage {
        Stage::Queued => {
            let why = why_queued(state, active, facts).map(|(_, why)| why);
            format!("still queued after {waited}: {}", why.unwrap_or_default())
        }
        Stage::Fetch => format!("not every node has the package after {waited}: {}", why_lacking(facts)),
        Stage::PreRelease => {
            let first = first_once(state, active, facts).unwrap_or_default();
            format!("not done within {waited}: {first}")
        }
        Stage::Route => format!("a router did not take in the new routes within {waited}"),
        _ => {
            let first = first_unready(state, active, facts);
            let first = first.unwrap_or_else(|| "instances of another release have not ended".to_owned());
            format!("not ready within {waited}: {first}")
        }
    }
}

fn why_lacking(facts: &Facts) -> String {
    if facts.nodes.is_empty() {
        return "no agent reports".to_owned();
    }
    let word = |(node, why): (&hob_core::Name, &Option<String>)| match why {
        Some(why) => format!("{node} could not fetch it: {why}"),
        None => format!("{node} fetches the package"),
    };
    facts.lacking.iter().map(word).collect::<Vec<String>>().join("; ")
}

fn first_once(state: &State, active: &Active, facts: &Facts) -> Option<String> {
    let set = state.sets.get(&active.to)?;
    let member = set
        .members
        .iter()
        .find(|member| set.plan.is_once(&member.process) && !set.done.contains(&member.process))?;
    let state = facts.instances.get(&member.id).and_then(|fact| fact.state);
    Some(match state {
        Some(InstanceState::Starting | InstanceState::Ready) => format!("{} runs", member.process),
        _ => format!("{} has not ended: {}", member.process, reason_of(member, facts)),
    })
}

fn first_unready(state: &State, active: &Active, facts: &Facts) -> Option<String> {
    let set = state.sets.get(&active.to)?;
    let mut members = set.members.iter().filter(|m| !m.control && !set.plan.is_once(&m.process));
    let Some(member) = members.find(|member| !settle::is_ready(member, facts)) else {
        if active.stage == Stage::Web && is_ready(state, active.to, facts, false) {
            return Some("waits for the instances to compare with".to_owned());
        }
        let is_whole = is_ready(state, active.to, facts, active.stage == Stage::Workers);
        return (!is_whole).then(|| "waits until the old workers have ended".to_owned());
    };
    if member.node.is_none() {
        return Some(format!("{} has no node: no agent reports", member.id));
    }
    Some(format!("{} is not ready: {}", member.id, reason_of(member, facts)))
}

/// What its agent says of an instance.
pub(super) fn reason_of(member: &Member, facts: &Facts) -> String {
    let reason = facts.instances.get(&member.id).and_then(|fact| fact.reason.as_deref());
    reason.unwrap_or("its agent gave no reason yet").chars().take(REASON_CHARS_MAX).collect()
}
