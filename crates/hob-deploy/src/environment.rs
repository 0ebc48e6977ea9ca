//! The environment of an instance, apart from what only its agent knows (`PORT`, `TMPDIR`, `DATA_DIR` and the like).

use std::collections::BTreeMap;

use hob_core::Digest;
use hob_wire::{Platform, Service};

use crate::model::ReleaseRow;
use crate::tokens::Tokens;
use crate::{Config, ServiceScope};

/// The service's own configuration with what the caller of a deploy overrode, and its digest.
pub fn resolve(
    descriptor: &Service,
    overrides: BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Digest) {
    let mut env = descriptor.env.clone();
    env.extend(overrides);
    let text = serde_json::to_vec(&env).expect("a map of texts is JSON");
    (env, Digest::of(&text))
}

/// What one instance gets. Hob's own names win over the service's.
pub(crate) fn of_instance(
    config: &Config,
    platform: Option<&Platform>,
    tokens: &Tokens,
    home: &ServiceScope,
    release: &ReleaseRow,
    instance: &str,
    process: &str,
) -> BTreeMap<String, String> {
    let public_url = platform.and_then(|platform| platform.public_url.as_deref());
    let public_url = public_url.map_or_else(|| config.router_url.clone(), |url| home.scope.fill(url));
    let own = [
        ("HOB_URL", config.api_url.clone()),
        ("HOB_ROUTER_URL", config.router_url.clone()),
        ("HOB_PUBLIC_URL", public_url),
        ("HOB_TOKEN", tokens.mint(instance).expose().to_owned()),
        ("HOB_SERVICE", home.service.to_string()),
        ("HOB_PROCESS", process.to_owned()),
        ("HOB_ENVIRONMENT", home.scope.environment.to_string()),
        ("HOB_TENANT", home.scope.tenant.to_string()),
        ("HOB_RELEASE", release.number.to_string()),
        ("HOB_INSTANCE", instance.to_owned()),
    ];
    let mut env = release.env.clone();
    env.extend(own.map(|(key, value)| (key.to_owned(), value)));
    let ca_file = config.ca_file.as_ref().map(|path| path.display().to_string());
    env.extend(ca_file.map(|path| ("HOB_CA_FILE".to_owned(), path)));
    env
}
