//! The promise of a deploy: an instance is stopped the moment the router says that it may be, many times, under load,
//! and no request fails, whatever its method.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hob_router::Limits;

use crate::harness::{Server, World, ask, client, eventually, name, request, set, text};

const CLIENTS: u64 = 16;
const SWAPS: u64 = 250;

/// An instance whose answers take a moment, now and then a long one.
async fn instance() -> Server {
    let asked = AtomicU64::new(0);
    Server::start(move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match number % 10 {
                0 => tokio::time::sleep(Duration::from_millis(5)).await,
                1..5 => tokio::task::yield_now().await,
                _ => {}
            }
            text("ok")
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_swaps_lose_no_request() {
    let mut running = instance().await;
    let world = World::start(&[running.address], Limits::default()).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (is_over, url, client) = (Arc::clone(&is_over), world.url("/"), client());
            tokio::spawn(async move {
                let mut sent = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    let method = if (sent + number).is_multiple_of(2) { "POST" } else { "GET" };
                    let (status, body) = ask(&client, request(method, &url, "order")).await;
                    assert_eq!(status, 200, "{method} after {sent}: {body}");
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    for swap in 0..SWAPS {
        let next = instance().await;
        // Every third time both are there for a while, as with several instances.
        if swap % 3 == 0 {
            world.core.route(|snapshot| set(snapshot, &[running.address, next.address])).await;
        }
        let generation = world.core.route(|snapshot| set(snapshot, &[next.address])).await;
        let gone = name(running.address);
        let newest = || world.core.heard.reports.borrow().last().unwrap().clone();
        eventually("nothing in flight", || async {
            let report = newest();
            let is_clear = report.instances.iter().all(|i| i.instance != gone || i.in_flight == 0);
            (report.generation == generation && is_clear).then_some(())
        })
        .await;
        running.kill();
        running = next;
        world.core.heard.reports.send_modify(|reports| {
            let newest = reports.pop();
            reports.clear();
            reports.extend(newest);
        });
    }
    is_over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert!(sent > SWAPS * 4, "{sent} requests");
}
