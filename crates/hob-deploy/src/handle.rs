//! What others call: commands go to the loop, questions are answered from its last published view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_core::{Digest, Name, Scope};
use hob_store::{Blobs, Kv};
use hob_wire::{
    Change, Declarations, Instance, Intended, Manifest, NodeReport, Release, Rollout, RolloutState,
    RouterReport, RoutingSnapshot, ServiceSummary, Wanted,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::service::{Command, Doors};
use crate::tokens::Tokens;
use crate::view::View;
use crate::{Announce, Config, Error, Service, ServiceScope, declare, package};

mod fleet;

/// How long a caller waits for room in the queue of the loop.
const COMMAND_WAIT: Duration = Duration::from_secs(10);

/// The door to packages, releases, rollouts, nodes and routes. Cheap to clone.
#[derive(Clone)]
pub struct Deploy {
    pub(crate) doors: Arc<Doors>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// What applying declarations did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The revision of the declarations now; it rises only when something changed.
    pub revision: u64,
    /// What changed.
    pub changes: Vec<Change>,
}

/// Whom an instance's token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The instance's id.
    pub instance: String,
    /// Its service.
    pub service: Name,
    /// Which of its processes.
    pub process: Name,
    /// Where and for whom.
    pub scope: Scope,
}

impl Deploy {
    /// Reads what was decided before, and returns the door and the loop behind it, which [`Service::run`] runs.
    pub async fn open(
        config: Config,
        kv: Arc<dyn Kv>,
        blobs: Arc<dyn Blobs>,
        announce: Arc<dyn Announce>,
    ) -> Result<(Self, Service), Error> {
        let tokens = Tokens::open(&config.data)?;
        Service::open(config, tokens, kv, blobs, announce).await
    }

    /// Checks declarations whole and stores them. With `expected`, only when they are at that revision now.
    pub async fn apply(&self, declarations: Declarations, expected: Option<u64>) -> Result<Applied, Error> {
        self.ask(|reply| Command::Apply { declarations: Box::new(declarations), expected, reply }).await
    }

    /// Checks declarations and says what applying them would change.
    pub fn dry_run(&self, declarations: &Declarations) -> Result<Vec<Change>, Error> {
        declare::validate(declarations)?;
        let view = self.view();
        Ok(declare::differences(view.declarations.as_ref().map(|(_, known)| known.as_ref()), declarations))
    }

    /// The declarations and their revision; none before the first apply.
    pub fn declarations(&self) -> Option<(u64, Arc<Declarations>)> {
        self.view().declarations.clone()
    }

    /// Checks an archive and keeps it under its digest. Sending it again is fine.
    pub async fn put_package(&self, bytes: Bytes) -> Result<Digest, Error> {
        package::keep(self.doors.blobs.as_ref(), bytes, |digest| self.doors.touched().touch(digest)).await
    }

    /// A package's bytes.
    pub async fn package(&self, digest: &Digest) -> Result<Bytes, Error> {
        package::find(self.doors.blobs.as_ref(), digest).await
    }

    /// Removes the packages that no release needs any more: neither the newest of a service, as many as it keeps, nor those with
    /// a name, nor what runs or would run after a rollback. Says which. To be called now and then.
    pub async fn collect_packages(&self) -> Result<Vec<Digest>, Error> {
        self.ask(|reply| Command::Collect { reply }).await
    }

    /// What a package says of itself; this is also how to see whether it is here.
    pub async fn manifest(&self, digest: &Digest) -> Result<Manifest, Error> {
        self.doors.manifest(digest).await
    }

    /// Makes a release of a package, with its configuration and `overrides`, and begins to roll it out. A rollout of
    /// the same service and scope that is under way is superseded. With `promoted_from`, only when that environment
    /// has run this very package.
    pub async fn deploy(
        &self,
        service: &Name,
        scope: &Scope,
        package: &Digest,
        overrides: BTreeMap<String, String>,
        promoted_from: Option<Name>,
    ) -> Result<Rollout, Error> {
        let manifest = self.manifest(package).await?;
        let home = ServiceScope { service: service.clone(), scope: scope.clone() };
        let package = *package;
        let manifest = Box::new(manifest);
        self.ask(|reply| Command::Deploy { home, package, manifest, overrides, promoted_from, reply }).await
    }

    /// Has a rollout under way hold, go on or go back. `by` says who wants it.
    pub async fn order(&self, rollout: &str, wanted: Wanted, by: &str) -> Result<Rollout, Error> {
        let (rollout, by) = (rollout.to_owned(), by.to_owned());
        self.ask(|reply| Command::Order { rollout, wanted, by, reply }).await
    }

    /// Gives a release a name, or takes it away. A named release's package stays on every node.
    pub async fn name_release(
        &self,
        service: &Name,
        scope: &Scope,
        number: u64,
        name: Option<String>,
    ) -> Result<(), Error> {
        let home = ServiceScope { service: service.clone(), scope: scope.clone() };
        self.ask(|reply| Command::NameRelease { home, number, name, reply }).await
    }

    /// Begins to go back: to release `to`, else to the release before the present one that worked, else (while a
    /// rollout is under way) to where it came from.
    pub async fn rollback(&self, service: &Name, scope: &Scope, to: Option<u64>) -> Result<Rollout, Error> {
        let home = ServiceScope { service: service.clone(), scope: scope.clone() };
        self.ask(|reply| Command::Rollback { home, to, reply }).await
    }

    /// The newest rollouts of a service in a scope, newest first.
    pub fn rollouts(&self, service: &Name, scope: &Scope) -> Vec<Rollout> {
        self.view().rollouts(service, scope)
    }

    /// One rollout.
    pub fn rollout(&self, service: &Name, scope: &Scope, id: &str) -> Result<Rollout, Error> {
        let rollouts = self.rollouts(service, scope);
        rollouts
            .into_iter()
            .find(|rollout| rollout.id == id)
            .ok_or_else(|| Error::UnknownRollout(id.to_owned()))
    }

    /// One rollout once its state is no longer `seen`, or as it is when `wait` has passed.
    pub async fn rollout_after(
        &self,
        service: &Name,
        scope: &Scope,
        id: &str,
        seen: RolloutState,
        wait: Duration,
    ) -> Result<Rollout, Error> {
        let mut changes = self.changes();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let rollout = self.rollout(service, scope, id)?;
            if rollout.state != seen {
                return Ok(rollout);
            }
            let news = tokio::time::timeout_at(deadline, changes.changed()).await;
            if !matches!(news, Ok(Ok(()))) {
                return Ok(rollout);
            }
        }
    }

    /// The releases of a service in a scope, newest first.
    pub fn releases(&self, service: &Name, scope: &Scope) -> Vec<Release> {
        self.view().releases(service, scope)
    }

    /// Every declared service in a scope, and those that still run although they are declared no more.
    pub fn services(&self, scope: &Scope) -> Vec<ServiceSummary> {
        self.view().services(scope)
    }

    /// Every instance of a scope; of all scopes when none is named.
    pub fn instances(&self, scope: Option<&Scope>) -> Vec<Instance> {
        self.view().instances(scope)
    }

    /// Has an instance's present process killed with SIGKILL; its agent starts it again.
    pub async fn shoot(&self, instance: &str) -> Result<(), Error> {
        let instance = instance.to_owned();
        self.ask(|reply| Command::Shoot { instance, reply }).await
    }

    /// What should run on a node, now and from now on. A name that was never heard is a new node.
    pub fn intended(&self, node: &Name) -> watch::Receiver<Arc<Intended>> {
        self.doors.intended(node)
    }

    /// Takes in what an agent sees.
    pub async fn node_report(&self, node: &Name, report: NodeReport) -> Result<(), Error> {
        self.tell(Command::NodeReport { node: node.clone(), report }).await
    }

    /// The routes and their instances, now and from now on. Generation 0 says nothing: after a start routers go on by
    /// what they have until the nodes have reported.
    pub fn routing(&self) -> watch::Receiver<Arc<RoutingSnapshot>> {
        self.doors.routing.subscribe()
    }

    /// Takes in what a router did and acknowledges.
    pub async fn router_report(&self, router: &Name, report: RouterReport) -> Result<(), Error> {
        self.tell(Command::RouterReport { router: router.clone(), report: Box::new(report) }).await
    }

    /// Whom a token stands for: none when it is no instance's, or that instance is gone.
    pub fn identify(&self, token: &str) -> Option<Identity> {
        let instance = self.doors.tokens.verify(token)?;
        self.view().identity(&instance)
    }

    /// Counts the published views: it changes whenever a question above may have another answer.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.doors.count.subscribe()
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.doors.view.borrow().clone()
    }

    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.unwrap_or(Err(Error::Unavailable))
    }

    async fn tell(&self, command: Command) -> Result<(), Error> {
        self.commands.send_timeout(command, COMMAND_WAIT).await.map_err(|_| Error::Unavailable)
    }
}
