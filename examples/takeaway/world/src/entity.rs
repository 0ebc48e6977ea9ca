//! The JSON of the entities that the domain services own, and how a change turns one state of an entity into the next.
//!
//! The city tells of changes; each domain service applies them to its stored entity with [`Entity::changed`] and serves
//! [`Entity::to_hal`]. A change may arrive twice: the second time is [`Applied::Already`] and alters nothing.

mod order;
mod restaurant;
mod rider;
mod zone;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) use order::DISPATCH_AHEAD_MINUTES;
pub use order::{NewOrder, Order, OrderChange, OrderState, acceptable_minutes};
pub use restaurant::{Restaurant, RestaurantChange, Ticket};
pub use rider::{CarriedOrder, Rider, RiderChange, RiderState};
pub use zone::{WaitingFor, Zone, ZoneChange};

/// What became of a change that was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The entity is different now.
    Changed,
    /// The entity had this change before, so nothing was altered.
    Already,
}

/// A change that does not fit the entity as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// Only the change that creates an entity may come before it exists.
    #[error("apply {change} to {entity}, which does not exist yet")]
    Unknown {
        /// The entity's name, such as `o12`.
        entity: String,
        /// The change's name.
        change: &'static str,
    },
    /// The entity's state does not allow this change.
    #[error("apply {change} to {entity}, which is {state}")]
    State {
        /// The entity's name, such as `o12`.
        entity: String,
        /// The change's name.
        change: &'static str,
        /// The state that it is in.
        state: String,
    },
    /// The change is older than what the entity has seen.
    #[error("apply {change} to {entity}, which has seen a later change")]
    Backwards {
        /// The entity's name, such as `o12`.
        entity: String,
        /// The change's name.
        change: &'static str,
    },
}

/// An entity of a domain service: JSON with links, altered only by its own kind of change.
pub trait Entity: Sized + Clone + PartialEq + Serialize + DeserializeOwned {
    /// Its name.
    type Id: Copy + Ord + std::fmt::Display;
    /// What can happen to it.
    type Change: Clone + Serialize + DeserializeOwned;

    /// The first segment of its path, such as `orders`.
    const COLLECTION: &'static str;

    /// Its name.
    fn id(&self) -> Self::Id;

    /// The entity that `change` creates.
    ///
    /// # Errors
    /// When `change` is not the one that creates.
    fn created(id: Self::Id, change: &Self::Change) -> Result<Self, Illegal>;

    /// Alters the entity, or leaves it as it was when it has had this change before.
    ///
    /// # Errors
    /// When the change does not fit the state; the entity is then as it was.
    fn apply(&mut self, change: &Self::Change) -> Result<Applied, Illegal>;

    /// The relations to other entities, as HAL links.
    fn links(&self, origin: &str) -> Map<String, Value>;

    /// The entity after `change`, whether or not it existed before.
    ///
    /// # Errors
    /// When the change does not fit.
    fn changed(
        before: Option<Self>,
        id: Self::Id,
        change: &Self::Change,
    ) -> Result<(Self, Applied), Illegal> {
        match before {
            None => Ok((Self::created(id, change)?, Applied::Changed)),
            Some(mut entity) => {
                let applied = entity.apply(change)?;
                Ok((entity, applied))
            }
        }
    }

    /// The absolute address of an entity under an origin such as `http://localhost:8080`.
    fn href(origin: &str, id: Self::Id) -> String {
        format!("{}/{}/{id}", origin.trim_end_matches('/'), Self::COLLECTION)
    }

    /// The entity as a HAL resource: its fields, and `_links` with `self` and its relations.
    fn to_hal(&self, origin: &str) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_else(|_| json!({}));
        let mut links = Map::new();
        links.insert("self".to_string(), link(Self::href(origin, self.id())));
        links.extend(self.links(origin));
        if let Value::Object(fields) = &mut value {
            fields.insert("_links".to_string(), Value::Object(links));
        }
        value
    }
}

fn link(href: String) -> Value {
    json!({ "href": href })
}

/// The link to something that can be done about an entity now: a POST to it does that.
fn action<E: Entity>(origin: &str, id: E::Id, relation: &str, title: &str) -> Value {
    let origin = origin.trim_end_matches('/');
    let href = format!("{origin}/city/{}/{id}/{relation}", E::COLLECTION);
    json!({ "href": href, "method": "POST", "title": title })
}
