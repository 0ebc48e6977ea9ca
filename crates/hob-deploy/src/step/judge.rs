//! Steps and bakes: the gates are held for their time. What fails goes back, what saw too little holds.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Gate, GateEvidence, RolloutState, Verdict};

use super::gate::{self, Sides};
use super::{Action, At, advance, look, record};
use crate::model::{Active, Facts, Hold, Member, Stage, State, WEB};
use crate::traffic::Tally;

/// How often the gates are looked at while a step or bake goes on.
const JUDGE_EVERY: Duration = Duration::from_secs(2);

/// Looks at the gates. Errors send a rollout back at any time; latency is judged once, at the end of a step, because a
/// test that is repeated until it fails does fail.
pub(super) fn judge(state: &mut State, active: &Active, facts: &Facts, at: &mut At<'_>) {
    if let Some(why) = look::broken(state, active, facts) {
        return advance::go_back(state, active, why, at);
    }
    let is_over = at.now >= active.deadline;
    let is_due = active
        .judged
        .is_none_or(|judged| at.now.since(judged) >= JUDGE_EVERY || (is_over && judged < active.deadline));
    if !is_due {
        return tell_stall(state, at);
    }
    let evidence = look_at_gates(state, active, facts);
    if let Some(rollout) = state.rollouts.last_mut() {
        keep(&mut rollout.gates, &evidence);
    }
    let failed =
        evidence.iter().find(|one| one.verdict == Verdict::Fail && (is_over || one.gate != "latency"));
    if let Some(failed) = failed {
        let why = format!("the gate {} failed: {}", failed.gate, failed.why);
        return advance::go_back(state, active, why, at);
    }
    let mut active = active.clone();
    active.judged = Some(at.now);
    state.active = Some(active.clone());
    if !is_over || active.hold.as_ref().is_some_and(|hold| hold.by_order) {
        return tell_stall(state, at);
    }
    let missing = evidence.iter().find(|one| one.verdict == Verdict::NoData).map(|one| one.why.clone());
    match missing {
        Some(why) => {
            if active.hold.is_none() {
                active.hold = Some(hold(state, &active, false, at.now));
                state.active = Some(active);
                record(state, RolloutState::Holding, Some(why), at.now);
            }
            tell_stall(state, at);
        }
        None if !look::is_ready(state, active.to, facts, false) => {
            let why = look::why_late(state, &active, facts, at.now);
            advance::go_back(state, &active, why, at);
        }
        None => advance::pass(state, &active, at),
    }
}

/// Stands still from now on; after the whole rollout's time it becomes a condition.
pub(super) fn hold(state: &State, active: &Active, by_order: bool, now: Timestamp) -> Hold {
    let deadline = state.sets.get(&active.to).map_or(0, |set| set.plan.terms.release.deadline_ms);
    Hold { since: now, by_order, until: now.plus(Duration::from_millis(deadline)), told: false }
}

/// Says once when a rollout has stood still for longer than it may.
pub(super) fn tell_stall(state: &mut State, at: &mut At<'_>) {
    let Some(hold) = state.active.as_mut().and_then(|active| active.hold.as_mut()) else { return };
    if hold.told || at.now < hold.until {
        return;
    }
    hold.told = true;
    let why = state.rollouts.last().and_then(|rollout| rollout.reason.clone());
    at.actions.push(Action::Stalled(Some(why.unwrap_or_else(|| "it holds".to_owned()))));
}

/// What the gates that are held now say. While all requests go to the target there is nothing to compare it with.
fn look_at_gates(state: &State, active: &Active, facts: &Facts) -> Vec<GateEvidence> {
    let Some(set) = state.sets.get(&active.to) else { return Vec::new() };
    let sides = sides(state, active, facts);
    let gates = set.plan.terms.release.gates.iter();
    let held = gates.filter(|gate| active.stage == Stage::Step || matches!(gate, Gate::ErrorRatio { .. }));
    held.map(|gate| gate::evidence(gate, &sides)).collect()
}

fn sides(state: &State, active: &Active, facts: &Facts) -> Sides {
    let sum = |release: Option<u64>, counts: fn(&Member) -> bool| {
        let set = release.and_then(|release| state.sets.get(&release));
        let members = set.into_iter().flat_map(|set| &set.members);
        let web = members.filter(|member| member.process.as_str() == WEB && counts(member));
        web.filter_map(|member| facts.traffic.get(&member.id)).fold(Tally::default(), |mut sum, tally| {
            sum.add(tally);
            sum
        })
    };
    Sides {
        new: sum(Some(active.to), |_| true),
        control: sum(active.from, |member| member.control),
        old: sum(active.from, |_| true),
    }
}

/// The newest evidence of each gate; that of gates that are not held now stays as it was.
fn keep(known: &mut Vec<GateEvidence>, newest: &[GateEvidence]) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for evidence in newest {
        let nth = seen.entry(&evidence.gate).or_default();
        let same = known.iter_mut().filter(|other| other.gate == evidence.gate).nth(*nth);
        *nth += 1;
        match same {
            Some(place) => *place = evidence.clone(),
            None => known.push(evidence.clone()),
        }
    }
}
