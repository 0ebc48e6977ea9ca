//! Actions against a real server that answers well, badly, late and not at all.

use std::sync::{Arc, Mutex};

use hob_wire::{ActionMode, ActionState};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers `/200`, `/409` and so on with that status; `/hang` with nothing.
async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let mut chunk = [0; 4096];
                while !bytes.ends_with(b"}") {
                    let read = stream.read(&mut chunk).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    bytes.extend_from_slice(&chunk[..read]);
                }
                let request = String::from_utf8(bytes).unwrap();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().unwrap().push(request);
                if path == "/hang" {
                    return std::future::pending().await;
                }
                let body = json!({"type": "x", "title": "No", "status": 409, "detail": "it is on its way", "code": "HOB-0007"});
                let body = if path == "/500" { "it broke".to_owned() } else { body.to_string() };
                let status = path.trim_start_matches('/');
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (url, seen)
}

fn action(path: &str, method: &str) -> Action {
    Action {
        id: "action-i1-1".to_owned(),
        issue: "i1".to_owned(),
        rule: "unassigned".to_owned(),
        about: "http://orders.test/orders/7".to_owned(),
        relation: "force".to_owned(),
        title: "Force it".to_owned(),
        href: format!("http://orders.test{path}"),
        method: method.to_owned(),
        with: json!({"why": "late"}).as_object().cloned().unwrap(),
        mode: ActionMode::Auto,
        state: ActionState::Running,
        actor: "rule/unassigned".to_owned(),
        approved_by: None,
        reason: String::new(),
        asked: hob_core::Timestamp::EPOCH,
        until: None,
        ended: None,
        status: None,
        depth: 0,
        helped: None,
    }
}

#[tokio::test]
async fn every_answer_is_told() {
    hob_sdk::tls::provider();
    let (url, seen) = server().await;
    let mut actor = ActThroughRouter::new(&url).unwrap();
    actor.call_max = Duration::from_millis(300);
    let told = async |path: &str| actor.act(&action(path, "POST")).await;
    assert_eq!(told("/200").await, Acted { status: 200, error: None });
    assert_eq!(told("/204").await.status, 204);
    assert_eq!(told("/404").await, Acted { status: 404, error: Some("it is on its way".to_owned()) });
    assert_eq!(told("/409").await, Acted { status: 409, error: Some("it is on its way".to_owned()) });
    assert_eq!(told("/500").await, Acted { status: 500, error: Some("it broke".to_owned()) });
    let late = told("/hang").await;
    assert_eq!(late.status, 0);
    assert!(late.error.is_some());
    assert_eq!(actor.act(&action("/200", "PUT")).await.status, 200);
    let seen = seen.lock().unwrap().clone();
    // Each was called once: neither a failure nor a silence is repeated.
    assert_eq!(seen.len(), 7, "{seen:?}");
    let first = seen[0].to_lowercase();
    for part in
        ["post /200", "host: orders.test", "idempotency-key: action-i1-1", "x-request-id: action-i1-1"]
    {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(first.ends_with("{\"why\":\"late\"}"), "{first}");
    assert!(seen[6].starts_with("PUT /200"), "{}", seen[6]);
    let nowhere = ActThroughRouter::new("http://127.0.0.1:1").unwrap();
    let refused = nowhere.act(&action("/200", "POST")).await;
    assert_eq!(refused.status, 0);
    let odd = Action { href: "orders/7".to_owned(), ..action("/200", "POST") };
    assert_eq!(actor.act(&odd).await.error.as_deref(), Some("orders/7 is no absolute href"));
}
