//! Which pool a request belongs to, compiled once per snapshot: the longest path that covers the request's wins, and
//! among equals one with a host.
//!
//! Paths are compared as they were written; nothing is decoded or normalised, so that an instance sees exactly what was
//! routed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Retry, Route};

use crate::instance::Instance;
use crate::limiter::Limiter;
use crate::lobby::Lobby;
use crate::shares::Shares;
use crate::shield::Guard;

/// A compiled snapshot.
pub(crate) struct Table {
    /// Counts the tables of this process; see [`crate::fleet`].
    pub(crate) epoch: u64,
    /// The snapshot's generation, as the core numbers it.
    pub(crate) generation: u64,
    pub(crate) routes: Routes<Arc<Way>>,
    /// What is held back or answered by the router itself; nearly always none.
    pub(crate) guards: Vec<Arc<Guard>>,
}

/// Where a route leads, and on what terms.
pub(crate) struct Way {
    pub(crate) pool: Arc<Pool>,
    pub(crate) retry: Retry,
    /// Until an answer must have begun; the router's own limit when left out.
    pub(crate) timeout: Option<Duration>,
    pub(crate) limiter: Option<Arc<Limiter>>,
}

/// The instances of a service in a scope.
pub(crate) struct Pool {
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) instances: Vec<Arc<Instance>>,
    pub(crate) shares: Shares,
}

/// Values by host and path.
pub(crate) struct Routes<T> {
    by_path: HashMap<String, AtPath<T>>,
    /// No prefix longer than this needs to be looked up.
    path_bytes_max: usize,
}

struct AtPath<T> {
    any_host: Option<T>,
    by_host: HashMap<String, T>,
}

impl<T> Routes<T> {
    /// Compiles routes; of two that are equal the first counts.
    pub(crate) fn compile<'a>(routes: impl IntoIterator<Item = (&'a Route, T)>) -> Self {
        let mut by_path = HashMap::new();
        let mut path_bytes_max = 0;
        for (route, value) in routes {
            let path = route.path.trim_end_matches('/');
            path_bytes_max = path_bytes_max.max(path.len());
            let at = by_path
                .entry(path.to_owned())
                .or_insert_with(|| AtPath { any_host: None, by_host: HashMap::new() });
            match &route.host {
                None => _ = at.any_host.get_or_insert(value),
                Some(host) => _ = at.by_host.entry(host.to_ascii_lowercase()).or_insert(value),
            }
        }
        Self { by_path, path_bytes_max }
    }

    /// What a request for `host` (without port, in lower case) and `path` leads to.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&T> {
        let path = path.as_bytes();
        let longest = path.len().min(self.path_bytes_max);
        // A prefix counts where the path ends or a segment begins, so each candidate ends before a slash or at the end.
        (0..=longest).rev().filter(|end| path.get(*end).is_none_or(|byte| *byte == b'/')).find_map(|end| {
            let prefix = std::str::from_utf8(&path[..end]).ok()?;
            let at = self.by_path.get(prefix)?;
            // Most tables know no hosts; then there is nothing to hash.
            let of_host = if at.by_host.is_empty() { None } else { at.by_host.get(host) };
            of_host.or(at.any_host.as_ref())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(host: Option<&str>, path: &str) -> Route {
        Route {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            pool: String::new(),
            ..Default::default()
        }
    }

    fn compile(routes: &[Route]) -> Routes<usize> {
        Routes::compile(routes.iter().enumerate().map(|(at, route)| (route, at)))
    }

    #[test]
    fn longest_path_then_host() {
        let routes = [
            route(None, "/"),
            route(None, "/orders"),
            route(Some("Shop.example"), "/orders"),
            route(Some("shop.example"), "/"),
            route(None, "/orders/late/"),
        ];
        let table = compile(&routes);
        let check = |host: &str, path: &str, at: usize| {
            assert_eq!(table.find(host, path), Some(&at), "{host}{path}");
        };
        check("a.example", "/", 0);
        check("a.example", "/orders-api", 0);
        check("a.example", "/orders", 1);
        check("a.example", "/orders/", 1);
        check("a.example", "/orders/7", 1);
        check("shop.example", "/orders/7", 2);
        check("shop.example", "/ordersx", 3);
        check("shop.example", "/orders/late", 4);
        check("shop.example", "/orders/late/1", 4);
        assert_eq!(compile(&routes[1..2]).find("a.example", "/"), None);
    }

    fn naive(routes: &[Route], host: &str, path: &str) -> Option<usize> {
        let covers = |route: &Route| {
            let prefix = route.path.trim_end_matches('/');
            let is_host = route.host.as_deref().is_none_or(|wanted| wanted == host);
            is_host && (path == prefix || path.starts_with(&format!("{prefix}/")))
        };
        let rank = |route: &Route| (route.path.trim_end_matches('/').len(), route.host.is_some());
        let best = routes.iter().filter(|route| covers(route)).map(rank).max()?;
        routes.iter().position(|route| covers(route) && rank(route) == best)
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_looking_at_every_route(
            specs in prop::collection::vec((prop::option::of("[ab]"), "(/[ab]{1,2}){0,3}/?"), 0..12),
            host in "[abc]", path in "(/[ab]{0,2}){1,4}",
        ) {
            let routes: Vec<Route> =
                specs.iter().map(|(host, path)| route(host.as_deref(), path)).collect();
            prop_assert_eq!(compile(&routes).find(&host, &path).copied(), naive(&routes, &host, &path));
        }
    }
}
