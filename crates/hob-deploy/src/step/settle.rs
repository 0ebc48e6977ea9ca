//! The level-triggered half of the step: given which releases are wanted, which instances there should be.

use std::collections::BTreeMap;

use hob_core::{Digest, Name, Timestamp};
use hob_wire::InstanceState;

use crate::Timings;
use crate::model::{Facts, Member, Plan, Set, State};

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
    let wanted = wanted(state);
    state.sets.retain(|release, set| !set.members.is_empty() || wanted.contains(release));
}

/// Gives every wanted release its instances, has all others leave, and finds a node for each.
pub(super) fn settle(state: &mut State, facts: &Facts, timings: &Timings, now: Timestamp) {
    let wanted = wanted(state);
    let until = now.plus(timings.drain);
    for (release, set) in &mut state.sets {
        let is_wanted = wanted.contains(release);
        let is_working = state.workers == Some(*release);
        for member in &mut set.members {
            let should_run = if set.plan.is_exclusive(&member.process) { is_working } else { is_wanted };
            match (should_run, member.leaving) {
                (true, Some(_)) if !member.stopped => member.leaving = None,
                (false, None) => member.leaving = Some(until),
                _ => {}
            }
        }
        if is_wanted {
            fill(set, false, |_| true);
        }
    }
    start_workers(state);
    place(state, facts);
}

/// Stops what leaves and has drained.
pub(super) fn stop_drained(state: &mut State, facts: &Facts, now: Timestamp) {
    for member in state.sets.values_mut().flat_map(|set| &mut set.members) {
        let Some(until) = member.leaving else { continue };
        let is_clear = facts.instances.get(&member.id).is_some_and(|fact| fact.clear);
        if is_clear || now >= until {
            member.stopped = true;
        }
    }
}

fn wanted(state: &State) -> Vec<u64> {
    let standby = state.standby.as_ref().map(|standby| standby.release);
    let active = state.active.as_ref();
    let both = [active.map(|active| active.to), active.and_then(|active| active.from)];
    [state.routed, state.workers, standby].into_iter().chain(both).flatten().collect()
}

/// Exclusive instances come to be only where none of another release is left.
fn start_workers(state: &mut State) {
    let Some(release) = state.workers else { return };
    let others = state.sets.iter().filter(|(number, _)| **number != release);
    let busy: Vec<Name> = others
        .flat_map(|(_, set)| set.members.iter().filter(|member| set.plan.is_exclusive(&member.process)))
        .map(|member| member.process.clone())
        .collect();
    if let Some(set) = state.sets.get_mut(&release) {
        fill(set, true, |process| !busy.contains(process));
    }
}

/// Adds the instances that are missing. One that has been told to stop does not count, and an exclusive process waits
/// until it is gone.
fn fill(set: &mut Set, exclusive: bool, may_start: impl Fn(&Name) -> bool) {
    let Set { plan, seed, members } = set;
    for (process, planned) in &plan.processes {
        let of_process = |member: &&Member| member.process == *process;
        let is_ending = members.iter().filter(of_process).any(|member| member.stopped);
        if planned.exclusive != exclusive || !may_start(process) || (exclusive && is_ending) {
            continue;
        }
        let running = members.iter().filter(of_process).filter(|member| !member.stopped).count();
        let missing = (planned.replicas as usize).saturating_sub(running);
        for _ in 0..missing {
            let id = fresh_id(seed, process, members);
            members.push(Member { id, process: process.clone(), node: None, leaving: None, stopped: false });
        }
    }
}

/// Ids look random and are repeatable: 50 bits of a hash of the rollout's id, which is random.
fn fresh_id(seed: &str, process: &Name, members: &[Member]) -> String {
    let service = seed.split_once('/').map_or("", |(service, _)| service);
    let mut ids = (0_u32..).map(|count| {
        let digest = Digest::of(format!("{seed}/{process}/{count}").as_bytes());
        let letters = digest.as_bytes()[..10].iter().map(|byte| ID_ALPHABET[usize::from(byte & 31)] as char);
        format!("{service}-{process}-{}", letters.collect::<String>())
    });
    ids.find(|id| members.iter().all(|member| member.id != *id)).expect("the counter finds a free id")
}

/// Puts instances without a node on the live node with the fewest, and moves those that may be moved from a node that
/// is lost. An exclusive one stays: nobody knows whether it still runs there.
fn place(state: &mut State, facts: &Facts) {
    if facts.nodes.is_empty() {
        return;
    }
    let mut load: BTreeMap<Name, usize> = facts.nodes.iter().map(|node| (node.clone(), 0)).collect();
    for member in state.sets.values().flat_map(|set| &set.members) {
        if let Some(count) = member.node.as_ref().and_then(|node| load.get_mut(node)) {
            *count += 1;
        }
    }
    for set in state.sets.values_mut() {
        for member in &mut set.members {
            if !needs_node(member, &set.plan, facts) {
                continue;
            }
            let Some((node, count)) = load.iter_mut().min_by_key(|(_, count)| **count) else { return };
            member.node = Some(node.clone());
            *count += 1;
        }
    }
}

fn needs_node(member: &Member, plan: &Plan, facts: &Facts) -> bool {
    match &member.node {
        _ if member.stopped => false,
        None => true,
        Some(node) => facts.settled && !facts.nodes.contains(node) && !plan.is_exclusive(&member.process),
    }
}
