//! Shields: what people order routers to hold back or to answer themselves.
//!
//! They are kept by id and published in the routing snapshot, where the first that matches counts: the narrower one
//! first, so that a page for one path stands while the rest of a service is held.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hob_core::{Name, Timestamp};
use hob_wire::{Condition, NewShield, Pool, Shield, ShieldKind};

use crate::Error;

/// Shields in force at one time.
pub(crate) const SHIELDS_MAX: usize = 100;
/// Longest that a request may be made to wait.
const HOLD_MAX_MS: u64 = 5 * 60 * 1000;
/// Letters of what people read on a maintenance page.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Seconds after which people may be told to come back.
const RETRY_AFTER_MAX: u32 = 24 * 3600;
/// Letters of a path.
const PATH_CHARS_MAX: usize = 500;

/// Checks an order and makes the shield of it.
pub(crate) fn make(id: &str, new: NewShield, by: String, now: Timestamp) -> Result<Shield, Error> {
    let wrong = |what: String| Err(Error::WrongShield { id: id.to_owned(), what });
    if id.parse::<Name>().is_err() {
        return wrong("its id must be a name: letters, digits and -".to_owned());
    }
    if let Some(path) = &new.path
        && (!path.starts_with('/') || path.chars().count() > PATH_CHARS_MAX)
    {
        return wrong(format!("its path must begin with / and have at most {PATH_CHARS_MAX} letters"));
    }
    match &new.kind {
        ShieldKind::Hold { max_ms } if !(1..=HOLD_MAX_MS).contains(max_ms) => {
            let most = hob_core::format_duration(std::time::Duration::from_millis(HOLD_MAX_MS));
            return wrong(format!("requests may wait for 1ms to {most}"));
        }
        ShieldKind::Maintenance { message, .. } if message.chars().count() > MESSAGE_CHARS_MAX => {
            return wrong(format!("its message may have {MESSAGE_CHARS_MAX} letters"));
        }
        ShieldKind::Maintenance { retry_after, .. } if *retry_after > RETRY_AFTER_MAX => {
            return wrong(format!("people may be told to come back after at most {RETRY_AFTER_MAX} seconds"));
        }
        _ => {}
    }
    let NewShield { service, environment, tenant, path, kind } = new;
    Ok(Shield { id: id.to_owned(), service, environment, tenant, path, kind, since: now, by })
}

/// The shields in the order in which they count: the narrower first; of equals, the newer.
pub(crate) fn in_order(shields: &BTreeMap<String, Shield>) -> Vec<Shield> {
    let mut ordered: Vec<Shield> = shields.values().cloned().collect();
    ordered.sort_by_key(|shield| {
        let path = shield.path.as_ref().map_or(0, String::len);
        let named = [shield.tenant.is_some(), shield.service.is_some(), shield.environment.is_some()];
        Reverse((path, named, shield.since))
    });
    ordered
}

/// Whether a shield is about a pool, whatever the path.
pub(crate) fn covers(shield: &Shield, pool: &Pool) -> bool {
    let fits = |wanted: &Option<Name>, name: &Name| wanted.as_ref().is_none_or(|wanted| wanted == name);
    fits(&shield.service, &pool.service)
        && fits(&shield.environment, &pool.scope.environment)
        && fits(&shield.tenant, &pool.scope.tenant)
}

/// Whether a shield may count for requests at or below a route's path.
pub(crate) fn covers_route(shield: &Shield, pool: &Pool, path: &str) -> bool {
    let below = |outer: &str, inner: &str| {
        let outer = outer.trim_end_matches('/');
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let meets = |wanted: &String| below(wanted, path) || below(path, wanted);
    covers(shield, pool) && shield.path.as_ref().is_none_or(meets)
}

/// That a shield is in force.
pub(crate) fn condition(shield: &Shield) -> Condition {
    let what = match &shield.kind {
        ShieldKind::Hold { max_ms } => {
            let most = hob_core::format_duration(std::time::Duration::from_millis(*max_ms));
            format!("requests {} wait, {most} at most", about(shield))
        }
        ShieldKind::Maintenance { .. } => format!("requests {} get a maintenance page", about(shield)),
    };
    Condition {
        subject: format!("shield/{}", shield.id),
        condition: word(shield).to_owned(),
        active: true,
        reason: format!("{what}, ordered by {} at {}", shield.by, shield.since),
        environment: shield.environment.clone().filter(|_| shield.tenant.is_some()),
        tenant: shield.tenant.clone().filter(|_| shield.environment.is_some()),
    }
}

fn word(shield: &Shield) -> &'static str {
    match shield.kind {
        ShieldKind::Hold { .. } => "hold",
        ShieldKind::Maintenance { .. } => "maintenance",
    }
}

fn about(shield: &Shield) -> String {
    let mut words = match &shield.service {
        Some(service) => format!("for {service}"),
        None => "for every service".to_owned(),
    };
    let mut add = |word: &str, value: Option<&str>| {
        if let Some(value) = value {
            words.push_str(&format!(" {word} {value}"));
        }
    };
    add("at", shield.path.as_deref());
    add("of", shield.tenant.as_ref().map(Name::as_str));
    add("in", shield.environment.as_ref().map(Name::as_str));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(path: Option<&str>, tenant: Option<&str>, max_ms: u64) -> NewShield {
        NewShield {
            service: Some("orders".parse().unwrap()),
            environment: None,
            tenant: tenant.map(|tenant| tenant.parse().unwrap()),
            path: path.map(str::to_owned),
            kind: ShieldKind::Hold { max_ms },
        }
    }

    fn shield(id: &str, path: Option<&str>, tenant: Option<&str>, second: i64) -> (String, Shield) {
        let now = Timestamp::from_micros(second * 1_000_000);
        (id.to_owned(), make(id, order(path, tenant, 1000), "ann".to_owned(), now).unwrap())
    }

    #[test]
    fn the_narrower_counts_first_and_of_equals_the_newer() {
        let shields = BTreeMap::from([
            shield("all", None, None, 1),
            shield("newer", None, None, 2),
            shield("path", Some("/orders"), None, 1),
            shield("deep", Some("/orders/history"), None, 1),
            shield("tenant", None, Some("uk"), 1),
        ]);
        let ids: Vec<String> = in_order(&shields).into_iter().map(|shield| shield.id).collect();
        assert_eq!(ids, ["deep", "path", "tenant", "newer", "all"]);
    }

    #[test]
    fn what_is_over_a_limit_is_refused_with_the_limit() {
        let made = |id: &str, path: Option<&str>, max_ms| {
            make(id, order(path, None, max_ms), "ann".to_owned(), Timestamp::EPOCH).map(|_| ())
        };
        let check = |id: &str, path: Option<&str>, max_ms, words: &str| {
            let error = made(id, path, max_ms).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        assert!(made("a", Some("/x"), HOLD_MAX_MS).is_ok());
        check("a", None, HOLD_MAX_MS + 1, "5m");
        check("a", None, 0, "1ms");
        check("no id", None, 1, "name");
        check("a", Some("x"), 1, "begin with /");
        check("a", Some(&format!("/{}", "x".repeat(PATH_CHARS_MAX))), 1, "500");
        let page = |message: String, retry_after| NewShield {
            kind: ShieldKind::Maintenance { message, retry_after },
            ..order(None, None, 1)
        };
        let make = |new| super::make("a", new, "ann".to_owned(), Timestamp::EPOCH);
        assert!(make(page("x".repeat(MESSAGE_CHARS_MAX), RETRY_AFTER_MAX)).is_ok());
        assert!(make(page("x".repeat(MESSAGE_CHARS_MAX + 1), 1)).is_err());
        assert!(make(page(String::new(), RETRY_AFTER_MAX + 1)).is_err());
    }

    #[test]
    fn a_shield_meets_the_routes_above_and_below_its_path() {
        let pool = Pool::new("orders".parse().unwrap(), "qa/uk".parse().unwrap(), Vec::new());
        let meets = |shield: Option<&str>, route: &str| {
            covers_route(&super::tests::shield("a", shield, None, 0).1, &pool, route)
        };
        assert!(meets(None, "/orders"));
        assert!(meets(Some("/orders/history"), "/orders"));
        assert!(meets(Some("/"), "/orders"));
        assert!(meets(Some("/orders"), "/orders/history"));
        assert!(!meets(Some("/orders"), "/orders-api"));
        assert!(!covers(&super::tests::shield("a", None, Some("ie"), 0).1, &pool));
    }
}
