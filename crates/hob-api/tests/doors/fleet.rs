//! Nodes join, speak for themselves alone, and are given up; shields are ordered and lifted; numbers are checked.

use hob_core::Timestamp;
use hob_wire::{NodeReport, RouterReport};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, house};

async fn admin(house: &House, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    house.call(method, path, Some("admin"), Some(body)).await
}

/// Makes a join token and gives back its id and itself.
async fn join_token(house: &House, uses: u32) -> (String, String) {
    let (status, made) =
        admin(house, Method::POST, "/v1/join-tokens", json!({"uses": uses, "seconds": 60})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("id"), text("token"))
}

async fn join(house: &House, token: &str, name: &str) -> (StatusCode, Value) {
    house.call(Method::POST, "/v1/nodes", Some(token), Some(json!({"name": name}))).await
}

async fn report(house: &House, token: &str, node: &str) -> StatusCode {
    let path = format!("/v1/nodes/{node}/report");
    house.call(Method::POST, &path, Some(token), Some(json!(NodeReport::default()))).await.0
}

#[tokio::test]
async fn a_machine_joins_with_a_token_and_speaks_for_itself_alone() {
    let house = house().await;
    let (_, token) = join_token(&house, 1).await;
    let (status, joined) = join(&house, &token, "node-2").await;
    assert_eq!(status, StatusCode::CREATED, "{joined}");
    let own = joined["token"].as_str().unwrap();
    assert_eq!(
        join(&house, &token, "node-3").await.0,
        StatusCode::UNAUTHORIZED,
        "it was good for one machine"
    );

    assert_eq!(report(&house, own, "node-2").await, StatusCode::NO_CONTENT);
    assert_eq!(report(&house, own, "node-1").await, StatusCode::FORBIDDEN);
    let (status, _) = house.call(Method::GET, "/v1/nodes/node-1/intended", Some(own), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "what another should run names that one's secrets");

    let (_, token) = join_token(&house, 2).await;
    let (status, problem) = join(&house, &token, "node-2").await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("HOB-0109")), "{problem}");
    assert_eq!(
        join(&house, &token, "node-4").await.0,
        StatusCode::CREATED,
        "what was refused counts for nothing"
    );
    let (_, tokens) = admin(&house, Method::GET, "/v1/join-tokens", Value::Null).await;
    assert_eq!((&tokens["items"][0]["uses"], tokens["items"][0].get("token")), (&json!(1), None), "{tokens}");
    let (status, problem) = join(&house, &token, "not a name").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}

#[tokio::test]
async fn a_join_token_opens_no_other_door() {
    let house = house().await;
    let (id, token) = join_token(&house, 1).await;
    for path in ["/v1/status", "/v1/me", "/v1/nodes", "/v1/join-tokens", "/v1/routing"] {
        house.denied(&Method::GET, path, Some(&token), StatusCode::FORBIDDEN).await;
    }
    let path = format!("/v1/join-tokens/{id}");
    assert_eq!(admin(&house, Method::DELETE, &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(join(&house, &token, "node-2").await.0, StatusCode::UNAUTHORIZED);
    let (status, problem) = admin(&house, Method::POST, "/v1/join-tokens", json!({"uses": 0})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("HOB-0010")));
}

#[tokio::test]
async fn a_node_is_drained_made_active_again_and_given_up() {
    let house = house().await;
    let (_, token) = join_token(&house, 2).await;
    let (_, joined) = join(&house, &token, "node-2").await;
    let patch = async |state: &str| {
        let (status, body) = admin(&house, Method::PATCH, "/v1/nodes/node-2", json!({"state": state})).await;
        (status, body["state"].as_str().map(str::to_owned), body["code"].as_str().map(str::to_owned))
    };
    assert_eq!(patch("draining").await.0, StatusCode::NOT_FOUND, "it has not reported yet");
    assert_eq!(report(&house, joined["token"].as_str().unwrap(), "node-2").await, StatusCode::NO_CONTENT);
    assert_eq!(patch("draining").await, (StatusCode::OK, Some("draining".to_owned()), None));
    let (_, node) = admin(&house, Method::GET, "/v1/nodes/node-2", Value::Null).await;
    assert_eq!((&node["by"], &node["live"]), (&json!("admin"), &json!(true)), "{node}");
    assert_eq!(patch("active").await, (StatusCode::OK, Some("active".to_owned()), None));
    assert_eq!(patch("killed").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, problem) = admin(&house, Method::DELETE, "/v1/nodes/node-2", Value::Null).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("HOB-0125")), "{problem}");
    let (_, other) = join(&house, &token, "node-3").await;
    assert_eq!(report(&house, other["token"].as_str().unwrap(), "node-3").await, StatusCode::NO_CONTENT);
    let (status, node) = admin(&house, Method::DELETE, "/v1/nodes/node-2", Value::Null).await;
    assert_eq!((status, &node["state"]), (StatusCode::ACCEPTED, &json!("killed")));
    assert_eq!(patch("active").await.2.as_deref(), Some("HOB-0110"));
}

#[tokio::test]
async fn a_shield_is_told_to_be_in_force_when_every_live_router_took_it_in() {
    let house = house().await;
    let order = json!({"does": "hold", "max_ms": 30_000, "service": "orders", "tenant": "uk"});
    let put = async |query: &str| {
        admin(&house, Method::PUT, &format!("/v1/shields/stop{query}"), order.clone()).await
    };
    let say = async |generation: u64| {
        let report = RouterReport {
            generation,
            from: Timestamp::EPOCH,
            to: Timestamp::EPOCH,
            instances: Vec::new(),
            records_dropped: 0,
            ejected: Vec::new(),
            limited: Vec::new(),
            connections: 3,
            held: [("orders.demo.uk".to_owned(), 2)].into(),
        };
        let (status, _) =
            house.call(Method::POST, "/v1/routers/router/report", Some("router"), Some(json!(report))).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    };
    say(1).await;
    let (status, shield) = put("").await;
    assert_eq!(status, StatusCode::OK, "{shield}");
    assert_eq!((&shield["waiting"], &shield["by"]), (&json!(["router"]), &json!("admin")), "{shield}");
    let generation = shield["generation"].as_u64().unwrap();
    let (held, ()) = tokio::join!(put("?wait=20s"), say(generation + 1));
    assert_eq!(held.1.get("waiting"), None, "{}", held.1);
    let (_, routers) = admin(&house, Method::GET, "/v1/routers", Value::Null).await;
    let router = &routers["items"][0];
    assert_eq!(
        (&router["connections"], &router["held"]["orders.demo.uk"]),
        (&json!(3), &json!(2)),
        "{router}"
    );

    let (_, list) = admin(&house, Method::GET, "/v1/shields", Value::Null).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "the same id again replaces it: {list}");
    assert_eq!(admin(&house, Method::DELETE, "/v1/shields/stop", Value::Null).await.0, StatusCode::OK);
    assert_eq!(admin(&house, Method::DELETE, "/v1/shields/stop", Value::Null).await.0, StatusCode::NOT_FOUND);
    for (body, code) in [
        (json!({"does": "hold", "max_ms": 0}), "HOB-0105"),
        (json!({"does": "hold", "max_ms": 1, "tenant": "nowhere"}), "HOB-0105"),
        (json!({"does": "hold", "max_ms": 1, "service": "nothing"}), "HOB-0005"),
        (json!({"does": "dance"}), "HOB-0002"),
    ] {
        let (_, problem) = admin(&house, Method::PUT, "/v1/shields/stop", body).await;
        assert_eq!(problem["code"].as_str(), Some(code), "{problem}");
    }
    for n in 0..=100 {
        let (status, problem) =
            admin(&house, Method::PUT, &format!("/v1/shields/s{n}"), json!({"does": "hold", "max_ms": 1}))
                .await;
        let expected = if n < 100 { StatusCode::OK } else { StatusCode::CONFLICT };
        assert_eq!(status, expected, "{n}: {problem}");
    }
}

#[tokio::test]
async fn numbers_are_ordered_only_of_what_was_deployed() {
    let house = house().await;
    let path = "/v1/services/orders/scale";
    let (status, problem) = admin(&house, Method::PUT, path, json!({"worker": 3})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("HOB-0005")), "{problem}");
    let (_, problem) = admin(&house, Method::PUT, path, json!({})).await;
    assert_eq!(problem["code"].as_str(), Some("HOB-0107"), "{problem}");
}
