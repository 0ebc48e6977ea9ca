//! A small service that goes to zero and is woken by the real router, and a second agent on this machine that joins, is killed,
//! joins again and is given up.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::platform::{HOB, Platform, root, signal};

const LIMIT: Duration = Duration::from_secs(120);

/// A platform of one service, the one that deploys are measured with.
fn start(home: &Path, terms: &str) -> Platform {
    let service = home.join("shop");
    std::fs::create_dir_all(service.join("bin")).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.arg("-o").arg(service.join("bin/service")).arg(root().join("bench/ship/service.rs"));
    assert!(rustc.status().unwrap().success());
    let platform = "platform: test\nenvironments: [qa]\ntenants: [uk]\nservices: [shop]\n";
    std::fs::write(home.join("hob.yml"), platform).unwrap();
    let descriptor = format!(
        "service: shop\nkind: edge\npackage: {{include: [bin]}}\nroutes: [{{path: /}}]\n\
         processes: {{web: {{run: [bin/service], port: http, replicas: 2}}}}\n\
         health: {{readiness: {{http: /health, every: 1s}}}}\n{terms}\n"
    );
    std::fs::write(service.join("service.yml"), descriptor).unwrap();
    Platform::start(home, &home.join("data"), &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_goes_to_zero_and_each_first_request_wakes_it() {
    let home = tempfile::tempdir().unwrap();
    let mut platform = start(home.path(), "scale: {min: 1, max: 2, idle: {after: 1s}}");
    for round in 0..2 {
        let is_asleep = |answer: &Value| answer["items"].as_array().is_some_and(Vec::is_empty);
        platform.until("it sleeps", "/v1/instances", LIMIT, is_asleep).await;
        let waking: Vec<_> = (0..10)
            .map(|_| {
                let (http, url) = (platform.http.clone(), format!("{}/?ms=0", platform.router));
                tokio::spawn(async move { http.get(url).send().await.unwrap().status() })
            })
            .collect();
        for answer in waking {
            assert_eq!(answer.await.unwrap(), 200, "round {round}: held until it was awake");
        }
    }
    platform.stop();
}

fn agent(platform: &Platform, data: &Path, token: Option<&str>) -> Child {
    let mut agent = Command::new(HOB);
    agent.args(["agent", "--name", "node-2", "--join", &platform.api, "--data"]).arg(data);
    agent.args(token.into_iter().flat_map(|token| ["--token", token]));
    agent.env_remove("HOB_TOKEN").env_remove("HOB_URL").env_remove("HOB_DATA");
    agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn join_token(platform: &Platform) -> String {
    platform.hob_json(&["nodes", "token"])["token"].as_str().unwrap().to_owned()
}

/// Waits until a node takes instances: what is ordered before then goes elsewhere.
async fn until_there(platform: &Platform, node: &str) {
    let there = |answer: &Value| {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().any(|item| item["name"] == node && item["live"] == true)
    };
    platform.until(&format!("{node} is there"), "/v1/nodes", LIMIT, there).await;
}

/// Waits until so many instances are ready on a node.
async fn until_ready(platform: &Platform, node: &str, count: usize) {
    let ready = |answer: &Value| {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter(|item| item["node"] == node && item["state"] == "ready").count() == count
    };
    platform.until(&format!("{count} are ready on {node}"), "/v1/instances", LIMIT, ready).await;
}

async fn exit_code(mut agent: Child) -> (Option<i32>, String) {
    let deadline = Instant::now() + LIMIT;
    while agent.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the agent does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let output = agent.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_joins_is_lost_and_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let mut platform = start(home.path(), "");
    let exit = |arguments: &[&str]| platform.hob(arguments).status.code();
    assert_eq!(exit(&["nodes", "kill", "node-1"]), Some(6), "nothing would run any more");
    assert_eq!(exit(&["rollback", "nothing"]), Some(4));

    let data = home.path().join("second");
    let first = agent(&platform, &data, Some(&join_token(&platform)));
    until_there(&platform, "node-2").await;
    platform.hob(&["scale", "shop", "web=4"]);
    until_ready(&platform, "node-2", 2).await;
    assert_eq!(platform.routed("/?ms=0").await.status(), 200);

    // It is killed: what it had is replaced. Its instances are stopped by the next agent there, which needs no token.
    signal(first.id(), "KILL");
    until_ready(&platform, "node-1", 4).await;
    drop(first.wait_with_output());
    let second = agent(&platform, &data, None);
    until_there(&platform, "node-2").await;
    platform.hob(&["scale", "shop", "web=6"]);
    until_ready(&platform, "node-2", 2).await;

    assert_eq!(exit(&["nodes", "kill", "node-2"]), Some(0));
    until_ready(&platform, "node-1", 6).await;
    let (code, said) = exit_code(second).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("HOB-0126") && said.contains("--token TOKEN"), "{said}");
    assert_eq!(said.matches("HOB-0126").count(), 2, "once, with a hint: {said}");
    let left = std::fs::read_dir(data.join("node/instances")).unwrap().count();
    assert_eq!(left, 0, "its instances are stopped");

    let third = agent(&platform, &data, Some(&join_token(&platform)));
    until_there(&platform, "node-2").await;
    platform.hob(&["scale", "shop", "web=8"]);
    until_ready(&platform, "node-2", 2).await;
    signal(third.id(), "INT");
    assert_eq!(exit_code(third).await.0, Some(0));
    platform.stop();
}
