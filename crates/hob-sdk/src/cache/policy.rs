//! What an answer's headers allow a private cache to do with it: RFC 9111, without heuristics.

use std::time::Duration;

use hob_core::Timestamp;
use http::{HeaderMap, HeaderName, StatusCode, header};

/// Headers that the client adds to every call by itself. An answer that varies by one of them fits no second call.
const OF_EACH_CALL: [&str; 2] = ["x-request-id", "traceparent"];
/// Seconds beyond which a time limit means the same: the greatest that RFC 9111 1.2.2 asks caches to know.
const SECONDS_MAX: u64 = 1 << 31;

/// What may be done with a representation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    /// Whether it may be kept at all.
    pub(super) may_store: bool,
    /// The request's headers that it was chosen by.
    pub(super) vary: Vec<HeaderName>,
    /// How old it may become; nothing when the answer does not say.
    pub(super) lifetime: Option<Duration>,
    /// How old it was when its fetch began.
    pub(super) age: Duration,
    /// Its owner wants to be asked each time, and no stand-in.
    pub(super) no_cache: bool,
    /// Its owner wants no stand-in once it is too old.
    pub(super) must_revalidate: bool,
    /// How long beyond its lifetime it may stand in for an owner that does not answer.
    pub(super) stale_if_error: Option<Duration>,
    /// Whether the answer said anything about all this; a 304 that does not leaves it as it was.
    pub(super) is_told: bool,
}

impl Policy {
    /// Reads the headers of an answer that arrived at `arrived`.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, arrived: Timestamp) -> Self {
        let control = joined(headers, &header::CACHE_CONTROL);
        let mut policy = Self {
            may_store: is_cacheable(status),
            age: age(headers, arrived),
            is_told: !control.is_empty() || headers.contains_key(header::EXPIRES),
            ..Self::default()
        };
        for directive in directives(&control) {
            policy.take(directive);
        }
        if policy.lifetime.is_none() && headers.contains_key(header::EXPIRES) {
            policy.lifetime = Some(until_expiry(headers).unwrap_or_default());
        }
        let vary = joined(headers, &header::VARY).to_ascii_lowercase();
        for name in vary.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match HeaderName::try_from(name) {
                Ok(name) if name != "*" && !OF_EACH_CALL.contains(&name.as_str()) => policy.vary.push(name),
                // `*`, or a name that is none: nothing tells which requests it fits.
                _ => policy.may_store = false,
            }
        }
        policy
    }

    fn take(&mut self, directive: &str) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let value = value.trim().trim_matches('"');
        // A number that cannot be read means the least.
        let seconds = || Duration::from_secs(value.parse::<u64>().unwrap_or(0).min(SECONDS_MAX));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.may_store = false,
            // Naming headers it forbids only these; we do not tell them apart.
            "no-cache" => self.no_cache = true,
            "must-revalidate" => self.must_revalidate = true,
            "max-age" => self.lifetime = Some(self.lifetime.map_or(seconds(), |other| other.min(seconds()))),
            "stale-if-error" => self.stale_if_error = Some(seconds()),
            // s-maxage and proxy-revalidate are for shared caches; the others ask nothing of us.
            _ => {}
        }
    }

    /// The policy once a 304 has confirmed the representation (RFC 9111 4.3.4).
    pub(super) fn confirmed(self, by: Self) -> Self {
        let age = by.age;
        if by.is_told {
            Self { vary: self.vary, may_store: by.may_store, ..by }
        } else {
            Self { age, ..self }
        }
    }

    /// Whether it may be served without asking, `since` after its fetch began.
    pub(super) fn is_fresh(&self, since: Duration) -> bool {
        !self.no_cache && self.lifetime.is_some_and(|lifetime| self.age + since < lifetime)
    }

    /// Whether it may stand in for an owner that does not answer; `default` is for answers that do not say.
    pub(super) fn may_stand_in(&self, since: Duration, default: Duration) -> bool {
        let beyond = self.stale_if_error.unwrap_or(default);
        let limit = self.lifetime.unwrap_or_default().saturating_add(beyond);
        !self.no_cache && (self.is_fresh(since) || !self.must_revalidate && self.age + since < limit)
    }
}

/// Answers that are understood and complete: others are handed through.
fn is_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 304 | 404 | 410)
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// The parts between commas that do not stand in quotes.
fn directives(control: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    control.split(move |letter| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    })
}

/// How old an answer is on arrival: what it says itself, or what its date says when that is more (RFC 9111 4.2.3). Time
/// on the way is counted from when the fetch began.
fn age(headers: &HeaderMap, arrived: Timestamp) -> Duration {
    let told = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok());
    let told = Duration::from_secs(told.unwrap_or(0).min(SECONDS_MAX));
    let date = headers.get(header::DATE).and_then(|date| http_date(date.to_str().ok()?));
    // Dates count whole seconds.
    let apparent = date.map_or(0, |date| (arrived.as_micros() / 1_000_000 - date - 1).max(0));
    told.max(Duration::from_secs(apparent.unsigned_abs()))
}

fn until_expiry(headers: &HeaderMap) -> Option<Duration> {
    let date = |name| http_date(headers.get(name)?.to_str().ok()?);
    let seconds = date(header::EXPIRES)? - date(header::DATE)?;
    u64::try_from(seconds).ok().map(|seconds| Duration::from_secs(seconds.min(SECONDS_MAX)))
}

/// Seconds since 1970 of a date as in `Sun, 06 Nov 1994 08:49:37 GMT`. The two older forms count as unreadable, so that
/// what carries them counts as old.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.trim().strip_suffix(" GMT")?.split_once(", ")?.1.split(' ');
    let day: u32 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = 1 + MONTHS.iter().position(|month| *month == name)?;
    let (year, time): (u32, &str) = (words.next()?.parse().ok()?, words.next()?);
    if words.next().is_some() || year > 9999 {
        return None;
    }
    let rfc3339 = format!("{year:04}-{month:02}-{day:02}T{time}Z");
    rfc3339.parse::<Timestamp>().ok().map(|time| time.as_micros() / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 784_111_777;

    fn policy(lines: &[(&str, &str)]) -> Policy {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Policy::of(StatusCode::OK, &headers, Timestamp::from_micros(NOW * 1_000_000))
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lifetimes_are_read_and_nothing_is_guessed() {
        let check = |lines: &[(&str, &str)], lifetime: Option<u64>| {
            assert_eq!(policy(lines).lifetime, lifetime.map(secs), "{lines:?}");
        };
        check(&[], None);
        check(&[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], None);
        check(&[("cache-control", "max-age=60")], Some(60));
        check(&[("cache-control", "private, Max-Age=\"60\"")], Some(60));
        check(&[("cache-control", "s-maxage=60")], None);
        check(&[("cache-control", "s-maxage=90, max-age=5")], Some(5));
        check(&[("cache-control", "max-age=60"), ("cache-control", "max-age=5")], Some(5));
        check(&[("cache-control", "max-age=soon")], Some(0));
        check(&[("cache-control", "x=\"max-age=60, no-store\"")], None);
        check(&[("cache-control", "max-age=60"), ("expires", "0")], Some(60));
        check(&[("expires", "0")], Some(0));
        let dates = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")];
        check(&dates, Some(60));
        assert!(policy(&[("cache-control", "x=\"no-store, y\"")]).may_store);
    }

    #[test]
    fn age_is_what_it_says_or_what_its_date_says() {
        assert_eq!(policy(&[("age", "7")]).age, secs(7));
        assert_eq!(policy(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "7")]).age, secs(29));
        assert_eq!(policy(&[("date", "Sun, 06 Nov 1994 08:49:47 GMT")]).age, secs(0));
        assert_eq!(policy(&[("date", "Sunday, 06-Nov-94 08:49:07 GMT"), ("age", "old")]).age, secs(0));
        let old = policy(&[("cache-control", "max-age=60"), ("age", "50")]);
        assert!(old.is_fresh(secs(9)) && !old.is_fresh(secs(10)));
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        for line in [
            ("cache-control", "no-store"),
            ("cache-control", "max-age=9, No-Store"),
            ("vary", "*"),
            ("vary", "accept, *"),
            ("vary", "accept, x-request-id"),
        ] {
            assert!(!policy(&[line]).may_store, "{line:?}");
        }
        assert_eq!(policy(&[("vary", "Accept, accept-language")]).vary, ["accept", "accept-language"]);
        let partial = Policy::of(StatusCode::PARTIAL_CONTENT, &HeaderMap::new(), Timestamp::EPOCH);
        assert!(!partial.may_store);
    }

    #[test]
    fn stand_ins_are_allowed_unless_forbidden() {
        let check = |control: &str, since: u64, expect: bool| {
            assert_eq!(
                policy(&[("cache-control", control)]).may_stand_in(secs(since), secs(100)),
                expect,
                "{control} {since}"
            );
        };
        check("", 99, true);
        check("", 100, false);
        check("max-age=10", 109, true);
        check("max-age=10, must-revalidate", 9, true);
        check("max-age=10, must-revalidate", 10, false);
        check("no-cache", 0, false);
        check("max-age=10, stale-if-error=5", 14, true);
        check("max-age=10, stale-if-error=5", 15, false);
    }

    #[test]
    fn a_confirmation_renews_what_it_says_and_leaves_the_rest() {
        let kept = policy(&[("cache-control", "max-age=60"), ("vary", "accept"), ("age", "50")]);
        let silent = kept.clone().confirmed(policy(&[]));
        assert_eq!((silent.lifetime, silent.age, silent.vary.len()), (Some(secs(60)), secs(0), 1));
        let told = kept.confirmed(policy(&[("cache-control", "no-cache")]));
        assert_eq!((told.lifetime, told.no_cache, told.vary.len()), (None, true, 1));
    }
}
