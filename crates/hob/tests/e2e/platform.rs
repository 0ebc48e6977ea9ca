//! A Hob that a test starts with `hob up`, on free ports and a data directory of its own, and stops.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// The binary under test.
pub(crate) const HOB: &str = env!("CARGO_BIN_EXE_hob");

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A running platform.
pub(crate) struct Platform {
    pub(crate) data: PathBuf,
    pub(crate) api: String,
    pub(crate) router: String,
    arguments: Vec<String>,
    child: Child,
    said: Arc<Mutex<String>>,
    pub(crate) http: reqwest::Client,
}

/// A port offset at which the API's and the router's ports are free.
pub(crate) fn free_offset() -> u16 {
    for _ in 0..100 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let Some(offset) = port.checked_sub(8080).filter(|offset| *offset > 0 && *offset < 50_000) else {
            continue;
        };
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(7070 + offset) && free(8080 + offset) {
            return offset;
        }
    }
    panic!("no two free ports were found");
}

impl Platform {
    /// Starts a platform in `folder` and waits until it says that it is ready.
    pub(crate) fn start(folder: &Path, data: &Path, arguments: &[&str]) -> Self {
        // HTTP clients ask for it even where nothing is encrypted.
        hob_sdk::tls::provider();
        let offset = free_offset();
        let mut all = vec!["up".to_owned(), folder.display().to_string()];
        all.extend(["--port-offset".to_owned(), offset.to_string()]);
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let (child, said) = spawn(&all, data);
        let mut platform = Self {
            data: data.to_owned(),
            api: format!("http://127.0.0.1:{}", 7070 + offset),
            router: format!("http://127.0.0.1:{}", 8080 + offset),
            arguments: all,
            child,
            said,
            http: reqwest::Client::new(),
        };
        platform.wait_ready();
        platform
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(300);
        while !self.said().contains("Ctrl-C stops everything") {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "hob up ended with {ended:?}:\n{}", self.said());
            assert!(Instant::now() < deadline, "hob up is not ready:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `hob up` and its children wrote so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// The process ids of Hob's children with this name.
    pub(crate) fn children(&self, name: &str) -> Vec<u32> {
        let output = Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mine = self.child.id().to_string();
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let wanted = rows.filter(|row| row.get(1) == Some(&mine.as_str()) && row.get(3) == Some(&name));
        wanted.map(|row| row[0].parse().unwrap()).collect()
    }

    /// Runs a verb of the command line against this platform.
    pub(crate) fn hob(&self, arguments: &[&str]) -> Output {
        Command::new(HOB)
            .args(arguments)
            .current_dir(root().join("examples/takeaway"))
            .env("HOB_DATA", &self.data)
            .env("TAKEAWAY_PROFILE", "dev")
            .env_remove("HOB_URL")
            .env_remove("HOB_TOKEN")
            .output()
            .unwrap()
    }

    /// The JSON that a verb answers with.
    pub(crate) fn hob_json(&self, arguments: &[&str]) -> Value {
        let output = self.hob(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The admin's token.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data.join("admin.token")).unwrap().trim().to_owned()
    }

    /// Gets a resource of the API.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.api)).bearer_auth(self.token());
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Gets a path through the router.
    pub(crate) async fn routed(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.router)).send().await.unwrap()
    }

    /// Asks until the answer satisfies, and gives it back.
    pub(crate) async fn until(
        &self,
        what: &str,
        path: &str,
        limit: Duration,
        satisfies: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            let url = if path.starts_with("/v1/") {
                format!("{}{path}", self.api)
            } else {
                format!("{}{path}", self.router)
            };
            if let Ok(answer) = self.http.get(url).bearer_auth(self.token()).send().await
                && let Ok(value) = answer.json::<Value>().await
            {
                if satisfies(&value) {
                    return value;
                }
                last = value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let shown = |arguments: &[&str]| String::from_utf8_lossy(&self.hob(arguments).stdout).into_owned();
        let (instances, warnings) = (shown(&["instances"]), shown(&["logs", "--level", "warn", "-n", "20"]));
        panic!(
            "{what}: not within {limit:?}; last answer of {path}: {last}\n{}\n{instances}\n{warnings}",
            self.said()
        );
    }

    /// Stops it as Ctrl-C does, and checks that it stops cleanly and leaves no process behind.
    pub(crate) fn stop(&mut self) {
        let mut groups = self.descendants();
        // Those that were adopted are no descendants.
        groups.extend(self.shims());
        signal(self.child.id(), "INT");
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "hob up does not stop:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        let left: Vec<u32> =
            groups.into_iter().filter(|pid| Path::new(&format!("/proc/{pid}")).is_dir()).collect();
        assert!(left.is_empty(), "processes are left: {left:?}");
    }

    /// Ends Hob itself by a signal that leaves instances running, and waits until it is gone.
    pub(crate) fn leave(&mut self, name: &str) {
        let children = [self.children("core"), self.children("router")].concat();
        signal(self.child.id(), name);
        self.child.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(40);
        while children.iter().any(|pid| Path::new(&format!("/proc/{pid}")).is_dir()) {
            assert!(Instant::now() < deadline, "core and router outlive hob up:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The shims of the node, by what they wrote down.
    fn shims(&self) -> Vec<u32> {
        let runs = std::fs::read_dir(self.data.join("node/instances")).into_iter().flatten().flatten();
        let pid = |run: std::fs::DirEntry| {
            let state = std::fs::read(run.path().join("state.json")).ok()?;
            let state: Value = serde_json::from_slice(&state).ok()?;
            u32::try_from(state["shim"]["pid"].as_u64()?).ok()
        };
        runs.filter_map(pid).collect()
    }

    /// Starts it again on the same data directory and ports.
    pub(crate) fn start_again(&mut self) {
        let (child, said) = spawn(&self.arguments, &self.data);
        (self.child, self.said) = (child, said);
        self.wait_ready();
    }

    fn descendants(&self) -> Vec<u32> {
        let output = Command::new("ps").args(["-eo", "pid=,ppid="]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs: Vec<(u32, u32)> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
            })
            .collect();
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while at < found.len() {
            let of = found[at];
            found.extend(pairs.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
            at += 1;
        }
        found.split_off(1)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // A test that failed leaves it running; nothing of it may outlive the test.
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Instances outlive Hob when it is killed; their programs end with their shims.
        for pid in self.shims() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

fn spawn(arguments: &[String], data: &Path) -> (Child, Arc<Mutex<String>>) {
    let mut child = Command::new(HOB)
        .args(arguments)
        .env("HOB_DATA", data)
        .env("TAKEAWAY_PROFILE", "dev")
        .env_remove("HOB_URL")
        .env_remove("HOB_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let (stderr, copy) = (child.stderr.take().unwrap(), Arc::clone(&said));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = copy.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
    (child, said)
}
