//! Where instances run: on which node a new one is put, which leave because their node does, and which are given up
//! because it is lost.
//!
//! An instance is never moved: another one, with an id and a token of its own, takes its place, so that what may still
//! run on a node that nobody hears speaks for nobody. An exclusive one is replaced only when it is known not to run.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::Name;

use crate::model::{Facts, Member, PlannedProcess, Set, State};
use crate::step::settle::is_ready;

/// Whether an instance's node takes nothing new, so that the instance is to run elsewhere.
fn is_moving(member: &Member, facts: &Facts) -> bool {
    has_room(facts) && member.node.as_ref().is_some_and(|node| facts.cordoned.contains(node))
}

/// Whether there is a node for new instances at all. While there is none, nothing moves.
fn has_room(facts: &Facts) -> bool {
    facts.nodes.iter().any(|node| !facts.cordoned.contains(node))
}

/// How many instances of a process are missing. One that moves does not count, unless none may run beside it.
pub(crate) fn missing(planned: &PlannedProcess, of_process: &[&Member], facts: &Facts) -> usize {
    let stays = |member: &&&Member| !member.stopped && (planned.exclusive || !is_moving(member, facts));
    (planned.replicas as usize).saturating_sub(of_process.iter().filter(stays).count())
}

/// Instances of a release in use that leave all the same: there are more than are wanted, or their node takes nothing
/// new and others are ready in their place. What leaves already is chosen first, so that the choice stands. Instances
/// that run once, or beside a newer release, come and go with their rollout.
pub(crate) fn leavers(set: &Set, facts: &Facts) -> BTreeSet<String> {
    let mut leavers = BTreeSet::new();
    for (process, planned) in &set.plan.processes {
        if planned.once_ms.is_some() {
            continue;
        }
        let of_process = set.members.iter().filter(|member| member.process == *process);
        let of_process = of_process.filter(|member| !member.stopped && !member.control);
        let (mut moving, mut staying): (Vec<&Member>, Vec<&Member>) =
            of_process.partition(|member| is_moving(member, facts));
        let rank = |member: &&Member| (member.leaving.is_some(), !is_ready(member, facts));
        staying.sort_by_key(rank);
        moving.sort_by_key(rank);
        let wanted = planned.replicas as usize;
        let surplus = staying.split_off(wanted.min(staying.len()));
        let ready = staying.iter().filter(|member| is_ready(member, facts)).count();
        let needed = if planned.exclusive { 0 } else { wanted - ready };
        let surplus = surplus.into_iter().chain(moving.into_iter().skip(needed));
        leavers.extend(surplus.map(|member| member.id.clone()));
    }
    leavers
}

/// Gives up instances whose node is lost while there is another. An exclusive one stays, because nobody knows whether
/// it still runs there, until somebody says that the node is dead.
pub(crate) fn give_up_lost(state: &mut State, facts: &Facts) {
    if !facts.settled || !has_room(facts) {
        return;
    }
    for set in state.sets.values_mut() {
        let Set { plan, members, .. } = set;
        for member in members {
            let Some(node) = &member.node else { continue };
            let may_run = !facts.dead.contains(node) && plan.is_single(&member.process);
            if !facts.nodes.contains(node) && !may_run {
                member.stopped = true;
            }
        }
    }
}

/// Puts instances without a node on a live one that takes new ones: where the fewest of the same process run, then
/// where the fewest run at all.
pub(crate) fn place(state: &mut State, facts: &Facts) {
    let open: Vec<&Name> = facts.nodes.iter().filter(|node| !facts.cordoned.contains(*node)).collect();
    let mut load: BTreeMap<&Name, usize> =
        open.iter().map(|node| (*node, facts.load.get(*node).copied().unwrap_or(0))).collect();
    for set in state.sets.values_mut() {
        let mut alike: BTreeMap<(Name, Name), usize> = BTreeMap::new();
        for member in set.members.iter().filter(|member| !member.stopped) {
            if let Some(node) = &member.node {
                *alike.entry((node.clone(), member.process.clone())).or_default() += 1;
            }
        }
        for member in set.members.iter_mut().filter(|member| member.node.is_none() && !member.stopped) {
            let same = |node: &Name| alike.get(&(node.clone(), member.process.clone())).copied().unwrap_or(0);
            let Some(node) = open.iter().min_by_key(|node| (same(node), load[**node])) else { return };
            *alike.entry(((*node).clone(), member.process.clone())).or_default() += 1;
            *load.entry(*node).or_default() += 1;
            member.node = Some((*node).clone());
        }
    }
}

#[cfg(test)]
mod tests;
