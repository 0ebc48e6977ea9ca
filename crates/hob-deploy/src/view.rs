//! What others may ask, as of the last turn of the loop. A view never changes; the next one replaces it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_core::{Name, Scope, Timestamp};
use hob_wire::{
    Declarations, Instance, InstanceState, NodeSummary, Release, ReleaseState, Rollout, RouteSummary,
    RouterSummary, ScaleState, Service, ServiceState, ServiceSummary, ShieldState,
};

use crate::model::{Member, ReleaseRow, State};
use crate::nodes::Nodes;
use crate::rows::Rows;
use crate::world::World;
use crate::{Identity, ServiceScope, conditions, shields};

/// Answers to questions.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) declarations: Option<(u64, Arc<Declarations>)>,
    pub(crate) nodes: Vec<NodeSummary>,
    pub(crate) routers: Vec<RouterSummary>,
    pub(crate) routes: Vec<RouteSummary>,
    pub(crate) shields: Vec<ShieldState>,
    scales: BTreeMap<ServiceScope, ScaleState>,
    states: BTreeMap<ServiceScope, Arc<State>>,
    releases: BTreeMap<ServiceScope, BTreeMap<u64, Arc<ReleaseRow>>>,
    instances: BTreeMap<String, Instance>,
}

impl View {
    pub(crate) fn new(world: &World, now: Timestamp) -> Self {
        let World { rows, nodes, routers, numbers, .. } = world;
        let instances = instances(rows, nodes, now);
        let scales = rows.states.keys();
        let scales = scales.filter_map(|home| Some((home.clone(), numbers.state(home, rows, &instances)?)));
        let shields = shields::in_order(&rows.shields);
        Self {
            declarations: rows.declarations.as_ref().map(|row| (row.revision, Arc::clone(&row.declarations))),
            nodes: nodes.summaries(&rows.nodes, now),
            routers: routers.summaries(now),
            routes: routers.routes(now),
            shields: shields.iter().map(|shield| routers.shield(shield, true, now)).collect(),
            scales: scales.collect(),
            states: rows.states.clone(),
            releases: rows.releases.clone(),
            instances,
        }
    }

    /// What conditions are seen from.
    pub(crate) fn conditions<'w>(&'w self, world: &'w World, now: Timestamp) -> conditions::World<'w> {
        let sets = world.rows.states.values().flat_map(|state| state.sets.values());
        let members = || sets.clone().flat_map(|set| set.members.iter().map(move |member| (set, member)));
        let exclusive = members().filter(|(set, member)| set.plan.is_single(&member.process));
        let unplaced = members().filter(|(_, member)| member.node.is_none() && !member.stopped);
        let rolling = world.rows.states.iter();
        let rolling = rolling.filter_map(|(home, state)| Some((home.clone(), state.active.as_ref()?.to)));
        conditions::World {
            instances: &self.instances,
            nodes: &self.nodes,
            routers: &self.routers,
            shields: &world.rows.shields,
            exclusive: exclusive.map(|(_, member)| member.id.as_str()).collect(),
            unplaced: unplaced.map(|(_, member)| member.id.as_str()).collect(),
            rolling: rolling.collect(),
            dead: world.dead_nodes(&world.nodes.live(now), now),
            settled: world.is_settled(now),
        }
    }

    /// Every instance, by id.
    pub(crate) fn all_instances(&self) -> &BTreeMap<String, Instance> {
        &self.instances
    }

    /// The newest two rollouts of each service and scope: the older one may have been superseded just now.
    pub(crate) fn recent_rollouts(&self) -> impl Iterator<Item = &Rollout> {
        self.states.values().flat_map(|state| state.rollouts.iter().rev().take(2).rev())
    }

    /// Whether a question other than about instances and rollouts' states has another answer here.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let revision = |view: &Self| view.declarations.as_ref().map(|(revision, _)| *revision);
        let nodes = |view: &Self| -> Vec<_> {
            view.nodes.iter().map(|node| (node.name.clone(), node.live, node.state)).collect()
        };
        let routers = |view: &Self| -> Vec<_> {
            let routers = view.routers.iter();
            routers.map(|router| (router.name.clone(), router.live, router.generation)).collect()
        };
        revision(self) != revision(other)
            || nodes(self) != nodes(other)
            || routers(self) != routers(other)
            || self.states != other.states
            || self.scales != other.scales
            || self.shields.iter().ne(&other.shields)
    }

    pub(crate) fn rollouts(&self, service: &Name, scope: &Scope) -> Vec<Rollout> {
        let state = self.states.get(&home(service, scope));
        state.map(|state| state.rollouts.iter().rev().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn releases(&self, service: &Name, scope: &Scope) -> Vec<Release> {
        let home = home(service, scope);
        let state = self.states.get(&home);
        let marks = state.map(|state| &state.marks);
        let rows = self.releases.get(&home).into_iter().flat_map(|releases| releases.values().rev());
        let release = |row: &Arc<ReleaseRow>| Release {
            number: row.number,
            service: service.clone(),
            environment: scope.environment.clone(),
            tenant: scope.tenant.clone(),
            package: row.package,
            config: row.config,
            git: row.git.clone(),
            created: row.created,
            state: marks.and_then(|marks| marks.get(&row.number)).copied().unwrap_or(ReleaseState::Pending),
            name: state.and_then(|state| state.names.get(&row.number)).cloned(),
            promoted_from: row.promoted_from.clone(),
        };
        rows.map(release).collect()
    }

    pub(crate) fn instances(&self, scope: Option<&Scope>) -> Vec<Instance> {
        let is_asked = |instance: &&Instance| {
            scope.is_none_or(|scope| {
                instance.environment == scope.environment && instance.tenant == scope.tenant
            })
        };
        self.instances.values().filter(is_asked).cloned().collect()
    }

    /// Live routers that do not route by a generation yet.
    pub(crate) fn waiting(&self, generation: u64) -> Vec<Name> {
        let late = self.routers.iter().filter(|router| router.live && router.generation < generation);
        late.map(|router| router.name.clone()).collect()
    }

    pub(crate) fn scale(&self, service: &Name, scope: &Scope) -> Option<ScaleState> {
        self.scales.get(&home(service, scope)).cloned()
    }

    pub(crate) fn identity(&self, instance: &str) -> Option<Identity> {
        let found = self.instances.get(instance)?;
        Some(Identity {
            instance: found.id.clone(),
            service: found.service.clone(),
            process: found.process.clone(),
            scope: Scope { environment: found.environment.clone(), tenant: found.tenant.clone() },
        })
    }

    pub(crate) fn services(&self, scope: &Scope) -> Vec<ServiceSummary> {
        let declared = self.declarations.iter().flat_map(|(_, declarations)| &declarations.services);
        let running =
            self.states.iter().filter(|(home, state)| home.scope == *scope && !state.sets.is_empty());
        let mut names: BTreeSet<&Name> = declared.map(|(name, _)| name).collect();
        names.extend(running.map(|(home, _)| &home.service));
        names.into_iter().filter_map(|name| self.summary(name, scope)).collect()
    }

    fn summary(&self, name: &Name, scope: &Scope) -> Option<ServiceSummary> {
        let home = home(name, scope);
        let state = self.states.get(&home);
        let shown = state.and_then(|state| state.routed.or(state.active.as_ref().map(|active| active.to)));
        let row = shown.and_then(|number| self.releases.get(&home)?.get(&number));
        let declared = self.declarations.as_ref().and_then(|(_, all)| all.services.get(name));
        let descriptor: &Service = declared.or(row.map(|row| &row.descriptor))?;
        let set = shown.and_then(|number| state?.sets.get(&number));
        let plan = set.map(|set| &set.plan);
        let wanted = plan.map_or(0, |plan| plan.wanted(false) + plan.wanted(true));
        // Those that a newer release is compared with are more than the service is meant to have.
        let is_ready = |member: &&Member| {
            let state = self.instances.get(&member.id).map(|instance| instance.state);
            !member.control && state == Some(InstanceState::Ready)
        };
        let members = set.into_iter().flat_map(|set| &set.members);
        let ready = u32::try_from(members.filter(is_ready).count()).unwrap_or(u32::MAX);
        let is_active = state.is_some_and(|state| state.active.is_some());
        Some(ServiceSummary {
            name: name.clone(),
            kind: descriptor.kind,
            owner: descriptor.owner.clone(),
            environment: scope.environment.clone(),
            tenant: scope.tenant.clone(),
            release: state.and_then(|state| state.routed),
            standby: state.and_then(|state| state.standby.as_ref()).map(|standby| standby.release),
            package: row.map(|row| row.package),
            config: row.map(|row| row.config),
            ready,
            wanted,
            state: match shown {
                _ if is_active => ServiceState::Deploying,
                None => ServiceState::Undeployed,
                Some(_) if ready >= wanted => ServiceState::Ready,
                Some(_) if ready > 0 => ServiceState::Degraded,
                Some(_) => ServiceState::Down,
            },
            rollout: state.and_then(|state| state.rollouts.last()).map(|rollout| rollout.id.clone()),
        })
    }
}

fn home(service: &Name, scope: &Scope) -> ServiceScope {
    ServiceScope { service: service.clone(), scope: scope.clone() }
}

fn instances(rows: &Rows, nodes: &Nodes, now: Timestamp) -> BTreeMap<String, Instance> {
    let mut instances = BTreeMap::new();
    for (home, state) in &rows.states {
        for (release, set) in &state.sets {
            for member in &set.members {
                instances.insert(member.id.clone(), instance(home, *release, member, nodes, now));
            }
        }
    }
    instances
}

fn instance(home: &ServiceScope, release: u64, member: &Member, nodes: &Nodes, now: Timestamp) -> Instance {
    let report = member.node.as_ref().and_then(|node| nodes.instance(node, &member.id, now));
    let is_leaving = member.leaving.is_some() || member.stopped;
    let state = match report.map(|report| report.state) {
        Some(InstanceState::Starting | InstanceState::Ready) if is_leaving => InstanceState::Draining,
        Some(state) => state,
        None if is_leaving => InstanceState::Stopped,
        None => InstanceState::Starting,
    };
    let no_node = "no agent reports";
    Instance {
        id: member.id.clone(),
        service: home.service.clone(),
        process: member.process.clone(),
        environment: home.scope.environment.clone(),
        tenant: home.scope.tenant.clone(),
        release,
        node: member.node.clone().unwrap_or_else(|| "none".parse().expect("none is a name")),
        state,
        address: report.and_then(|report| report.address.clone()),
        started: report.and_then(|report| report.started),
        pid: report.and_then(|report| report.pid),
        restarts: report.map_or(0, |report| report.restarts),
        reason: match report {
            Some(report) => report.reason.clone(),
            None => Some(no_node.to_owned()).filter(|_| member.node.is_none()),
        },
        ended: report.and_then(|report| report.ended.clone()),
        status: report.and_then(|report| report.status.clone()),
        confinement: report.map(|report| report.confinement.clone()).unwrap_or_default(),
        usage: report.map(|report| report.usage).unwrap_or_default(),
    }
}
