//! Layers of `service.yml`: what one environment, one tenant or one scope has otherwise. Each is merged over the
//! descriptor as RFC 7396 merges JSON: maps key by key, `null` takes a key away, anything else takes the place of
//! what was there. Nodes keep their places, so a flaw is told where it stands.

use hob_core::{Name, Scope, nearest};

use crate::yaml::{Flaws, Node, Value};

/// Layers of one kind.
const LAYERS_MAX: usize = 64;
/// Keys of layers themselves.
pub(super) const KEYS: [&str; 3] = ["environments", "tenants", "overrides"];
/// What a layer may say: how a service runs, not what it is.
const LAYERED: &[&str] = &["processes", "env", "sandbox", "health", "warmup", "drain", "release", "scale"];

/// All layers of a descriptor, each with where it applies.
#[derive(Default)]
pub(super) struct Layers<'n> {
    environments: Vec<(Name, &'n Node)>,
    tenants: Vec<(Name, &'n Node)>,
    overrides: Vec<(Scope, &'n Node)>,
}

impl<'n> Layers<'n> {
    /// Finds the layers of a document and tells what they may not say.
    pub(super) fn find(document: &'n Node, flaws: &mut Flaws) -> Self {
        let mut layers = Self::default();
        for (kind, key) in KEYS.iter().enumerate() {
            let Some(node) = document.get(key).filter(|node| !node.is_null()) else { continue };
            let entries = node.entries(flaws);
            if entries.len() > LAYERS_MAX {
                flaws.at(node, format!("at most {LAYERS_MAX} may stand here, found {}", entries.len()));
            }
            for (name, layer) in entries.iter().take(LAYERS_MAX) {
                check(layer, flaws);
                match kind {
                    0 => layers.environments.extend(name.parse(flaws).map(|name| (name, layer))),
                    1 => layers.tenants.extend(name.parse(flaws).map(|name| (name, layer))),
                    _ => layers.overrides.extend(name.parse(flaws).map(|scope| (scope, layer))),
                }
            }
        }
        layers
    }

    /// The descriptor as it is in a scope: environment, then tenant, then both.
    pub(super) fn apply(&self, document: &Node, scope: &Scope) -> Node {
        let environment = self.environments.iter().filter(|(name, _)| *name == scope.environment);
        let tenant = self.tenants.iter().filter(|(name, _)| *name == scope.tenant);
        let both = self.overrides.iter().filter(|(other, _)| other == scope);
        let layers = environment.chain(tenant).map(|(_, node)| *node).chain(both.map(|(_, node)| *node));
        layers.fold(document.clone(), merge)
    }

    /// The descriptor with each layer by itself.
    pub(super) fn each<'l>(&'l self, document: &'l Node) -> impl Iterator<Item = Node> + 'l {
        let named = self.environments.iter().chain(&self.tenants).map(|(_, node)| *node);
        let all = named.chain(self.overrides.iter().map(|(_, node)| *node));
        all.map(|layer| merge(document.clone(), layer))
    }
}

fn check(layer: &Node, flaws: &mut Flaws) {
    for (key, _) in layer.entries(flaws) {
        let Some(text) = key.text(flaws) else { continue };
        if LAYERED.contains(&text) || text.starts_with("x-") {
            continue;
        }
        let hint = match nearest(text, LAYERED.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it may say {}", LAYERED.join(", ")),
        };
        flaws.hint(key, format!("`{text}` is the same everywhere"), hint);
    }
}

/// RFC 7396, section 2. A key that the descriptor has keeps its place, so that what is missing is told there.
fn merge(base: Node, patch: &Node) -> Node {
    let Value::Map(changes) = &patch.value else { return patch.clone() };
    let mut entries = match base.value {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    };
    for (key, change) in changes {
        let known = entries.iter().position(|(other, _)| is_same(other, key));
        match known {
            Some(at) if change.is_null() => drop(entries.remove(at)),
            Some(at) => {
                let (name, old) = entries.remove(at);
                entries.insert(at, (name, merge(old, change)));
            }
            None if change.is_null() => {}
            None => {
                let nothing = Node { value: Value::Map(Vec::new()), ..change.clone() };
                entries.push((key.clone(), merge(nothing, change)));
            }
        }
    }
    Node { value: Value::Map(entries), line: base.line, column: base.column }
}

fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Scalar { text: one, .. }, Value::Scalar { text: other, .. }) => one == other,
        _ => false,
    }
}
