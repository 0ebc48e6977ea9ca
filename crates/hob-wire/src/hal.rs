//! Links in resources, as the Hypertext Application Language writes them (draft-kelly-json-hal).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A link to another resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// The address, absolute or relative to the API's origin.
    pub href: String,
}

/// Links by relation.
pub type Links = BTreeMap<String, Link>;

/// A resource and its links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Resource")]
pub struct Hal<T> {
    /// The resource's own members.
    #[serde(flatten)]
    pub body: T,
    /// Where to go from here; always holds `self`.
    #[serde(rename = "_links", default)]
    pub links: Links,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items of this page, oldest first unless the resource says otherwise.
    pub items: Vec<Hal<T>>,
    /// `self`, and `next` while there is more. The same stand in the `Link` header.
    #[serde(rename = "_links", default)]
    pub links: Links,
}

impl<T> Hal<T> {
    /// The media type of a resource with links.
    pub const MEDIA_TYPE: &'static str = "application/hal+json";

    /// A resource at `href`.
    pub fn new(body: T, href: impl Into<String>) -> Self {
        Self { body, links: Links::from([("self".to_owned(), Link { href: href.into() })]) }
    }

    /// The same resource with one more link.
    #[must_use]
    pub fn link(mut self, relation: &str, href: impl Into<String>) -> Self {
        self.links.insert(relation.to_owned(), Link { href: href.into() });
        self
    }
}
