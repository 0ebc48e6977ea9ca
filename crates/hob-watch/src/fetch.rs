//! The port through which entities are fetched: what answers an href, whoever does the HTTP.

use std::future::Future;
use std::pin::Pin;

/// What a fetch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The representation's ETag.
    pub etag: Option<String>,
    /// The body of a success, at most `hob_core::limits::OBSERVATION_BODY_BYTES_MAX` bytes; none when it is longer.
    pub body: Option<Vec<u8>>,
    /// Why there is no answer or no body.
    pub error: Option<String>,
}

impl Fetched {
    /// No answer, and why.
    pub fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

/// Fetches an entity's representation as JSON. Implementations bound the time and the bytes of one fetch, and resolve
/// a scope's `public_url` to the router.
pub trait Fetch: Send + Sync + 'static {
    /// GETs an href, with `If-None-Match` when an ETag is given. Never fails: failure is a status of 0 and an error.
    fn fetch<'a>(
        &'a self,
        href: &'a str,
        etag: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Fetched> + Send + 'a>>;
}
