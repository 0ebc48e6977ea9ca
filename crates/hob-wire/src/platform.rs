//! The platform's own file: `hob.yml`.

use std::collections::BTreeMap;

use hob_core::{Name, Scope, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Network;

mod read;

/// A parsed and checked `hob.yml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Platform {
    /// The platform's name.
    pub platform: Name,
    /// The environments; the first is the default.
    pub environments: Vec<Name>,
    /// The tenants; the first is the default.
    pub tenants: Vec<Name>,
    /// Globs of folders or `service.yml` files, relative to `hob.yml`.
    pub services: Vec<String>,
    /// Globs of rule files, relative to `hob.yml`.
    pub rules: Vec<String>,
    /// Origin of entities' hrefs; may contain `${environment}` and `${tenant}`. The router's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Who stands before the routers and may say whom a request comes from (`X-Forwarded-For`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Network>,
    /// The topic that is a scope's clock, by `environment/tenant`; the wall clock for scopes not named.
    #[serde(default)]
    pub clocks: BTreeMap<String, TopicName>,
}

impl Platform {
    /// The scope that is meant when none is named.
    pub fn default_scope(&self) -> Scope {
        Scope { environment: self.environments[0].clone(), tenant: self.tenants[0].clone() }
    }

    /// Every environment for every tenant.
    pub fn scopes(&self) -> Vec<Scope> {
        let pairs = self.environments.iter().flat_map(|e| self.tenants.iter().map(move |t| (e, t)));
        pairs.map(|(e, t)| Scope { environment: e.clone(), tenant: t.clone() }).collect()
    }

    /// Whether there is such a scope.
    pub fn has(&self, scope: &Scope) -> bool {
        self.environments.contains(&scope.environment) && self.tenants.contains(&scope.tenant)
    }

    /// The topic that is the scope's clock, when it is not the wall's.
    pub fn clock_topic(&self, scope: &Scope) -> Option<&TopicName> {
        self.clocks.get(&scope.to_string())
    }
}
