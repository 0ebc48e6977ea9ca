//! A scope is an environment and a tenant: where something runs and for whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Name;

/// An environment (qa, production) and a tenant (uk, ie), written `production/uk`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct Scope {
    /// Where it runs.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a scope: write environment/tenant, for example production/uk")]
pub struct BadScope(String);

impl Scope {
    /// Replaces `${environment}` and `${tenant}` in a text such as a host or an URL.
    pub fn fill(&self, text: &str) -> String {
        text.replace("${environment}", self.environment.as_str()).replace("${tenant}", self.tenant.as_str())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.environment, self.tenant)
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let bad = || BadScope(text.to_owned());
        let (environment, tenant) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self {
            environment: environment.parse().map_err(|_| bad())?,
            tenant: tenant.parse().map_err(|_| bad())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_with_a_slash_and_fill_hosts() {
        let scope: Scope = "qa/uk".parse().unwrap();
        assert_eq!(scope.to_string(), "qa/uk");
        assert_eq!(scope.fill("orders.${environment}.${tenant}.test"), "orders.qa.uk.test");
        assert!("qa".parse::<Scope>().is_err());
    }
}
