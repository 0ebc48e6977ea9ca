//! How the router follows its core, and does without it.

use hob_router::{Config, Limits};

use crate::harness::{
    Core, Server, World, ask, client, config, eventually, reply, request, set, snapshot, text,
};

#[tokio::test]
async fn routing_goes_on_while_the_core_is_away_and_a_new_core_may_count_anew() {
    let (one, two) =
        (Server::start(|_| reply(text("one"))).await, Server::start(|_| reply(text("two"))).await);
    let core = Core::start(snapshot(50, &[one.address])).await;
    let config = config(core.address, Limits::default());
    let mut world = World::start_with(core, config).await;
    let (url, client) = (world.url("/"), client());
    world.core.server.kill();
    let address = world.core.address;
    eventually("the end of the core", || async {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert_eq!(ask(&client, request("GET", &url, "")).await.1, "one");
    world.core = Core::start_at(address, snapshot(3, &[two.address])).await;
    world.core.hears("the lower generation", |report| report.generation == 3).await;
    assert_eq!(ask(&client, request("GET", &url, "")).await.1, "two");
    let counted =
        world.core.hears("what went on meanwhile", |report| report.instances.iter().any(|i| i.requests > 0));
    assert_eq!(counted.await.instances.iter().map(|i| i.errors).sum::<u64>(), 0);
}

#[tokio::test]
async fn within_one_stream_a_lower_generation_is_passed_over() {
    let (one, two) =
        (Server::start(|_| reply(text("one"))).await, Server::start(|_| reply(text("two"))).await);
    let world = World::start(&[one.address], Limits::default()).await;
    world.core.route(|snapshot| snapshot.generation = 10).await;
    world.core.says.send_modify(|snapshot| {
        set(snapshot, &[two.address]);
        snapshot.generation = 5;
    });
    // Had the lower one counted, it would be in force before this one is acknowledged.
    world.core.says.send_modify(|snapshot| {
        set(snapshot, &[one.address]);
        snapshot.generation = 12;
    });
    world.core.hears("the higher generation", |report| report.generation == 12).await;
    assert!(world.core.heard.reports.borrow().iter().all(|report| report.generation != 5));
    assert_eq!(ask(&client(), request("GET", &world.url("/"), "")).await.1, "one");
}

#[tokio::test]
async fn a_router_that_starts_without_its_core_uses_the_kept_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routing.json");
    let one = Server::start(|_| reply(text("one"))).await;
    let core = Core::start(snapshot(9, &[one.address])).await;
    let address = core.address;
    let with_file = || Config { snapshot_file: Some(file.clone()), ..config(address, Limits::default()) };
    let world = World::start_with(core, with_file()).await;
    eventually("the file", || async { file.try_exists().unwrap().then_some(()) }).await;
    drop(world);
    let router = hob_router::Router::bind(with_file()).await.unwrap();
    let url = format!("http://{}/", router.address());
    let running = tokio::spawn(router.run(std::future::pending()));
    assert_eq!(ask(&client(), request("GET", &url, "")).await.1, "one");
    running.abort();
}
