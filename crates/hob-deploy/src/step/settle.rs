//! The level-triggered half of the step: given which releases are wanted, which instances there should be.

use std::time::Duration;

use hob_core::{Digest, Name, Timestamp};
use hob_wire::InstanceState;

use crate::model::{Active, Facts, Member, Set, Stage, State, WEB};
use crate::placement;

const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Whether an instance should run and can take work.
pub(crate) fn is_ready(member: &Member, facts: &Facts) -> bool {
    let state = facts.instances.get(&member.id).and_then(|fact| fact.state);
    !member.stopped && member.leaving.is_none() && state == Some(InstanceState::Ready)
}

/// Forgets instances that their nodes know to be stopped, and releases that have none left.
pub(super) fn forget_gone(state: &mut State, facts: &Facts) {
    for set in state.sets.values_mut() {
        let is_gone = |member: &Member| facts.instances.get(&member.id).is_some_and(|fact| fact.gone);
        set.members.retain(|member| !(member.stopped && is_gone(member)));
    }
    let mut known = wanted(state);
    known.extend(state.active.as_ref().map(|active| active.to));
    state.sets.retain(|release, set| !set.members.is_empty() || known.contains(release));
}

/// Gives every wanted release its instances, has all others leave, and finds a node for each.
pub(super) fn settle(state: &mut State, facts: &Facts, now: Timestamp) {
    placement::give_up_lost(state, facts);
    let wanted = wanted(state);
    let active = state.active.clone();
    let controls = active.as_ref().map_or(0, |active| controls(state, active));
    let surge = active.as_ref().and_then(|active| surge(state, active));
    for (release, set) in &mut state.sets {
        let is_wanted = wanted.contains(release);
        let is_working = state.workers == Some(*release);
        let drained = now.plus(Duration::from_millis(set.plan.terms.drain_ms));
        let is_compared = controls > 0 && active.as_ref().is_some_and(|active| active.from == Some(*release));
        let to = active.as_ref().filter(|active| active.to == *release);
        settle_once(set, to, facts, now);
        let leavers = placement::leavers(set, facts);
        for member in set.members.iter_mut().filter(|member| !set.plan.is_once(&member.process)) {
            let should_run = match () {
                () if leavers.contains(&member.id) => false,
                () if member.control => is_compared,
                () if set.plan.is_exclusive(&member.process) => is_working,
                () => is_wanted,
            };
            match (should_run, member.leaving) {
                (true, Some(_)) if !member.stopped => member.leaving = None,
                (false, None) => member.leaving = Some(drained),
                _ => {}
            }
        }
        if is_wanted {
            let room = if to.is_some() { room(set, surge, facts) } else { usize::MAX };
            fill(set, false, room, (facts, now), |_| true);
        }
        if is_compared {
            let room = room(set, surge, facts);
            fill_controls(set, controls, room, now);
        }
        note_ready(set, facts, now);
    }
    start_workers(state, facts, now);
    placement::place(state, facts);
}

/// Fresh instances of the release before that run beside the target's until its last share.
pub(super) fn controls(state: &State, active: &Active) -> usize {
    let is_time = matches!(active.stage, Stage::Web | Stage::Step) && !active.rollback;
    let set = state.sets.get(&active.to).filter(|_| is_time && active.from.is_some());
    set.map_or(0, |set| set.plan.controls())
}

/// How many instances may be on their way at once; a rollback starts all.
fn surge(state: &State, active: &Active) -> Option<u32> {
    let set = state.sets.get(&active.to).filter(|_| !active.rollback)?;
    set.plan.terms.release.surge
}

/// How many more instances of a set may start now.
fn room(set: &Set, surge: Option<u32>, facts: &Facts) -> usize {
    let Some(surge) = surge else { return usize::MAX };
    let starts = |member: &&Member| {
        !member.stopped
            && member.leaving.is_none()
            && !is_ready(member, facts)
            && !set.plan.is_single(&member.process)
    };
    (surge as usize).saturating_sub(set.members.iter().filter(starts).count())
}

/// A process that runs once comes to be when it is its turn, one after the other, and leaves when it has ended. One
/// whose rollout was superseded is let end: half a migration is worse than one too many.
fn settle_once(set: &mut Set, active: Option<&Active>, facts: &Facts, now: Timestamp) {
    let is_turn = active.is_some_and(|active| active.stage == Stage::PreRelease);
    let lost = now.plus(set.plan.once_time());
    let Set { plan, seed, members, done } = set;
    for member in members.iter_mut().filter(|member| plan.is_once(&member.process)) {
        let is_wanted = is_turn && !done.contains(&member.process);
        let until = if has_ended(member, facts) { now } else { lost };
        if !is_wanted || until == now {
            member.leaving = Some(member.leaving.map_or(until, |leaving| leaving.min(until)));
        }
    }
    let mut next =
        plan.processes.iter().filter(|(name, planned)| planned.once_ms.is_some() && !done.contains(*name));
    if is_turn
        && let Some((process, _)) = next.next()
        && members.iter().all(|member| member.process != *process)
    {
        let id = fresh_id(seed, process, members, now);
        members.push(Member::new(id, process.clone()));
    }
}

fn has_ended(member: &Member, facts: &Facts) -> bool {
    let state = facts.instances.get(&member.id).and_then(|fact| fact.state);
    matches!(state, Some(InstanceState::Stopped | InstanceState::Failed))
}

/// Keeps since when an instance is ready, where its share of requests grows with that time.
fn note_ready(set: &mut Set, facts: &Facts, now: Timestamp) {
    if set.plan.terms.slow_start_ms == 0 {
        return;
    }
    for member in &mut set.members {
        let since = member.ready_since.unwrap_or(now);
        member.ready_since = is_ready(member, facts).then_some(since);
    }
}

/// Stops what leaves and has drained, or ended.
pub(super) fn stop_drained(state: &mut State, facts: &Facts, now: Timestamp) {
    for set in state.sets.values_mut() {
        for member in &mut set.members {
            let Some(until) = member.leaving else { continue };
            let fact = facts.instances.get(&member.id);
            let is_clear = !set.plan.is_once(&member.process) && fact.is_some_and(|fact| fact.clear);
            if is_clear || now >= until {
                member.stopped = true;
            }
        }
    }
}

/// Releases whose instances should run.
fn wanted(state: &State) -> Vec<u64> {
    let standby = state.standby.as_ref().map(|standby| standby.release);
    let active = state.active.as_ref();
    let may_run = |active: &&Active| {
        !matches!(active.stage, Stage::Queued | Stage::Fetch | Stage::PreRelease | Stage::Revert)
    };
    let to = active.filter(may_run).map(|active| active.to);
    let both = [to, active.and_then(|active| active.from)];
    [state.routed, state.workers, standby].into_iter().chain(both).flatten().collect()
}

/// Exclusive instances come to be only where none of another release is left.
fn start_workers(state: &mut State, facts: &Facts, now: Timestamp) {
    let Some(release) = state.workers else { return };
    let others = state.sets.iter().filter(|(number, _)| **number != release);
    let busy: Vec<Name> = others
        .flat_map(|(_, set)| set.members.iter().filter(|member| set.plan.is_exclusive(&member.process)))
        .map(|member| member.process.clone())
        .collect();
    if let Some(set) = state.sets.get_mut(&release) {
        fill(set, true, usize::MAX, (facts, now), |process| !busy.contains(process));
    }
}

/// Adds the instances that are missing, at most as many as there is room for. One that has been told to stop does not
/// count, and an exclusive process waits until it is gone.
fn fill(
    set: &mut Set,
    exclusive: bool,
    mut room: usize,
    (facts, now): (&Facts, Timestamp),
    may_start: impl Fn(&Name) -> bool,
) {
    let Set { plan, seed, members, .. } = set;
    for (process, planned) in &plan.processes {
        let of_process = members.iter().filter(|member| member.process == *process && !member.control);
        let of_process: Vec<&Member> = of_process.collect();
        let is_ending = of_process.iter().any(|member| member.stopped);
        let is_other = planned.exclusive != exclusive || planned.once_ms.is_some();
        if is_other || !may_start(process) || (exclusive && is_ending) {
            continue;
        }
        let missing = placement::missing(planned, &of_process, facts).min(room);
        room -= missing;
        for _ in 0..missing {
            let id = fresh_id(seed, process, members, now);
            members.push(Member::new(id, process.clone()));
        }
    }
}

/// Adds the instances with which a newer release is compared.
fn fill_controls(set: &mut Set, wanted: usize, room: usize, now: Timestamp) {
    let Set { plan, seed, members, .. } = set;
    let Some(web) = plan.processes.keys().find(|name| name.as_str() == WEB) else { return };
    let running = members.iter().filter(|member| member.control && !member.stopped).count();
    for _ in 0..wanted.saturating_sub(running).min(room) {
        let id = fresh_id(seed, web, members, now);
        members.push(Member { control: true, ..Member::new(id, web.clone()) });
    }
}

/// Ids look random and are repeatable: 50 bits of a hash of the rollout's id, which is random, and of the time. None is
/// given twice, because a token stands for an id.
fn fresh_id(seed: &str, process: &Name, members: &[Member], now: Timestamp) -> String {
    let service = seed.split_once('/').map_or("", |(service, _)| service);
    let mut ids = (0_u32..).map(|count| {
        let digest = Digest::of(format!("{seed}/{process}/{}/{count}", now.as_micros()).as_bytes());
        let letters = digest.as_bytes()[..10].iter().map(|byte| ID_ALPHABET[usize::from(byte & 31)] as char);
        format!("{service}-{process}-{}", letters.collect::<String>())
    });
    ids.find(|id| members.iter().all(|member| member.id != *id)).expect("the counter finds a free id")
}
