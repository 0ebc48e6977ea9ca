//! A representation as it is kept: for which requests, of whom, since when, and what it costs.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::policy::Policy;

/// What a heap block costs beside its contents, roughly.
const BLOCK_BYTES: usize = 16;

/// What an owner answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub(super) modified: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) body: Bytes,
}

impl Stored {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, etag: None, modified: None, media_type: None, body: Bytes::new() }
    }

    /// Whether it says that there is no such entity.
    pub(super) fn is_absence(&self) -> bool {
        self.status == StatusCode::NOT_FOUND || self.status == StatusCode::GONE
    }
}

/// Which representation a reader wants.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) href: &'a str,
    headers: &'a HeaderMap,
    credentials: String,
}

impl<'a> Ask<'a> {
    pub(super) fn new(href: &'a str, headers: &'a HeaderMap) -> Self {
        let mut credentials = String::new();
        for name in [header::AUTHORIZATION, header::COOKIE] {
            if headers.contains_key(&name) {
                credentials.push_str(&String::from_utf8_lossy(&value(headers, &name)));
                credentials.push('\n');
            }
        }
        Self { href, headers, credentials }
    }

    /// Names the request, so that the same one is not sent twice at the same time.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        for (header, value) in self.headers {
            name.push_str(header.as_str());
            name.push(':');
            name.push_str(&String::from_utf8_lossy(value.as_bytes()));
            name.push('\n');
        }
        name
    }
}

/// A representation in the cache.
#[derive(Debug)]
pub(super) struct Variant {
    /// Whose credentials it was fetched with: nobody else sees it.
    pub(super) credentials: Box<str>,
    /// The request's headers that it was chosen by, and what they said.
    pub(super) selected: Vec<(HeaderName, Box<[u8]>)>,
    pub(super) epoch: u64,
    pub(super) generation: u64,
    /// When the fetch began that brought or confirmed it.
    pub(super) begun: Duration,
    /// When that fetch ended.
    pub(super) ended: Duration,
    pub(super) policy: Policy,
    pub(super) stored: Arc<Stored>,
}

impl Variant {
    pub(super) fn new(ask: &Ask<'_>, policy: Policy, stored: Arc<Stored>) -> Self {
        let select = |name: &HeaderName| (name.clone(), value(ask.headers, name).into());
        Self {
            credentials: ask.credentials.as_str().into(),
            selected: policy.vary.iter().map(select).collect(),
            epoch: 0,
            generation: 0,
            begun: Duration::ZERO,
            ended: Duration::ZERO,
            policy,
            stored,
        }
    }

    /// Whether it is what this request would get.
    pub(super) fn fits(&self, ask: &Ask<'_>) -> bool {
        *self.credentials == *ask.credentials
            && self.selected.iter().all(|(name, said)| **said == *value(ask.headers, name))
    }

    /// How old it is by what its owner said.
    pub(super) fn age(&self, now: Duration) -> Duration {
        self.policy.age + now.saturating_sub(self.begun)
    }

    /// Bytes that it holds.
    pub(super) fn cost(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| text.len() + BLOCK_BYTES);
        let selected = self.selected.iter().map(|(name, said)| {
            size_of::<(HeaderName, Box<[u8]>)>() + name.as_str().len() + said.len() + 2 * BLOCK_BYTES
        });
        let stored = &self.stored;
        // A growing list has room for as many again.
        2 * size_of::<Self>()
            + size_of::<Stored>()
            + self.credentials.len()
            + selected.sum::<usize>()
            + self.policy.vary.len() * size_of::<HeaderName>()
            + [&stored.etag, &stored.modified, &stored.media_type].into_iter().map(text).sum::<usize>()
            + stored.body.len()
            + 3 * BLOCK_BYTES
    }
}

/// Whether two entity tags name the same representation, compared weakly as RFC 9110 8.8.3.2 says.
pub(super) fn is_same_tag(one: &str, other: &str) -> bool {
    one.trim_start_matches("W/") == other.trim_start_matches("W/")
}

fn value(headers: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    values.join(&b", "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_representation_fits_requests_that_say_the_same_where_it_matters() {
        let asked = headers(&[("accept", "text/html"), ("accept-language", "en")]);
        let policy = Policy { vary: vec![header::ACCEPT_LANGUAGE], ..Policy::default() };
        let stored = Arc::new(Stored::empty(StatusCode::OK));
        let kept = Variant::new(&Ask::new("http://a/", &asked), policy, stored);
        let check = |lines: &[(&'static str, &str)], expect: bool| {
            assert_eq!(kept.fits(&Ask::new("http://a/", &headers(lines))), expect, "{lines:?}");
        };
        check(&[("accept-language", "en")], true);
        check(&[("accept-language", "de")], false);
        check(&[], false);
        check(&[("accept-language", "en"), ("authorization", "Bearer a")], false);
        check(&[("accept-language", "en"), ("cookie", "a=b")], false);
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(is_same_tag("W/\"a\"", "\"a\"") && !is_same_tag("\"a\"", "\"b\""));
    }
}
