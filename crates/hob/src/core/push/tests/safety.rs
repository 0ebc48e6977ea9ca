//! Endpoints behind TLS: those with a certificate that holds get their events, and the others are told what to mend.

use hob_sdk::Trust;
use hob_wire::{BreakerState, SubscriptionState};

use super::behaviour::{delivery, single};
use super::certificates::{Authority, Validity};
use super::server::{Server, status};
use super::world::{World, distinct_in_order};

fn url(server: &Server, host: &str) -> String {
    format!("https://{host}:{}/in", server.address.port())
}

/// What a subscription says of an endpoint that it cannot call safely.
async fn told(world: &World, url: &str) -> String {
    world.subscribe("all", url, single(10)).await;
    world.publish(0..30).await;
    let is_open = |state: &SubscriptionState| state.breaker == Some(BreakerState::Open);
    let state = world.until("all", is_open).await;
    assert_eq!((state.lag_events, state.dead_letters), (30, 0));
    let error = state.last_error.unwrap();
    assert_eq!(error.status, None);
    error.detail
}

#[tokio::test]
async fn a_safe_endpoint_gets_signed_events_by_name_and_by_address() {
    let authority = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let world = World::trusting(&authority.trust()).await;
        let server = Server::start_tls(authority.server(host, Validity::Today), |_| status(204)).await;
        world.subscribe("all", &url(&server, host), delivery(50)).await;
        world.publish(0..300).await;
        world.until_delivered("all").await;
        assert_eq!(distinct_in_order(&server.taken()), 300);
        for request in server.requests() {
            assert!(request.headers["webhook-signature"].starts_with("v1,"));
        }
        world.close().await;
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not_believed() {
    let (unknown, renewed, other) = (Authority::new(), Authority::new(), Authority::named("other"));
    for trust in [Trust::platform(), renewed.trust(), other.trust()] {
        let world = World::trusting(&trust).await;
        let server = Server::start_tls(unknown.server("localhost", Validity::Today), |_| status(200)).await;
        let told = told(&world, &url(&server, "localhost")).await;
        assert!(told.starts_with("no safe connection to the endpoint"), "{told}");
        assert!(told.contains("HOB_CA_FILE"), "{told}");
        assert_eq!(server.count(), 0);
        world.close().await;
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_told_with_the_way_out() {
    let authority = Authority::new();
    for (name, validity, says) in [
        ("localhost", Validity::Past, "has expired; renew it"),
        ("localhost", Validity::Future, "compare the clocks"),
        ("emails.example", Validity::Today, "is for emails.example, not for localhost"),
    ] {
        let world = World::trusting(&authority.trust()).await;
        let server = Server::start_tls(authority.server(name, validity), |_| status(200)).await;
        let told = told(&world, &url(&server, "localhost")).await;
        assert!(told.contains(says), "{told}");
        assert_eq!(server.count(), 0);
        world.close().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_is_told_apart() {
    let world = World::new().await;
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listening.local_addr().unwrap().port();
    let plain = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listening.accept().await {
            use tokio::io::AsyncWriteExt as _;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let told = told(&world, &format!("https://127.0.0.1:{port}/in")).await;
    assert!(told.contains("does not speak TLS on this port"), "{told}");
    plain.abort();
    world.close().await;
}

#[tokio::test]
async fn events_wait_until_the_certificate_is_mended() {
    let authority = Authority::new();
    let world = World::trusting(&authority.trust()).await;
    let expired = authority.server("localhost", Validity::Past);
    let server = Server::start_tls(expired, |_| status(200)).await;
    told(&world, &url(&server, "localhost")).await;
    let address = server.end().await;
    let good = authority.server("localhost", Validity::Today);
    let server = Server::start_tls_on(address, good, |_| status(200)).await;
    let state = world.until_delivered("all").await;
    assert_eq!((state.dead_letters, distinct_in_order(&server.taken())), (0, 30));
    world.close().await;
}
