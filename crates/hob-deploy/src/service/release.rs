//! Makes a release of a package and begins its rollout.

use std::collections::BTreeMap;

use hob_core::Digest;
use hob_wire::{Declarations, ErrorItem, Manifest, Rollout};

use super::Service;
use crate::model::{Begin, Input, Plan, ReleaseRow};
use crate::{Error, ServiceScope, compose, declare, environment, rows};

impl Service {
    /// The release takes its descriptor from the package, so that code and descriptor go together; it must fit what
    /// the other services declare. The release is stored first: one without a rollout does no harm.
    pub(super) async fn deploy(
        &mut self,
        home: ServiceScope,
        package: Digest,
        manifest: Manifest,
        overrides: BTreeMap<String, String>,
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
        let descriptor = hob_wire::Service::read_in("service.yml", &manifest.descriptor, &home.scope)
            .map_err(|flaws| Error::Declarations(flaws.iter().map(ErrorItem::from).collect()))?;
        declarations.services.insert(home.service.clone(), descriptor.clone());
        declare::validate(&declarations)?;

        let (env, config) = environment::resolve(&descriptor, overrides);
        let releases = self.world.rows.releases.get(&home);
        let newest = releases.and_then(|releases| releases.keys().next_back()).copied().unwrap_or(0);
        let plan = Plan::of(&descriptor);
        let created = self.now();
        let git = manifest.git;
        let release = ReleaseRow { number: newest + 1, package, config, git, created, descriptor, env };
        rows::put_release(self.kv.as_ref(), &home, &release).await?;
        let rollout = Begin { id: self.rollout_id(), home: home.clone(), to: release.number };
        self.world.rows.releases.entry(home.clone()).or_default().insert(release.number, release.into());
        self.begin(&home, Input::Deploy { rollout, plan }).await
    }
}
