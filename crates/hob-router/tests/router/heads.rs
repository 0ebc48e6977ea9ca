//! Routes, and what heads look like on either side.

use hob_router::{Config, Limits, Router};
use hob_wire::Route;
use serde_json::Value;

use crate::harness::{
    Core, Server, World, ask, client, config, name, pool, reply, request, set, snapshot, text,
};

/// An instance that answers with the head it was sent.
async fn echo() -> Server {
    Server::start(|request| {
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let told = serde_json::json!({
            "method": request.method().as_str(), "target": request.uri().to_string(), "headers": headers,
        });
        let mut response = text(told.to_string());
        response.headers_mut().insert("x-own", "1".parse().unwrap());
        response.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
        reply(response)
    })
    .await
}

fn header(told: &Value, name: &str) -> Vec<String> {
    let headers = told["headers"].as_array().unwrap();
    headers.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn heads_are_cleaned_and_completed_on_both_ways() {
    let instance = echo().await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let mut request = request("GET", &world.url("/orders/7?x=a%2Fb"), "");
    for (name, value) in [
        ("host", "Shop.Example:1234"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("x-forwarded-for", "10.1.1.1"),
        ("x-request-id", "mine-1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = client().request(request).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    assert_eq!(response.headers()["x-own"], "1");
    assert!(!response.headers().contains_key("keep-alive"));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["target"], "/orders/7?x=a%2Fb");
    assert_eq!(header(&told, "host"), ["Shop.Example:1234"]);
    assert_eq!(header(&told, "x-forwarded-for"), ["10.1.1.1, 127.0.0.1"]);
    assert_eq!(header(&told, "x-forwarded-proto"), ["http"]);
    assert_eq!(header(&told, "x-forwarded-host"), ["Shop.Example:1234"]);
    assert_eq!(header(&told, "forwarded"), ["for=127.0.0.1;host=\"Shop.Example:1234\";proto=http"]);
    assert_eq!(header(&told, "x-request-id"), ["mine-1"]);
    let trace = header(&told, "traceparent");
    assert!(
        trace[0].starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
            && !trace[0].contains("00f067aa0ba902b7")
    );
    for gone in ["x-private", "te", "connection"] {
        assert_eq!(header(&told, gone), Vec::<String>::new(), "{gone}");
    }
}

#[tokio::test]
async fn requests_go_by_host_and_path_and_an_unknown_way_is_a_problem() {
    let (one, two) =
        (Server::start(|_| reply(text("one"))).await, Server::start(|_| reply(text("two"))).await);
    let mut spec = snapshot(1, &[one.address]);
    spec.routes[0].path = "/orders".to_owned();
    spec.pools.insert("two".to_owned(), pool(&[two.address]));
    let route = |host: Option<&str>, path: &str| Route {
        host: host.map(str::to_owned),
        path: path.to_owned(),
        pool: "two".to_owned(),
        ..Route::default()
    };
    spec.routes.extend([route(Some("two.example"), "/orders"), route(None, "/orders/late")]);
    let core = Core::start(spec).await;
    let config = config(core.address, Limits::default());
    let world = World::start_with(core, config).await;
    let client = client();
    let get = |host: &'static str, path: &'static str| {
        let mut request = request("GET", &world.url(path), "");
        request.headers_mut().insert("host", host.parse().unwrap());
        ask(&client, request)
    };
    assert_eq!(get("a.example", "/orders/7").await.1, "one");
    assert_eq!(get("Two.Example:80", "/orders/7").await.1, "two");
    assert_eq!(get("a.example", "/orders/late?x").await.1, "two");
    let (status, body) = get("a.example", "/orders-api").await;
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_u16(), problem["code"].as_str()), (404, Some("HOB-0060")));
    assert_eq!(problem["type"], "/errors/HOB-0060");
    assert!(problem["request_id"].as_str().is_some_and(|id| id.len() == 26), "{problem}");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_heads() {
    let instance = Server::start(|request| {
        let mut response = text("");
        match request.uri().path() {
            "/none" => *response.status_mut() = http::StatusCode::NO_CONTENT,
            "/same" => *response.status_mut() = http::StatusCode::NOT_MODIFIED,
            _ => response = text("hello"),
        }
        response.headers_mut().insert("etag", "\"1\"".parse().unwrap());
        reply(response)
    })
    .await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let check = async |method: &str, path: &str, status: u16, length: Option<&str>| {
        let response = client().request(request(method, &world.url(path), "")).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert_eq!(response.headers()["etag"], "\"1\"");
        let told = response.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(told, length, "{method} {path}");
    };
    check("GET", "/", 200, Some("5")).await;
    check("HEAD", "/", 200, Some("5")).await;
    check("GET", "/none", 204, None).await;
    check("GET", "/same", 304, None).await;
    world.core.hears("all four requests", |report| report.instances.iter().any(|i| i.in_flight == 0)).await;
}

#[tokio::test]
async fn requests_are_reported_and_recorded() {
    let instance = Server::start(|request| {
        let mut response = text("hello");
        if request.uri().path() == "/bad" {
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        reply(response)
    })
    .await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let client = client();
    ask(&client, request("GET", &world.url("/good?secret=1"), "")).await;
    ask(&client, request("GET", &world.url("/bad"), "")).await;
    let sums = || {
        let reports = world.core.heard.reports.borrow();
        let traffic = reports.iter().flat_map(|report| &report.instances);
        traffic.fold((0, 0, 0), |sum, t| (sum.0 + t.requests, sum.1 + t.errors, sum.2 + t.latency.count))
    };
    crate::harness::eventually("both in reports", || async { (sums() == (2, 1, 2)).then_some(()) }).await;
    let good =
        world.core.record("the good one", |r| r.access.as_ref().is_some_and(|a| a.path == "/good")).await;
    let access = good.access.unwrap();
    assert_eq!((access.status, access.bytes, access.attempts), (200, 5, 1));
    assert_eq!((access.method.as_str(), access.client.as_str(), access.error), ("GET", "127.0.0.1", None));
    assert_eq!((good.instance, good.service.as_str()), (Some(name(instance.address)), "orders"));
    world.core.record("the bad one", |r| r.access.as_ref().is_some_and(|a| a.status == 500)).await;
    world.core.route(|snapshot| set(snapshot, &[])).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = |core_url: &str| Config {
        listen: address,
        core_url: core_url.to_owned(),
        ..config(address, Limits::default())
    };
    let error = Router::bind(config("http://127.0.0.1:7070")).await.err().unwrap().to_string();
    assert!(
        error.contains(&format!("port {} is in use", address.port())) && error.contains("--port-offset"),
        "{error}"
    );
    for bad in ["7070", "ftp://127.0.0.1", "", "https://core"] {
        let error = Router::bind(config(bad)).await.err().unwrap().to_string();
        assert!(error.contains("http://host:port"), "{error}");
    }
}
