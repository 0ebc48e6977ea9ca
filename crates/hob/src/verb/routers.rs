//! `hob routers` and `hob routes`: what is held, refused and ejected, and why.

use hob_core::Clock;
use hob_wire::{Ejection, Limited, RouteSummary, RouterSummary};

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};

/// Routers and routes that are listed.
const LIST_MAX: usize = 10_000;

pub(crate) async fn routers(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let routers: Vec<RouterSummary> = remote.list("/v1/routers".to_owned(), LIST_MAX).await?;
    if global.json {
        screen::json(&routers);
        return Ok(());
    }
    let rows = routers.iter().map(|router| {
        let state = match (router.live, router.current) {
            (false, _) => "lost",
            (true, false) => "behind",
            (true, true) => "live",
        };
        vec![
            Cell::bold(&router.name),
            Cell::state(state),
            Cell::plain(router.connections),
            Cell::plain(router.in_flight),
            Cell::plain(router.held.values().sum::<u64>()),
            Cell::plain(refused(&router.limited)),
            Cell::plain(ejected(&router.ejected)),
            Cell::dim(router.generation),
        ]
    });
    let head =
        ["router", "state", "connections", "in flight", "held", "refused in 1m", "ejected", "generation"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "no router has reported yet");
    Ok(())
}

pub(crate) async fn routes(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let routes: Vec<RouteSummary> = remote.list("/v1/routes".to_owned(), LIST_MAX).await?;
    if global.json {
        screen::json(&routes);
        return Ok(());
    }
    let rows = routes.iter().map(|route| {
        let mut releases: Vec<String> =
            route.targets.iter().map(|target| target.release.to_string()).collect();
        releases.dedup();
        vec![
            Cell::bold(format!("{}{}", route.route.host.as_deref().unwrap_or("*"), route.route.path)),
            Cell::plain(format!("{} in {}/{}", route.service, route.environment, route.tenant)),
            Cell::plain(route.targets.len()),
            Cell::plain(screen::listed(&releases)),
            Cell::plain(route.in_flight),
            Cell::plain(route.held),
            Cell::plain(refused(&route.limited)),
            Cell::plain(ejected(&route.ejected)),
            Cell::plain(screen::listed(&route.shields)),
        ]
    });
    let head = [
        "route",
        "service",
        "targets",
        "release",
        "in flight",
        "held",
        "refused in 1m",
        "ejected",
        "shields",
    ];
    screen::table(&head, &rows.collect::<Vec<_>>(), "nothing is routed yet; deploy a service with routes");
    Ok(())
}

fn refused(limited: &[Limited]) -> String {
    let words: Vec<String> =
        limited.iter().map(|limited| format!("{} {}", limited.requests, limited.reason)).collect();
    screen::listed(&words)
}

fn ejected(ejected: &[Ejection]) -> String {
    let now = Clock::system().now();
    let word = |ejection: &Ejection| {
        let left =
            hob_core::format_duration(std::time::Duration::from_secs(ejection.until.since(now).as_secs()));
        format!("{} for {left}: {}", ejection.instance, ejection.reason)
    };
    screen::listed(&ejected.iter().map(word).collect::<Vec<_>>())
}
