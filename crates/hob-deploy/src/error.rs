//! What can go wrong with a deploy, in words that name the subject and the way out.

use hob_core::{Code, Digest, Name, Scope, code};
use hob_store::{BlobError, KvError};
use hob_wire::ErrorItem;

use crate::PackageError;

/// Why a call was refused or failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The declarations contradict themselves.
    #[error("take the declarations: {} of them are wrong; the first: {}", .0.len(), .0.first().map(|item| format!("{}: {}", item.place, item.detail)).unwrap_or_default())]
    Declarations(Vec<ErrorItem>),
    /// Somebody else applied other declarations in between.
    #[error(
        "apply the declarations: they are at revision {current} now, not {expected}; read them and apply again"
    )]
    DeclarationsChanged {
        /// The revision that the caller knew.
        expected: u64,
        /// The revision now.
        current: u64,
    },
    /// No declarations were applied yet.
    #[error("find the declarations: none were applied yet; run hob apply first")]
    NothingDeclared,
    /// The service is not declared.
    #[error("find service {0}: it is not declared; name its folder in hob.yml and run hob apply")]
    UnknownService(Name),
    /// The scope is not declared.
    #[error("find scope {0}: hob.yml does not declare this environment and tenant")]
    UnknownScope(Scope),
    /// There is no such package.
    #[error("find package {0}: it was never sent here; send it again")]
    UnknownPackage(Digest),
    /// There is no such release.
    #[error("find release {number} of {service} in {scope}: see hob releases {service}")]
    UnknownRelease {
        /// The service.
        service: Name,
        /// Where and for whom.
        scope: Scope,
        /// The number asked for.
        number: u64,
    },
    /// There is no such instance, or it has no process now.
    #[error("find instance {0}: no process of it runs; see hob instances")]
    UnknownInstance(String),
    /// There is no such rollout.
    #[error("find rollout {0}: only the newest of a service are kept")]
    UnknownRollout(String),
    /// The package belongs to another service.
    #[error("deploy package {package} as {service}: it is a package of {found}")]
    ForeignPackage {
        /// The package.
        package: Digest,
        /// The service asked for.
        service: Name,
        /// The service that the package names.
        found: Name,
    },
    /// No earlier release is known to have worked.
    #[error("roll back {service} in {scope}: no earlier release worked here; deploy one instead")]
    NoRollback {
        /// The service.
        service: Name,
        /// Where and for whom.
        scope: Scope,
    },
    /// The release already takes the requests.
    #[error("roll back {service} in {scope}: release {number} is in use already")]
    InUse {
        /// The service.
        service: Name,
        /// Where and for whom.
        scope: Scope,
        /// The release.
        number: u64,
    },
    /// The release's package was removed since.
    #[error(
        "roll back {service} in {scope}: the package of release {number} was removed, as that of releases that are neither \
         named nor among the newest; deploy it again"
    )]
    PackageGone {
        /// The service.
        service: Name,
        /// Where and for whom.
        scope: Scope,
        /// The release.
        number: u64,
    },
    /// The rollout has ended, or has come too far.
    #[error("tell rollout {id} to {wanted}: it is {state}; {hint}")]
    TooLate {
        /// The rollout.
        id: String,
        /// What was asked for.
        wanted: &'static str,
        /// Where it stands.
        state: String,
        /// The way out.
        hint: String,
    },
    /// The environment that a package is promoted from does not run it.
    #[error(
        "promote package {package} of {service} from {from}: it does not run there; deploy it there first"
    )]
    NotPromoted {
        /// The package.
        package: Digest,
        /// The service.
        service: Name,
        /// The environment and tenant asked for.
        from: Scope,
    },
    /// A release's name is not one, or another release has it.
    #[error("name release {number} of {service} {name:?}: {why}")]
    ReleaseName {
        /// The service.
        service: Name,
        /// The release.
        number: u64,
        /// The name.
        name: String,
        /// What is wrong, and the way out.
        why: String,
    },
    /// A shield's order is wrong.
    #[error("order shield {id}: {what}")]
    WrongShield {
        /// The shield.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// There is no such shield.
    #[error("find shield {0}: nothing is held or answered under this name; see hob hold")]
    UnknownShield(String),
    /// As many shields as may be are in force.
    #[error("order another shield: {most} are in force; lift one first")]
    TooManyShields {
        /// How many may be.
        most: usize,
    },
    /// The numbers that people ordered are wrong.
    #[error("scale {service}: {what}")]
    WrongScale {
        /// The service.
        service: Name,
        /// What is wrong.
        what: String,
    },
    /// The service has no release in this scope.
    #[error("scale {0}: nothing of it was deployed here; deploy it first")]
    NotDeployed(Name),
    /// There is no such node.
    #[error("find node {0}: it never reported; see hob nodes")]
    UnknownNode(Name),
    /// The node was given up.
    #[error("change node {0}: it was given up; once it is gone it may join again")]
    NodeKilled(Name),
    /// The node lives, and no other could take what it runs.
    #[error("give up node {0}: no other live node takes instances, so that nothing would run any more")]
    LastNode(Name),
    /// The archive is not a package that Hob takes.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A key could not be read or written.
    #[error("keep what was decided")]
    Kv(#[from] KvError),
    /// A blob could not be read or written.
    #[error("keep or find a package")]
    Blob(#[from] BlobError),
    /// A stored key does not read as what it should be.
    #[error("read key {key}")]
    Row {
        /// The key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The key file for instance tokens could not be used.
    #[error("use {path}: it must be readable and hold 32 bytes; delete it to have a new one made", path = path.display())]
    KeyFile {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The loop has ended or is too busy to take a command in time.
    #[error("reach the deploy loop: Hob is stopping or overloaded; try again")]
    Unavailable,
}

impl Error {
    /// The number and the status with which it leaves the API.
    pub fn code(&self) -> Code {
        match self {
            Self::Declarations(_) => code::DECLARATION,
            Self::DeclarationsChanged { .. } | Self::InUse { .. } => code::CONFLICT,
            Self::UnknownService(_)
            | Self::UnknownScope(_)
            | Self::UnknownPackage(_)
            | Self::UnknownRelease { .. }
            | Self::UnknownInstance(_)
            | Self::UnknownRollout(_)
            | Self::UnknownShield(_)
            | Self::NotDeployed(_)
            | Self::UnknownNode(_)
            | Self::NothingDeclared => code::NOT_FOUND,
            Self::WrongShield { .. } => code::SHIELD,
            Self::TooManyShields { .. } => code::SHIELDS,
            Self::WrongScale { .. } => code::SCALE,
            Self::NodeKilled(_) => code::NODE_KILLED,
            Self::LastNode(_) => code::LAST_NODE,
            Self::ForeignPackage { .. } | Self::Package(_) => code::PACKAGE,
            Self::NoRollback { .. } | Self::PackageGone { .. } => code::NO_ROLLBACK,
            Self::TooLate { .. } => code::ROLLOUT_STATE,
            Self::NotPromoted { .. } => code::NOT_PROMOTED,
            Self::ReleaseName { .. } => code::RELEASE_NAME,
            Self::Blob(BlobError::Full { .. }) => code::DISK_FULL,
            Self::Blob(_) | Self::Kv(_) | Self::Row { .. } | Self::KeyFile { .. } => code::INTERNAL,
            Self::Unavailable => code::UNAVAILABLE,
        }
    }

    /// Every flaw, when the declarations are wrong.
    pub fn items(&self) -> &[ErrorItem] {
        match self {
            Self::Declarations(items) => items,
            _ => &[],
        }
    }
}
