//! Derives from what was decided what each node should run and how requests are routed.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::{Digest, Name, Scope, Timestamp};
use hob_wire::{
    InstanceState, IntendedInstance, Platform, Pool, Process, Route, Share, SlowStart, StepTerms, Target,
    When,
};

use crate::model::{Member, ReleaseRow, Set, State, WEB};
use crate::nodes::Nodes;
use crate::rows::Rows;
use crate::tokens::Tokens;
use crate::{Config, ServiceScope, environment, scale, step};

/// The name of a service's pool in a scope.
pub(crate) fn pool_name(home: &ServiceScope) -> String {
    format!("{}.{}.{}", home.service, home.scope.environment, home.scope.tenant)
}

/// What each node should run.
pub(crate) fn intended(
    rows: &Rows,
    config: &Config,
    tokens: &Tokens,
) -> BTreeMap<Name, Vec<IntendedInstance>> {
    let platform = rows.declarations.as_ref().map(|row| &row.declarations.platform);
    let mut nodes: BTreeMap<Name, Vec<IntendedInstance>> = BTreeMap::new();
    for (home, state) in &rows.states {
        for (number, set) in &state.sets {
            let Some(release) = rows.releases.get(home).and_then(|releases| releases.get(number)) else {
                continue;
            };
            for member in set.members.iter().filter(|member| !member.stopped) {
                let Some(node) = &member.node else { continue };
                let Some(process) = release.descriptor.processes.get(&member.process) else { continue };
                let own = own_environment(config, platform, tokens, home, release, member);
                let instance = instance(home, release, member, process, own);
                nodes.entry(node.clone()).or_default().push(instance);
            }
        }
    }
    nodes
}

fn own_environment(
    config: &Config,
    platform: Option<&Platform>,
    tokens: &Tokens,
    home: &ServiceScope,
    release: &ReleaseRow,
    member: &Member,
) -> BTreeMap<String, String> {
    environment::of_instance(config, platform, tokens, home, release, &member.id, member.process.as_str())
}

fn instance(
    home: &ServiceScope,
    release: &ReleaseRow,
    member: &Member,
    process: &Process,
    env: BTreeMap<String, String>,
) -> IntendedInstance {
    let readiness = release.descriptor.health.readiness.as_ref().filter(|_| process.listens);
    IntendedInstance {
        id: member.id.clone(),
        service: home.service.clone(),
        process: member.process.clone(),
        scope: home.scope.clone(),
        release: release.number,
        package: release.package,
        run: process.run.clone(),
        listens: process.listens,
        env,
        once_ms: process.timeout_ms.filter(|_| process.when == When::PreRelease),
        startup: release.descriptor.health.startup.clone(),
        readiness: readiness.cloned(),
        liveness: release.descriptor.health.liveness.clone(),
        warmup: release.descriptor.warmup.clone().filter(|_| process.listens),
        stop: process.stop,
        resources: process.resources,
        sandbox: release.descriptor.sandbox.clone(),
    }
}

/// The packages that every node keeps: of the newest releases, of those that people named, and of all that run or are
/// on their way.
pub(crate) fn packages(rows: &Rows) -> Vec<Digest> {
    let mut packages = BTreeSet::new();
    for (home, releases) in &rows.releases {
        let state = rows.states.get(home);
        let used = state.and_then(|state| state.routed).and_then(|routed| releases.get(&routed));
        let keep =
            used.or_else(|| releases.values().next_back()).map_or(0, |row| row.descriptor.release.keep);
        let newest = releases.keys().rev().take(keep as usize);
        let kept = state.into_iter().flat_map(|state| state.names.keys().chain(state.sets.keys()));
        // Where a rollback without an argument goes to.
        let back = state.and_then(|state| step::rollback_target(state));
        packages
            .extend(newest.chain(kept).chain(&back).filter_map(|number| Some(releases.get(number)?.package)));
    }
    packages.into_iter().collect()
}

/// The routes of every release in use, and for each the ready instances.
pub(crate) fn routing(rows: &Rows, nodes: &Nodes, now: Timestamp) -> (Vec<Route>, BTreeMap<String, Pool>) {
    let default_scope = rows.declarations.as_ref().map(|row| row.declarations.platform.default_scope());
    let mut homes: Vec<(&ServiceScope, &State)> =
        rows.states.iter().map(|(home, state)| (home, state.as_ref())).collect();
    homes.sort_by_key(|(home, _)| (Some(&home.scope) != default_scope.as_ref(), *home));
    let mut routes: Vec<Route> = Vec::new();
    let mut pools = BTreeMap::new();
    for (home, state) in homes {
        let releases = rows.releases.get(home);
        let routed = state.routed.and_then(|number| releases?.get(&number));
        let Some(release) = routed.filter(|release| !release.descriptor.routes.is_empty()) else { continue };
        let pool = pool_name(home);
        for spec in &release.descriptor.routes {
            let host = spec.host.as_deref().map(|host| home.scope.fill(host));
            let route = Route {
                host,
                path: spec.path.clone(),
                pool: pool.clone(),
                limit: spec.limit,
                timeout_ms: spec.timeout_ms,
                retry: spec.retry,
            };
            // Equal routes are refused when they are declared; what is equal only after its scope was filled in
            // belongs to the default scope, then to the first.
            let is_taken = routes.iter().any(|other| other.host == route.host && other.path == route.path);
            if !is_taken {
                routes.push(route);
            }
        }
        let targets = targets(state, nodes, now);
        let shares = shares(state);
        pools.insert(
            pool,
            Pool {
                service: home.service.clone(),
                scope: home.scope.clone(),
                targets,
                shares,
                drain: release.descriptor.drain,
                idle_hold_ms: scale::idle_hold_ms(&release.descriptor),
            },
        );
    }
    (routes, pools)
}

/// The instances that take a service's requests. Of an exclusive web process those of the release whose workers run.
fn targets(state: &State, nodes: &Nodes, now: Timestamp) -> Vec<Target> {
    let is_exclusive = |set: &Set| set.plan.is_exclusive(&web());
    let routed = state.routed.and_then(|number| Some((number, state.sets.get(&number)?)));
    let chosen = match routed {
        Some((_, set)) if is_exclusive(set) => {
            state.workers.and_then(|number| Some((number, state.sets.get(&number)?))).or(routed)
        }
        _ => routed,
    };
    let Some((release, set)) = chosen else { return Vec::new() };
    let sharing = sharing(state);
    let mut targets = targets_of(release, set, sharing.is_some(), nodes, now);
    if let Some((to, set, _)) = sharing {
        targets.extend(targets_of(to, set, false, nodes, now));
    }
    targets
}

/// The ready web instances of one release; those that others are compared with only while they are.
fn targets_of(release: u64, set: &Set, compared: bool, nodes: &Nodes, now: Timestamp) -> Vec<Target> {
    let for_ms = set.plan.terms.slow_start_ms;
    let target = |member: &Member| -> Option<Target> {
        let report = nodes.instance(member.node.as_ref()?, &member.id, now)?;
        let address = report.address.clone().filter(|_| report.state == InstanceState::Ready)?;
        let slow_start = member.ready_since.filter(|_| for_ms > 0).map(|since| SlowStart { since, for_ms });
        Some(Target { instance: member.id.clone(), address, release, slow_start })
    };
    let stays = |member: &&Member| {
        let is_used = !member.control || compared;
        member.process.as_str() == WEB && is_used && member.leaving.is_none() && !member.stopped
    };
    set.members.iter().filter(stays).filter_map(target).collect()
}

/// The release that takes a share of the requests, while one does.
fn sharing(state: &State) -> Option<(u64, &Set, &StepTerms)> {
    let active = state.active.as_ref()?;
    let set = state.sets.get(&active.to)?;
    Some((active.to, set, active.present_share(&set.plan)?))
}

/// A step's headers and its weight stand each for itself: either brings a request to the new release.
fn shares(state: &State) -> Vec<Share> {
    let Some((release, _, step)) = sharing(state) else { return Vec::new() };
    let by_headers = Share { release, headers: step.headers.clone(), ..Share::default() };
    let by_weight = Share { release, weight: step.weight, cookie: step.cookie.clone(), ..Share::default() };
    let both = [(by_headers, !step.headers.is_empty()), (by_weight, step.weight.is_some())];
    both.into_iter().filter(|(_, is_said)| *is_said).map(|(share, _)| share).collect()
}

fn web() -> Name {
    WEB.parse().expect("web is a name")
}

/// A scope's place in hosts and environment is filled in where it is needed; this says which scopes exist.
pub(crate) fn is_declared(platform: &Platform, scope: &Scope) -> bool {
    platform.environments.contains(&scope.environment) && platform.tenants.contains(&scope.tenant)
}
