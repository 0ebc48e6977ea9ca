//! A tenant that floods a topic at twenty times its quota is told to wait, and another beside it is served as ever. Over
//! real connections.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::house::{House, house};

/// What the topic's quota allows in a second.
const ALLOWED: u64 = 50;
/// What the flood sends in a second, from all its connections.
const SENT: u64 = 20 * ALLOWED;
const CONNECTIONS: u64 = 8;
/// Requests of the tenant that keeps within its quota, one after the other.
const REQUESTS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(25);

/// One connection that is kept open.
struct Connection(BufReader<TcpStream>);

/// Status, and the header Retry-After.
type Told = (u16, Option<u64>);

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn publish(&mut self, tenant: &str, n: u32) -> Told {
        let body = json!({"type": "update", "href": format!("http://x.test/{tenant}/{n}")}).to_string();
        let head = format!(
            "POST /v1/topics/orders/events?environment=demo&tenant={tenant} HTTP/1.1\r\nhost: x\r\n\
             authorization: Bearer developer\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all((head + &body).as_bytes()).await.unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut retry_after) = (0, None);
        loop {
            line.clear();
            self.0.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "retry-after" => retry_after = Some(value.parse().unwrap()),
                _ => {}
            }
        }
        self.0.read_exact(&mut vec![0; length]).await.unwrap();
        (status, retry_after)
    }
}

async fn serve(house: &House) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(hob_api::serve(listener, house.app.clone(), std::future::pending()));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_told_to_wait_and_its_neighbour_is_served() {
    let house = house().await;
    for tenant in ["uk", "ie"] {
        let terms = json!({"quota": {"events_per_second": ALLOWED, "burst": ALLOWED}});
        let path = format!("/v1/topics/orders?service=orders&tenant={tenant}");
        let (status, body) = house.call(Method::PUT, &path, Some("developer"), Some(terms)).await;
        assert!(status == StatusCode::OK || status == StatusCode::CREATED, "{body}");
    }
    let address = serve(&house).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let begun = Instant::now();
    let flood = (0..CONNECTIONS).map(|nth| {
        let stopped = stopped.clone();
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            let mut told: Vec<Told> = Vec::new();
            let mut every = tokio::time::interval(Duration::from_micros(1_000_000 * CONNECTIONS / SENT));
            while !*stopped.borrow() {
                every.tick().await;
                told.push(connection.publish("uk", nth as u32).await);
            }
            told
        })
    });
    let flood: Vec<_> = flood.collect();
    let mut connection = Connection::open(address).await;
    let mut took = Vec::new();
    for n in 0..REQUESTS {
        let sent = Instant::now();
        let (status, _) = connection.publish("ie", n).await;
        took.push(sent.elapsed());
        assert_eq!(status, 201, "the neighbour is served");
        // It keeps within its own quota.
        tokio::time::sleep(PAUSE).await;
    }
    stop.send_replace(true);
    let mut told: Vec<Told> = Vec::new();
    for flood in flood {
        told.extend(flood.await.unwrap());
    }
    let elapsed = begun.elapsed();
    took.sort();
    println!(
        "{} requests in {elapsed:?} beside {REQUESTS} of the neighbour, whose half took up to {:?}, and all up to {:?}",
        told.len(),
        took[took.len() / 2],
        took[took.len() - 1]
    );
    let taken = told.iter().filter(|(status, _)| *status == 201).count() as u64;
    let refused = told.iter().filter(|(status, wait)| *status == 429 && wait.is_some_and(|wait| wait > 0));
    assert_eq!(taken + refused.count() as u64, told.len() as u64, "each was taken, or told how long to wait");
    let allowed = ALLOWED + (ALLOWED as f64 * elapsed.as_secs_f64()).ceil() as u64;
    assert!(taken > 0 && taken <= allowed, "{taken} were taken, {allowed} are allowed");
    assert!(taken < told.len() as u64, "the flood was over its quota: {} requests", told.len());
    let events = |tenant: &str| {
        let scope = format!("demo/{tenant}").parse().unwrap();
        house.bus.topic(&scope, &"orders".parse().unwrap()).unwrap().events
    };
    assert_eq!((events("uk"), events("ie")), (taken, u64::from(REQUESTS)));
}
