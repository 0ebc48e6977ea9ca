//! The SDK's cache behind a real router: what the router says for itself is never taken for what an entity's owner says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use hob_router::Limits;
use hob_sdk::{Cache, CacheOptions, Client, Message, Source};

use crate::harness::{Core, Server, World, config, pool, reply, snapshot, text};

/// An instance that answers with the status that it is told, and counts its requests.
async fn owner() -> (Server, Arc<AtomicU16>, Arc<AtomicUsize>) {
    let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
    let (says, counts) = (Arc::clone(&status), Arc::clone(&asked));
    let server = Server::start(move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
        let mut response = text("{\"n\":7}");
        *response.status_mut() = says.load(Ordering::SeqCst).try_into().unwrap();
        reply(response)
    })
    .await;
    (server, status, asked)
}

/// A cache to which events flow, before `world`'s router.
fn live_cache(world: &World) -> Cache {
    let cache = Cache::new(&Client::for_api(&world.url(""), None).unwrap(), CacheOptions::default());
    cache.apply(&Message::Connected { resumed: true });
    cache.apply(&Message::Heartbeat { head: 1 });
    assert!(cache.is_live());
    cache
}

#[tokio::test]
async fn an_entity_whose_service_has_no_route_yet_is_not_missing() {
    let (owner, _, asked) = owner().await;
    let mut before = snapshot(1, &[owner.address]);
    let routes = std::mem::take(&mut before.routes);
    let core = Core::start(before).await;
    let config = config(core.address, Limits::default());
    let world = World::start_with(core, config).await;
    let (cache, href) = (live_cache(&world), world.url("/orders/7"));
    for _ in 0..2 {
        let error = cache.get(&href).await.unwrap_err();
        assert_eq!((error.status().map(|status| status.as_u16()), error.may_pass()), (Some(404), true));
        assert!(error.to_string().contains("no route covers /orders/7"), "{error}");
    }
    assert_eq!(cache.figures().entities, 0);
    world.core.route(|snapshot| snapshot.routes = routes).await;
    // No event came between: an absence that was kept would still be served.
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Fetched);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_kept_stands_in_while_no_route_leads_to_its_owner() {
    let (owner, status, asked) = owner().await;
    let world = World::start(&[owner.address], Limits::default()).await;
    let (cache, href) = (live_cache(&world), world.url("/orders/7"));
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Fetched);
    world.core.route(|snapshot| snapshot.routes.clear()).await;
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Hit);
    // From here on events may have been missed, so that the owner is asked, whom nothing leads to.
    cache.apply(&Message::Connected { resumed: false });
    let stale = cache.get(&href).await.unwrap();
    assert_eq!((stale.status.as_u16(), stale.source), (200, Source::Stale));
    // The owner's own 404 is another matter: it is kept, and stands in for nothing.
    status.store(404, Ordering::SeqCst);
    let route = snapshot(1, &[]).routes;
    world.core.route(|snapshot| snapshot.routes = route).await;
    cache.apply(&Message::Heartbeat { head: 1 });
    assert_eq!(cache.get(&href).await.unwrap().status, 404);
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Hit);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_failure_of_the_router_is_kept() {
    let limits = Limits { hold: Duration::from_millis(20), ..Limits::default() };
    let (owner, _, asked) = owner().await;
    let world = World::start(&[owner.address], limits).await;
    let (cache, href) = (live_cache(&world), world.url("/orders/7"));
    world.core.route(|snapshot| snapshot.pools = [("orders.qa.uk".to_owned(), pool(&[]))].into()).await;
    let error = cache.get(&href).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(503));
    assert_eq!(cache.figures().entities, 0);
    let address = owner.address;
    world
        .core
        .route(|snapshot| snapshot.pools = [("orders.qa.uk".to_owned(), pool(&[address]))].into())
        .await;
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Fetched);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
