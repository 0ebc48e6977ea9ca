//! Who calls, and what they may do.
//!
//! Every caller shows a token. People's, nodes' and routers' tokens are kept as digests in the store; an instance's
//! token proves itself by its signature, which the port [`Instances`] checks.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use hob_core::{Digest, Name, Scope, Secret};
use hob_store::{Expected, Kv, KvError};
use hob_wire::Role;
use serde::{Deserialize, Serialize};

mod join;

pub use join::{JoinError, Joins};

const PREFIX: &str = "tokens/";

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A person's name, an instance's id, a node's or a router's name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// The instance's service and scope; nothing for everyone else.
    pub instance: Option<(Name, Scope)>,
}

impl Caller {
    /// Whether it is a person with at least this much to say.
    pub fn is_at_least(&self, role: Role) -> bool {
        let rank = |role| match role {
            Role::Viewer => 1,
            Role::Operator => 2,
            Role::Developer => 3,
            Role::Admin => 4,
            Role::Instance | Role::Node | Role::Router | Role::Joining => 0,
        };
        rank(self.role) >= rank(role).max(1)
    }
}

/// Which callers an endpoint serves. Admins are served everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, without a token.
    Public,
    /// Everybody with a token.
    Anyone,
    /// People who may look.
    Viewer,
    /// People who may act on issues.
    Operator,
    /// People who may deploy.
    Developer,
    /// Admins.
    Admin,
    /// Instances, and developers in their place.
    Service,
    /// Agents.
    Node,
    /// Routers.
    Router,
    /// Agents and routers.
    Sender,
    /// Machines that may become nodes.
    Joining,
}

impl Who {
    /// Whether `caller` is among them.
    pub fn takes(self, caller: &Caller) -> bool {
        caller.role == Role::Admin
            || match self {
                Self::Public => true,
                Self::Anyone => caller.role != Role::Joining,
                Self::Viewer => caller.is_at_least(Role::Viewer),
                Self::Operator => caller.is_at_least(Role::Operator),
                Self::Developer => caller.is_at_least(Role::Developer),
                Self::Admin => false,
                Self::Service => caller.role == Role::Instance || caller.is_at_least(Role::Developer),
                Self::Node => caller.role == Role::Node,
                Self::Router => caller.role == Role::Router,
                Self::Sender => matches!(caller.role, Role::Node | Role::Router),
                Self::Joining => caller.role == Role::Joining,
            }
    }

    /// Who that is, in words.
    pub fn told(self) -> &'static str {
        match self {
            Self::Public => "everybody",
            Self::Anyone => "everybody with a token",
            Self::Viewer => "viewers",
            Self::Operator => "operators",
            Self::Developer => "developers",
            Self::Admin => "admins",
            Self::Service => "instances and developers",
            Self::Node => "agents",
            Self::Router => "routers",
            Self::Sender => "agents and routers",
            Self::Joining => "machines with a join token",
        }
    }
}

/// Knows instances by their tokens.
pub trait Instances: Send + Sync + 'static {
    /// The instance's id, service and scope, when the token is a living instance's.
    fn identify(&self, token: &Secret) -> Option<(String, Name, Scope)>;
}

/// The stored form of a token's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    name: String,
    role: Role,
}

/// The tokens that Hob knows. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    kv: Arc<dyn Kv>,
    known: Arc<RwLock<BTreeMap<Digest, Owner>>>,
    joins: Joins,
    instances: Arc<dyn Instances>,
}

impl Tokens {
    /// Reads the stored tokens.
    pub async fn open(kv: Arc<dyn Kv>, instances: Arc<dyn Instances>) -> Result<Self, KvError> {
        let mut known = BTreeMap::new();
        for entry in kv.list(PREFIX).await?.entries {
            let digest = entry.key.strip_prefix(PREFIX).and_then(|text| text.parse().ok());
            if let (Some(digest), Ok(owner)) = (digest, serde_json::from_slice(&entry.value)) {
                known.insert(digest, owner);
            }
        }
        let joins = Joins::open(Arc::clone(&kv)).await?;
        Ok(Self { kv, known: Arc::new(RwLock::new(known)), joins, instances })
    }

    /// Tokens with which machines become nodes.
    pub fn joins(&self) -> &Joins {
        &self.joins
    }

    /// Makes a token known from now on. Safe to repeat.
    pub async fn admit(&self, token: &Secret, name: &str, role: Role) -> Result<(), KvError> {
        let owner = Owner { name: name.to_owned(), role };
        let digest = token.digest();
        let value = serde_json::to_vec(&owner).expect("a name and a role are JSON");
        self.kv.put(&format!("{PREFIX}{digest}"), Expected::Any, value.into()).await?;
        self.known.write().expect("no holder panics").insert(digest, owner);
        Ok(())
    }

    /// Makes every token of a node unknown.
    pub async fn revoke_node(&self, node: &Name) -> Result<(), KvError> {
        let is_of_node = |owner: &Owner| owner.role == Role::Node && owner.name == node.as_str();
        let digests: Vec<Digest> = {
            let known = self.known.read().expect("no holder panics");
            known.iter().filter(|(_, owner)| is_of_node(owner)).map(|(digest, _)| *digest).collect()
        };
        for digest in digests {
            self.kv.delete(&format!("{PREFIX}{digest}"), Expected::Any).await?;
            self.known.write().expect("no holder panics").remove(&digest);
        }
        Ok(())
    }

    /// Whose token it is.
    pub fn caller(&self, token: &Secret) -> Option<Caller> {
        // Tokens are looked up by digest, so the time that this takes tells nothing of the token.
        let known = self.known.read().expect("no holder panics").get(&token.digest()).cloned();
        if let Some(Owner { name, role }) = known {
            return Some(Caller { name, role, instance: None });
        }
        if let Some(id) = self.joins.find(token) {
            return Some(Caller { name: id, role: Role::Joining, instance: None });
        }
        let (name, service, scope) = self.instances.identify(token)?;
        Some(Caller { name, role: Role::Instance, instance: Some((service, scope)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(who: Who, role: Role, takes: bool) {
        let caller = Caller { name: "x".to_owned(), role, instance: None };
        assert_eq!(who.takes(&caller), takes, "{who:?} {role:?}");
    }

    #[test]
    fn roles_have_their_doors() {
        check(Who::Viewer, Role::Viewer, true);
        check(Who::Viewer, Role::Instance, false);
        check(Who::Operator, Role::Viewer, false);
        check(Who::Developer, Role::Operator, false);
        check(Who::Admin, Role::Developer, false);
        check(Who::Admin, Role::Admin, true);
        check(Who::Service, Role::Instance, true);
        check(Who::Service, Role::Operator, false);
        check(Who::Node, Role::Router, false);
        check(Who::Sender, Role::Router, true);
        check(Who::Anyone, Role::Instance, true);
        check(Who::Joining, Role::Node, false);
        check(Who::Node, Role::Joining, false);
        check(Who::Viewer, Role::Joining, false);
        check(Who::Anyone, Role::Joining, false);
        check(Who::Service, Role::Joining, false);
    }
}
