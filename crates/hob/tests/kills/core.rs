//! A core that a test starts, calls and kills.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::history::Stored;

/// The program that is killed; another one when `HOB_TEST_HOB` names it, so that a long run outlives a build.
fn hob() -> OsString {
    std::env::var_os("HOB_TEST_HOB").unwrap_or_else(|| env!("CARGO_BIN_EXE_hob").into())
}

const API_PORT: u16 = 7070;
/// How long a core may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);
/// Events of one page.
const PAGE: usize = 1000;
/// Segments are closed after so many bytes, and the index is flushed after so many events, so that a few loops seal and
/// flush often.
const SIZES: [&str; 4] = ["--segment-bytes", "32768", "--index-events", "400"];

/// The topic that is published on, and who publishes.
pub(crate) const TOPIC: &str = "orders";
pub(crate) const OWNER: &str = "shop";
/// Who consumes.
pub(crate) const CONSUMER: &str = "kitchen";

/// The core of one data directory; one process after the other.
pub(crate) struct Core {
    pub(crate) folder: PathBuf,
    offset: u16,
    child: Option<Child>,
    pub(crate) http: reqwest::Client,
}

/// An answer that came whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Core {
    /// A core of a folder; it does not run yet.
    pub(crate) fn of(folder: &Path) -> Self {
        let offset = (0..100).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            port.checked_sub(API_PORT).filter(|offset| (1..50_000).contains(offset))
        });
        // A folder remembers the ports that it began with.
        let known = std::fs::read_to_string(folder.join("port-offset")).ok();
        let known = known.and_then(|text| text.trim().parse().ok());
        Self {
            folder: folder.to_owned(),
            offset: known.or(offset).expect("a free port"),
            child: None,
            http: hob_sdk::tls::Trust::platform().client_builder().build().expect("a client"),
        }
    }

    /// Starts a process, without waiting for it.
    pub(crate) fn spawn(&mut self) {
        let said = std::fs::File::options().append(true).create(true).open(self.folder.join("said")).unwrap();
        let mut command = Command::new(hob());
        command.args(["core", "--port-offset", &self.offset.to_string()]).args(SIZES);
        command.arg("--data").arg(&self.folder);
        command.env_remove("HOB_URL").env_remove("HOB_TOKEN").stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.stderr(said).spawn().unwrap());
    }

    /// Starts it and waits until it answers; what it said when it ends instead.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        self.spawn();
        let deadline = Instant::now() + START_MAX;
        let mut every = tokio::time::interval(Duration::from_millis(10));
        while !self.is_ready().await {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return Err(format!("{status}: {}", self.said()));
            }
            assert!(Instant::now() < deadline, "the core does not answer: {}", self.said());
            every.tick().await;
        }
        Ok(())
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/health/ready", self.url())).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// What its processes wrote.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", API_PORT + self.offset)
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.folder.join("admin.token")).unwrap().trim().to_owned()
    }

    /// How to call it.
    pub(crate) fn caller(&self) -> Caller {
        Caller { http: self.http.clone(), url: self.url(), token: self.token() }
    }

    /// The port at which it looks for its router.
    pub(crate) fn router_port(&self) -> u16 {
        8080 + self.offset
    }

    /// Applies a platform of these files.
    pub(crate) fn apply(&self, files: &[(&str, &str)]) {
        let platform = self.folder.join("platform");
        std::fs::create_dir_all(&platform).unwrap();
        for (name, text) in files {
            let file = platform.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let mut command = Command::new(hob());
        command.arg("apply").arg(&platform).arg("--data").arg(&self.folder).args(["--url", &self.url()]);
        let output = command.env_remove("HOB_URL").env_remove("HOB_TOKEN").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Declares a platform of one scope, the topic and the subscriptions.
    pub(crate) async fn declare(&self, subscriptions: &[&str]) {
        self.apply(&[("hob.yml", "platform: kills\nenvironments: [test]\ntenants: [one]\n")]);
        let caller = self.caller();
        let path = format!("/v1/topics/{TOPIC}?service={OWNER}");
        caller.must("PUT", &path, &json!({"kind": "notify"})).await;
        for name in subscriptions {
            // Giving back counts as a failure; however often it happens, nothing becomes a dead letter.
            let spec = json!({"topics": [TOPIC], "from": "start", "delivery": {"on_poison": "block"}});
            caller.must("PUT", &format!("/v1/subscriptions/{name}?service={CONSUMER}"), &spec).await;
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Calls a core; clones share connections.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Caller {
    /// Sends a request; none when no whole answer came.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.ok()?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).ok()? };
        Some(Answer { status, body })
    }

    /// Sends a request that must succeed.
    pub(crate) async fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, Some(body)).await.unwrap();
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    /// Gets a resource that must be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None).await.unwrap();
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.body
    }

    /// The topic's events after a sequence, to the end of the log.
    pub(crate) async fn events(&self, after: u64) -> Vec<Stored> {
        let mut events = Vec::new();
        let mut next = Some(format!("/v1/events?topic={TOPIC}&after={after}&limit={PAGE}"));
        while let Some(path) = next {
            let page = self.get(&path).await;
            events.extend(page["items"].as_array().unwrap().iter().map(stored));
            next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        }
        events
    }

    /// Whether a condition of Hob's own is active.
    pub(crate) async fn is_reported(&self, condition: &str) -> bool {
        let page = self.get("/v1/events?topic=hob.conditions&limit=1000").await;
        let items = page["items"].as_array().unwrap();
        let last = items.iter().rfind(|event| event["data"]["condition"] == condition);
        last.is_some_and(|event| event["data"]["active"] == true)
    }
}

/// What the checker wants to know of an event.
pub(crate) fn stored(event: &Value) -> Stored {
    Stored {
        sequence: event["sequence"].as_str().unwrap().parse().unwrap(),
        id: event["id"].as_str().unwrap().to_owned(),
        entity: event["subject"].as_str().unwrap().to_owned(),
        entityseq: event["entityseq"].as_u64().unwrap(),
    }
}
