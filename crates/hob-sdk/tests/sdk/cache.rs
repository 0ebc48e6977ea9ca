//! The cache against a real owner and a real event stream.

use hob_sdk::events::from_now_on;
use hob_sdk::{Cache, CacheOptions, Client, Source};
use serde_json::Value;

use crate::bus::{Bus, until};

async fn live_cache(bus: &Bus) -> Cache {
    let spec = from_now_on(&["things"]).unwrap();
    let cache = Cache::following(&bus.client(), "things.cache", spec, CacheOptions::default());
    until("events flow", async || cache.is_live()).await;
    cache
}

async fn version(cache: &Cache, href: &str) -> u64 {
    cache.get(href).await.unwrap().json::<Value>().unwrap()["version"].as_u64().unwrap()
}

#[tokio::test]
async fn a_warm_page_of_a_hundred_asks_nobody_and_is_fresh_after_an_event() {
    let bus = Bus::start().await;
    let names: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
    for name in &names {
        bus.shared.entities.lock().unwrap().insert(name.clone(), 1);
    }
    let cache = live_cache(&bus).await;
    let hrefs: Vec<String> = names.iter().map(|name| bus.href(name)).collect();
    let first = cache.get_many(&hrefs).await;
    assert!(first.iter().all(|read| read.as_ref().is_ok_and(|cached| cached.source == Source::Fetched)));
    assert_eq!(bus.fetches(), 100);
    let second = cache.get_many(&hrefs).await;
    assert!(second.iter().all(|read| read.as_ref().is_ok_and(|cached| cached.source == Source::Hit)));
    assert_eq!(bus.fetches(), 100);

    bus.change("t7");
    until("the change is seen", async || version(&cache, &hrefs[7]).await == 2).await;
    assert_eq!(bus.fetches(), 101);
    let figures = cache.figures();
    assert_eq!((figures.misses, figures.entities), (101, 100));
    assert!(figures.bytes > 0 && figures.hits >= 100);
}

#[tokio::test]
async fn many_readers_of_one_href_share_one_fetch() {
    let bus = Bus::start().await;
    bus.shared.entities.lock().unwrap().insert("t1".to_owned(), 1);
    // Nobody follows events: also then, those who wait are served with what came after they asked.
    let cache = Cache::new(&bus.client(), CacheOptions::default());
    let hrefs = vec![bus.href("t1"); 16];
    let reads = cache.get_many(&hrefs).await;
    assert!(reads.iter().all(Result::is_ok));
    assert_eq!(bus.fetches(), 1);
    assert_eq!(cache.get(&hrefs[0]).await.unwrap().source, Source::Revalidated);
    assert!(bus.shared.fetches.lock().unwrap()[1].contains_key("if-none-match"));
}

#[tokio::test]
async fn absence_is_kept_until_the_entity_comes_to_be() {
    let bus = Bus::start().await;
    let cache = live_cache(&bus).await;
    let href = bus.href("t1");
    assert_eq!(cache.get(&href).await.unwrap().status, 404);
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Hit);
    bus.change("t1");
    until("it is there", async || cache.get(&href).await.unwrap().status == 200).await;
}

#[tokio::test]
async fn changes_during_a_lost_connection_are_seen() {
    let bus = Bus::start().await;
    bus.change("t1");
    let cache = live_cache(&bus).await;
    let href = bus.href("t1");
    assert_eq!(version(&cache, &href).await, 1);
    bus.cut();
    bus.change("t1");
    until("the change is seen", async || version(&cache, &href).await == 2).await;
}

#[tokio::test]
async fn an_owner_that_is_away_is_stood_in_for() {
    let bus = Bus::start().await;
    bus.change("t1");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = std::sync::Arc::clone(&bus.shared);
    let router = hob_sdk::axum::Router::new().route(
        "/things/t1",
        hob_sdk::axum::routing::get(async move || format!("{:?}", shared.entities.lock().unwrap().get("t1"))),
    );
    let server = tokio::spawn(async move { hob_sdk::axum::serve(listener, router).await });
    let cache = Cache::new(&Client::for_api(&bus.origin, None).unwrap(), CacheOptions::default());
    let href = format!("http://{address}/things/t1");
    assert_eq!(cache.get(&href).await.unwrap().source, Source::Fetched);
    server.abort();
    until("the owner is away", async || cache.get(&href).await.unwrap().source == Source::Stale).await;
    assert!(cache.figures().stale_served > 0);
}
