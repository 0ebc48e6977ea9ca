//! The takeaway: from source to live orders, deployed and shot under load, killed and started again.

use std::time::Duration;

use serde_json::Value;

use crate::load::{Load, Shot};
use crate::platform::{Platform, root, signal};

/// Requests a second during deploys, rollbacks and shots.
const RATE: u32 = 150;
/// Services of the takeaway.
const SERVICES: usize = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeaway_runs() {
    let data = tempfile::tempdir().unwrap();
    let settings = ["--set", "city.SPEED=240", "--set", "city.FAULTS=8", "--set", "city.SEED=3"];
    let mut platform = Platform::start(&root().join("examples/takeaway"), data.path(), &settings);
    orders_flow(&platform).await;
    the_storefront_serves_from_its_cache(&platform).await;
    people_see_and_act(&platform).await;
    requests_leave_their_traces(&platform).await;
    if std::env::var_os("HOB_TEST_BROWSER").is_some() {
        a_browser_shows_it(&platform);
    }
    nothing_is_lost_in_deploys(&platform).await;
    nothing_is_lost_when_an_instance_is_shot(&platform).await;
    nothing_acknowledged_is_lost_by_a_kill(&platform).await;
    instances_outlive_hob(&mut platform);
    let before = status(&platform).await;
    platform.stop();
    platform.start_again();
    let resumed = |now: &Value| now["placed"].as_u64() >= before["placed"].as_u64() && now["placed"] != 0;
    platform.until("the city goes on", "/city/status", Duration::from_secs(60), resumed).await;
    platform.stop();
}

async fn status(platform: &Platform) -> Value {
    platform.routed("/city/status").await.json().await.unwrap()
}

async fn orders_flow(platform: &Platform) {
    let limit = Duration::from_secs(120);
    platform
        .until("orders are delivered", "/city/status", limit, |s| s["delivered"].as_u64() > Some(2))
        .await;
    let placed = |figures: &Value| {
        let figures = figures["figures"].as_array().cloned().unwrap_or_default();
        figures.iter().any(|f| f["label"] == "placed" && f["value"].as_u64() > Some(2))
    };
    platform.until("the strip counts them", "/v1/figures", limit, placed).await;
    let services = platform.hob_json(&["services"]);
    let ready = services.as_array().unwrap().iter().filter(|s| s["state"] == "ready").count();
    assert_eq!(ready, SERVICES, "{services}");
    let events = platform.hob_json(&["events", "orders", "-n", "20"]);
    let sequences: Vec<&str> =
        events.as_array().unwrap().iter().map(|e| e["sequence"].as_str().unwrap()).collect();
    assert!(sequences.len() == 20 && sequences.is_sorted(), "{sequences:?}");
}

async fn the_storefront_serves_from_its_cache(platform: &Platform) {
    let page = |page: &Value| {
        page["live"] == true && page["missing"] == 0 && page["cache"]["hits"].as_u64() > Some(0)
    };
    platform.until("the page is warm", "/page", Duration::from_secs(30), page).await;
    // Restaurants go on changing; between two changes a page costs no request.
    platform
        .until("a page without a request", "/page", Duration::from_secs(30), |p| p["upstream_requests"] == 0)
        .await;
}

async fn people_see_and_act(platform: &Platform) {
    let some = |page: &Value| page["items"].as_array().is_some_and(|items| !items.is_empty());
    let open =
        platform.until("an issue opens", "/v1/issues?state=open", Duration::from_secs(180), some).await;
    let first = &open["items"][0];
    assert!(first["title"].as_str().is_some_and(|title| !title.contains("{{")), "{first}");
    assert!(first["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()), "{first}");
    // The issue may resolve by itself before the hand is there: then another one is taken.
    for _ in 0..20 {
        let issues = platform.hob_json(&["issues"]);
        let Some(issue) = issues.as_array().unwrap().iter().find(|issue| issue["state"] == "open").cloned()
        else {
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        };
        let id = issue["id"].as_str().unwrap();
        let acked = platform.hob(&["issues", "ack", id, "--reason", "calling them", "--json"]);
        if acked.status.success() {
            let acked: Value = serde_json::from_slice(&acked.stdout).unwrap();
            assert_ne!(acked["state"], "open");
            assert_eq!(acked["assignee"], "admin");
            let resolved =
                platform.hob(&["issues", "resolve", id, "--as", "fixed", "--reason", "done", "--json"]);
            let conflict = resolved.status.code() == Some(6);
            assert!(resolved.status.success() || conflict, "{}", String::from_utf8_lossy(&resolved.stderr));
            return;
        }
        assert_eq!(acked.status.code(), Some(6), "{}", String::from_utf8_lossy(&acked.stderr));
    }
    panic!("no issue could be acknowledged");
}

async fn requests_leave_their_traces(platform: &Platform) {
    let url = format!("{}/restaurants/r1", platform.router);
    let answer = platform.http.get(url).header("x-request-id", "e2e-request-1").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "e2e-request-1");
    let found = |page: &Value| {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.iter().any(|r| r["source"] == "access" && r["fields"]["status"] == 200)
    };
    let limit = Duration::from_secs(20);
    platform.until("the access record", "/v1/logs?request_id=e2e-request-1", limit, found).await;
    let logs = platform.hob_json(&["logs", "orders", "-n", "5"]);
    assert!(!logs.as_array().unwrap().is_empty());
    for name in ["http.latency", "requests"] {
        let series = platform.hob_json(&["metrics", name]);
        assert!(!series.as_array().unwrap().is_empty(), "{name}");
    }
}

fn a_browser_shows_it(platform: &Platform) {
    let url = String::from_utf8(platform.hob(&["open"]).stdout).unwrap();
    let output = std::process::Command::new("node")
        .args(["--test", "tests/live.test.mjs"])
        .current_dir(root().join("console"))
        .env("HOB_CONSOLE_URL", url.trim())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("pass 3"), "{told}");
}

fn shots(platform: &Platform) -> Vec<Shot> {
    let get = |path: &str| Shot { url: format!("{}{path}", platform.router), body: None };
    let post = Shot {
        url: format!("{}/restaurants/transitions", platform.router),
        body: Some("{\"transitions\":[]}".to_owned()),
    };
    vec![get("/restaurants/r1"), get("/restaurants?limit=5"), post]
}

async fn nothing_is_lost_in_deploys(platform: &Platform) {
    let load = Load::start(shots(platform), RATE);
    for verb in ["deploy", "rollback", "deploy"] {
        let output = platform.hob(&[verb, "restaurants"]);
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut outcome = load.finish().await;
    let (p50, p99) = (outcome.quantile(0.5), outcome.quantile(0.99));
    println!(
        "deploy, rollback, deploy: {} sent, {} failed, p50 {p50:?}, p99 {p99:?}",
        outcome.sent,
        outcome.failed.len()
    );
    assert!(outcome.sent > 100, "{}", outcome.sent);
    assert!(
        outcome.failed.is_empty(),
        "{} of {}: {:?}",
        outcome.failed.len(),
        outcome.sent,
        outcome.failed.first()
    );
    let releases = platform.hob_json(&["releases", "restaurants"]);
    assert_eq!(releases[0]["state"], "routed", "{releases}");
}

async fn nothing_is_lost_when_an_instance_is_shot(platform: &Platform) {
    let repeatable = shots(platform).into_iter().filter(|shot| shot.body.is_none()).collect();
    let load = Load::start(repeatable, RATE);
    for _ in 0..3 {
        let instances = platform.hob_json(&["instances", "restaurants"]);
        let releases = platform.hob_json(&["releases", "restaurants"]);
        let routed =
            releases.as_array().unwrap().iter().find(|r| r["state"] == "routed").unwrap()["number"].clone();
        let ready: Vec<&Value> = instances
            .as_array()
            .unwrap()
            .iter()
            .filter(|i| i["release"] == routed && i["state"] == "ready")
            .collect();
        assert_eq!(ready.len(), 2, "{instances}");
        let (id, pid) = (ready[0]["id"].as_str().unwrap().to_owned(), ready[0]["pid"].clone());
        assert!(platform.hob(&["shoot", &id]).status.success());
        let back = |page: &Value| {
            let items = page["items"].as_array().cloned().unwrap_or_default();
            items.iter().any(|i| i["id"] == id.as_str() && i["state"] == "ready" && i["pid"] != pid)
        };
        let path = "/v1/instances?service=restaurants";
        platform.until("the shot instance is back", path, Duration::from_secs(30), back).await;
    }
    let outcome = load.finish().await;
    println!("three shots: {} sent, {} failed", outcome.sent, outcome.failed.len());
    assert!(
        outcome.failed.is_empty(),
        "{} of {}: {:?}",
        outcome.failed.len(),
        outcome.sent,
        outcome.failed.first()
    );
}

/// Instances and their process ids.
fn processes(platform: &Platform) -> Vec<(String, u64)> {
    let all = platform.hob_json(&["instances"]);
    let pid = |i: &Value| Some((i["id"].as_str()?.to_owned(), i["pid"].as_u64()?));
    all.as_array().unwrap().iter().filter_map(pid).collect()
}

fn instances_outlive_hob(platform: &mut Platform) {
    for name in ["KILL", "TERM"] {
        let running = processes(platform);
        platform.leave(name);
        platform.start_again();
        let now = processes(platform);
        assert!(running.iter().all(|one| now.contains(one)), "{name}: {running:?} became {now:?}");
    }
}

async fn nothing_acknowledged_is_lost_by_a_kill(platform: &Platform) {
    let notice = r#"{"type":"update","href":"http://takeaway.test/restaurants/kill"}"#;
    let mut acknowledged = Vec::new();
    for _ in 0..50 {
        let url = format!("{}/v1/topics/restaurants/events", platform.api);
        let answer = platform.http.post(url).bearer_auth(platform.token()).body(notice).send().await.unwrap();
        let published: Value = answer.json().await.unwrap();
        acknowledged.push(published["first"].as_str().unwrap().to_owned());
    }
    let issues = platform.get("/v1/issues?limit=1000").await;
    let ids = |issues: &Value| -> Vec<String> {
        issues["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| issue["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let known = ids(&issues);
    let running = processes(platform);
    for pid in platform.children("core") {
        signal(pid, "KILL");
    }
    let ready = |page: &Value| {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.len() == SERVICES && items.iter().all(|service| service["state"] == "ready")
    };
    platform.until("everything is back after kill -9", "/v1/services", Duration::from_secs(90), ready).await;
    let now = processes(platform);
    assert!(
        running.len() >= SERVICES && running.iter().all(|one| now.contains(one)),
        "{running:?} became {now:?}"
    );
    let path = "/v1/events?topic=restaurants&subject=http://takeaway.test/restaurants/kill&limit=1000";
    let all = |page: &Value| page["items"].as_array().is_some_and(|items| items.len() == acknowledged.len());
    let events = platform.until("every acknowledged event", path, Duration::from_secs(30), all).await;
    let found: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|e| e["sequence"].as_str().unwrap()).collect();
    assert_eq!(found, acknowledged);
    let all_known =
        |issues: &Value| issues["items"].is_array() && known.iter().all(|id| ids(issues).contains(id));
    platform.until("every issue", "/v1/issues?limit=1000", Duration::from_secs(30), all_known).await;
    let before = status(platform).await;
    let goes_on = |now: &Value| now["simulated_time"].as_str() > before["simulated_time"].as_str();
    platform.until("the city goes on", "/city/status", Duration::from_secs(60), goes_on).await;
}
