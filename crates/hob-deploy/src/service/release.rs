//! Releases and what is ordered of their rollouts: made of a package, promoted, named, rolled back, held.

use std::collections::BTreeMap;

use hob_core::{Digest, Id, Name, Scope};
use hob_wire::{Declarations, ErrorItem, Manifest, ReleaseState, Rollout, Wanted};

use super::Service;
use crate::model::{Begin, Input, Plan, ReleaseRow, State};
use crate::{Error, ServiceScope, changes, compose, declare, environment, package, rows, step};

/// Letters of a release's name.
const NAME_CHARS_MAX: usize = 60;

impl Service {
    /// The release takes its descriptor from the package, as it is in this scope, so that code and descriptor go
    /// together; it must fit what the other services declare. The release is stored first: one without a rollout does
    /// no harm.
    pub(super) async fn deploy(
        &mut self,
        home: ServiceScope,
        package: Digest,
        manifest: Manifest,
        overrides: BTreeMap<String, String>,
        promoted_from: Option<Name>,
    ) -> Result<Rollout, Error> {
        if manifest.name != home.service {
            return Err(Error::ForeignPackage { package, service: home.service, found: manifest.name });
        }
        let known = self.world.rows.declarations.as_ref().ok_or(Error::NothingDeclared)?;
        let mut declarations = Declarations::clone(&known.declarations);
        if !declarations.services.contains_key(&home.service) {
            return Err(Error::UnknownService(home.service));
        }
        if !compose::is_declared(&declarations.platform, &home.scope) {
            return Err(Error::UnknownScope(home.scope));
        }
        if let Some(from) = &promoted_from {
            self.check_promotion(&home, from, package)?;
        }
        let descriptor = hob_wire::Service::read_in("service.yml", &manifest.descriptor, &home.scope)
            .map_err(|flaws| Error::Declarations(flaws.iter().map(ErrorItem::from).collect()))?;
        declarations.services.insert(home.service.clone(), descriptor.clone());
        declare::validate(&declarations)?;

        let (env, config) = environment::resolve(&descriptor, overrides);
        let releases = self.world.rows.releases.get(&home);
        let newest = releases.and_then(|releases| releases.keys().next_back()).copied().unwrap_or(0);
        let plan = Plan::of(&descriptor, package);
        let (created, git) = (self.now(), manifest.git);
        let number = newest + 1;
        let release = ReleaseRow { number, package, config, git, created, descriptor, env, promoted_from };
        rows::put_release(self.kv.as_ref(), &home, &release).await?;
        let rollout = self.rollout_to(&home, &release);
        self.world.rows.releases.entry(home.clone()).or_default().insert(number, release.into());
        self.begin(&home, Input::Deploy { rollout, plan }).await
    }

    /// What is promoted took requests where it comes from.
    fn check_promotion(&self, home: &ServiceScope, from: &Name, package: Digest) -> Result<(), Error> {
        let scope = Scope { environment: from.clone(), tenant: home.scope.tenant.clone() };
        let other = ServiceScope { service: home.service.clone(), scope: scope.clone() };
        let marks = self.world.rows.states.get(&other).map(|state| &state.marks);
        let worked = |number: &u64| {
            let mark = marks.and_then(|marks| marks.get(number));
            mark.is_some_and(|mark| !matches!(mark, ReleaseState::Pending | ReleaseState::Failed))
        };
        let mut releases = self.world.rows.releases.get(&other).into_iter().flatten();
        if releases.any(|(number, release)| release.package == package && worked(number)) {
            return Ok(());
        }
        Err(Error::NotPromoted { package, service: home.service.clone(), from: scope })
    }

    pub(super) async fn rollback(&mut self, home: ServiceScope, to: Option<u64>) -> Result<Rollout, Error> {
        let ServiceScope { service, scope } = home.clone();
        let state = self.world.rows.states.get(&home).cloned().unwrap_or_default();
        if to.is_none() && !self.world.rows.releases.contains_key(&home) && !self.world.is_declared(&home) {
            return Err(Error::UnknownService(service));
        }
        let Some(number) = to.or_else(|| step::rollback_target(&state)) else {
            return Err(Error::NoRollback { service, scope });
        };
        let releases = self.world.rows.releases.get(&home);
        let Some(release) = releases.and_then(|releases| releases.get(&number)) else {
            return Err(Error::UnknownRelease { service, scope, number });
        };
        if state.routed == Some(number) && state.active.is_none() {
            return Err(Error::InUse { service, scope, number });
        }
        if matches!(self.doors.manifest(&release.package).await, Err(Error::UnknownPackage(_))) {
            return Err(Error::PackageGone { service, scope, number });
        }
        let plan = Plan::of(&release.descriptor, release.package);
        let rollout = self.rollout_to(&home, release);
        self.begin(&home, Input::Rollback { rollout, plan }).await
    }

    /// Has the rollout under way hold, go on or go back.
    pub(super) async fn order(&mut self, id: &str, wanted: Wanted, by: &str) -> Result<Rollout, Error> {
        let is_named = |state: &State| state.rollouts.iter().any(|rollout| rollout.id == id);
        let mut states = self.world.rows.states.iter();
        let Some((home, state)) = states.find(|(_, state)| is_named(state)) else {
            return Err(Error::UnknownRollout(id.to_owned()));
        };
        let home = home.clone();
        let rollout = state.rollouts.iter().find(|rollout| rollout.id == id);
        let rollout = rollout.ok_or_else(|| Error::UnknownRollout(id.to_owned()))?;
        let word = match wanted {
            Wanted::Hold => "hold",
            Wanted::Resume => "resume",
            Wanted::Abort => "abort",
        };
        let is_newest = state.rollouts.last().is_some_and(|newest| newest.id == id);
        if !is_newest || state.active.is_none() || step::is_past_orders(rollout.state) {
            let state = serde_json::to_value(rollout.state).unwrap_or_default();
            let state = state.as_str().unwrap_or_default().to_owned();
            let hint = format!("to go back once it is complete, run hob rollback {}", home.service);
            return Err(Error::TooLate { id: id.to_owned(), wanted: word, state, hint });
        }
        self.begin(&home, Input::Order { wanted, by }).await
    }

    /// Removes packages that no release needs. Nothing that is decided meanwhile can need one of them: it is this loop that decides.
    pub(super) async fn collect(&self) -> Result<Vec<Digest>, Error> {
        let Some(mut kept) = self.doors.touched().lately() else { return Ok(Vec::new()) };
        kept.extend(compose::packages(&self.world.rows));
        Ok(package::collect(self.doors.blobs.as_ref(), &kept).await?)
    }

    /// Gives a release a name, which keeps its package on every node, or takes it away.
    pub(super) async fn name_release(
        &mut self,
        home: ServiceScope,
        number: u64,
        name: Option<String>,
    ) -> Result<(), Error> {
        let ServiceScope { service, scope } = home.clone();
        let releases = self.world.rows.releases.get(&home);
        if !releases.is_some_and(|releases| releases.contains_key(&number)) {
            return Err(Error::UnknownRelease { service, scope, number });
        }
        let mut state = State::clone(&self.world.rows.states.get(&home).cloned().unwrap_or_default());
        if let Some(name) = &name {
            let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let is_name = !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(is_sound);
            let owner = state.names.iter().find(|(other, known)| **other != number && *known == name);
            let why = match owner {
                _ if !is_name => format!("use 1 to {NAME_CHARS_MAX} letters, digits, `.`, `_` and `-`"),
                Some((owner, _)) => format!("release {owner} has it; take it away there first"),
                None => String::new(),
            };
            if !why.is_empty() {
                return Err(Error::ReleaseName { service, number, name: name.clone(), why });
            }
        }
        match name {
            Some(name) => drop(state.names.insert(number, name)),
            None => drop(state.names.remove(&number)),
        }
        rows::put_state(self.kv.as_ref(), &home, &state).await?;
        self.world.accept(&home, state);
        self.derive(self.now());
        Ok(())
    }

    fn rollout_to(&self, home: &ServiceScope, release: &ReleaseRow) -> Begin {
        let state = self.world.rows.states.get(home);
        let routed = state.and_then(|state| state.routed);
        let old = routed.and_then(|number| self.world.rows.releases.get(home)?.get(&number));
        let changes = changes::between(old.map(AsRef::as_ref), release);
        Begin { id: Id::generate(self.now()), home: home.clone(), to: release.number, changes }
    }

    /// Takes a step that somebody asked for, and says what became of the newest rollout.
    async fn begin(&mut self, home: &ServiceScope, input: Input<'_>) -> Result<Rollout, Error> {
        self.step(home, input).await?;
        let newest = self.world.rows.states.get(home).and_then(|state| state.rollouts.last());
        Ok(newest.expect("a rollout just began").clone())
    }
}
