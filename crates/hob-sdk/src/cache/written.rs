//! Which hrefs a request of our own may have changed (RFC 9111 4.4).

use http::{HeaderMap, Uri, header};

/// The target, and what the answer says was made or changed, as far as it is of the same origin.
pub(super) fn hrefs(target: &str, answer: Option<&HeaderMap>) -> Vec<String> {
    let mut hrefs = vec![target.to_owned()];
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let told = answer.and_then(|headers| headers.get(name)?.to_str().ok());
        hrefs.extend(told.and_then(|told| beside(target, told)).filter(|href| *href != target));
    }
    hrefs
}

/// `told` as an href of the same origin as `target`; nothing when it is of another.
fn beside(target: &str, told: &str) -> Option<String> {
    let origin = &target[..origin_length(target)];
    if told.contains("://") {
        let of_same = told.get(..origin.len()).is_some_and(|start| start.eq_ignore_ascii_case(origin));
        let rest = told.get(origin.len()..).unwrap_or_default();
        return (of_same && (rest.is_empty() || rest.starts_with(['/', '?'])))
            .then(|| format!("{origin}{rest}"));
    }
    if told.starts_with("//") {
        return None;
    }
    if told.starts_with('/') {
        return Some(format!("{origin}{told}"));
    }
    let path = target[origin.len()..].split(['?', '#']).next().unwrap_or_default();
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    let href = format!("{origin}{folder}{}", told.trim_start_matches("./"));
    // What climbs (`../`) is left alone: hrefs that services give are absolute.
    (!told.contains("../") && href.parse::<Uri>().is_ok()).then_some(href)
}

fn origin_length(target: &str) -> usize {
    let Some(scheme) = target.find("://") else { return 0 };
    let authority = scheme + 3;
    target[authority..].find(['/', '?', '#']).map_or(target.len(), |end| authority + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood_within_the_origin() {
        let check = |target: &str, told: &str, expect: Option<&str>| {
            assert_eq!(beside(target, told).as_deref(), expect, "{target} {told}");
        };
        let target = "http://city.test/orders?now=1";
        check(target, "http://city.test/orders/7", Some("http://city.test/orders/7"));
        check(target, "HTTP://CITY.test/orders/7", Some("http://city.test/orders/7"));
        check(target, "/orders/7", Some("http://city.test/orders/7"));
        check("http://city.test/orders/", "7", Some("http://city.test/orders/7"));
        check(target, "http://city.test.evil/orders/7", None);
        check(target, "http://other.test/orders/7", None);
        check(target, "//other.test/orders/7", None);
        check(target, "../orders/7", None);
        check("/v1/topics", "/v1/topics/a", Some("/v1/topics/a"));
    }
}
