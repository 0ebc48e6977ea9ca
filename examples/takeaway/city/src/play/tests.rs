//! The city against the real domain services over real files, with dispatch's decisions in between and a worker that is
//! killed again and again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hob_sdk::axum::Router;
use hob_sdk::axum::routing::post;
use hob_sdk::axum::{Json, http::StatusCode};
use hob_sdk::{Client, Config};
use serde_json::Value;
use takeaway_domain::{Job, Store};
use takeaway_world::{
    Day, DispatchView, Entities, Entity, GenerateOptions, Order, Restaurant, Rider, Zone, decide,
};

use super::*;

/// Simulated seconds for each real one: the test goes as fast as its calls do.
const SPEED: f64 = 10_000.0;

/// The platform: four domain services behind one address, and a bus that counts.
struct Platform {
    origin: String,
    published: Arc<AtomicUsize>,
}

async fn platform(folder: &Path) -> Platform {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let store = async |name: &str| Store::open(folder, name, &origin).await.unwrap();
    let published = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&published);
    let publish = async move |Json(drafts): Json<Vec<Value>>| {
        counted.fetch_add(drafts.len(), Ordering::SeqCst);
        let answer = serde_json::json!({ "first": "1", "last": "1", "deduplicated": 0 });
        (StatusCode::CREATED, Json(answer))
    };
    let router = Router::new()
        .merge(takeaway_domain::router::<Order>(store("orders").await))
        .merge(takeaway_domain::router::<Rider>(store("riders").await))
        .merge(takeaway_domain::router::<Restaurant>(store("restaurants").await))
        .merge(takeaway_domain::router::<Zone>(store("zones").await))
        .route("/v1/events", post(publish));
    tokio::spawn(async move { hob_sdk::axum::serve(listener, router).await });
    Platform { origin, published }
}

fn client(origin: &str) -> Client {
    let vars = [
        ("HOB_TOKEN", "t"),
        ("HOB_SERVICE", "city"),
        ("HOB_ENVIRONMENT", "demo"),
        ("HOB_TENANT", "uk"),
        ("DATA_DIR", "/nowhere"),
        ("HOB_URL", origin),
        ("HOB_PUBLIC_URL", origin),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Client::new(&Config::from_vars(vars).unwrap()).unwrap()
}

fn settings() -> Settings {
    let options = GenerateOptions { orders: 12, restaurants: 4, riders: 10 };
    Settings::of(Day::generate(3, options), 3, SPEED, 1.0)
}

async fn all<E: Entity>(client: &Client) -> Vec<E> {
    let target = client.href(&format!("/{}?limit=1000", E::COLLECTION));
    let page: Value = client.get(&target).await.unwrap().json().unwrap();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| serde_json::from_value(item.clone()).unwrap())
        .collect()
}

fn minute(world: &World) -> SimTime {
    world.now().plus_seconds(-world.now().seconds().rem_euclid(60))
}

/// What dispatch would decide, from what the services serve.
async fn decision(client: &Client, world: &World) -> Decision {
    let (orders, riders) = (all::<Order>(client).await, all::<Rider>(client).await);
    let restaurants = all::<Restaurant>(client).await;
    let find = |id| restaurants.iter().find(|restaurant: &&Restaurant| restaurant.id == id);
    let view = DispatchView::of(&orders, &riders, find, world.metres_per_minute());
    let minute = minute(world);
    let jobs = decide(&view, minute).into_iter().map(|job| Job { rider: job.rider, orders: job.orders });
    Decision { id: minute.to_string(), minute, jobs: jobs.collect(), interventions: Vec::new() }
}

async fn entities(client: &Client) -> Entities {
    let orders = all::<Order>(client).await.into_iter().map(|order| (order.id, order)).collect();
    let riders = all::<Rider>(client).await.into_iter().map(|rider| (rider.id, rider)).collect();
    let restaurants = all::<Restaurant>(client).await.into_iter().map(|one| (one.id, one)).collect();
    let zones = all::<Zone>(client).await.into_iter().map(|zone| (zone.id, zone)).collect();
    Entities { orders, riders, restaurants, zones }
}

#[tokio::test]
async fn a_day_is_played_to_its_end_also_by_workers_that_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let platform = platform(folder.path()).await;
    let client = client(&platform.origin);
    let rows = Rows::open(folder.path()).await.unwrap();
    let settings = settings();
    rows.begin(&settings.identity).await.unwrap();
    let mut play = resume(&settings, rows.clone(), City::new(&client)).await.unwrap();
    let mut rounds = 0;
    while !play.world.ended() {
        play.go_on().await.unwrap();
        if play.decided < minute(&play.world) {
            let decision = decision(&client, &play.world).await;
            rows.add(&decision).await.unwrap();
        }
        rounds += 1;
        if rounds % 1499 == 0 {
            // Killed in the middle of a call: all that is left is the file. What may have been told is told again.
            let life = Duration::from_micros(rounds % 7 * 500);
            let _ = tokio::time::timeout(life, play.go_on()).await;
            play = resume(&settings, rows.clone(), City::new(&client)).await.unwrap();
        }
    }
    assert_eq!(play.beside.refused, 0);
    let figures = play.world.figures();
    assert_eq!((figures.placed, figures.on_their_way), (12, 0));
    assert!(figures.delivered > 6, "{figures:?}");
    let served = entities(&client).await;
    assert_eq!(served.orders.len(), 12);
    assert!(served.orders.values().all(|order| order.state.is_final()));
    assert!(platform.published.load(Ordering::SeqCst) > 1000);

    let (status, truth) = rows.shown().await.unwrap();
    let status: Status = serde_json::from_value(status.unwrap()).unwrap();
    assert!(status.ended && status.delivered == figures.delivered);
    assert_eq!(truth.unwrap().as_array().unwrap().len(), play.world.truth().len());
}

#[tokio::test]
async fn time_is_held_until_dispatch_decides() {
    let folder = tempfile::tempdir().unwrap();
    let platform = platform(folder.path()).await;
    let client = client(&platform.origin);
    let rows = Rows::open(folder.path()).await.unwrap();
    let settings = settings();
    rows.begin(&settings.identity).await.unwrap();
    let mut play = resume(&settings, rows.clone(), City::new(&client)).await.unwrap();
    while play.beside.holding.is_none() {
        play.go_on().await.unwrap();
    }
    let held_at = play.world.now();
    assert_eq!(held_at.seconds_since(play.world.starts_at()), 60 + 40);
    play.go_on().await.unwrap();
    assert_eq!(play.world.now(), held_at);
    let decision =
        Decision { id: "d".to_owned(), minute: held_at, jobs: Vec::new(), interventions: Vec::new() };
    rows.add(&decision).await.unwrap();
    while play.world.now() == held_at {
        play.go_on().await.unwrap();
    }
    assert_eq!(play.beside.holding, None);
    assert_eq!(rows.outcome("d").await.unwrap(), Some(Decided { refusals: Vec::new() }));
}
