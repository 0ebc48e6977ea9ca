//! Agents that are killed or leave, shims that stay, and what is adopted.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use hob_agent::{Config, Shutdown};
use hob_core::{Clock, Secret};
use hob_wire::{InstanceReport, InstanceState};

use crate::fake_core::FakeCore;
use crate::node::{Bench, DEADLINE, block_on, instance, is_alive, wait_dead};

/// What the process that is killed in the tests below runs: an agent for ever.
pub(crate) fn agent_to_kill(arguments: &[OsString]) -> ExitCode {
    let text = |index: usize| arguments[index].to_str().unwrap().to_owned();
    block_on(async {
        let folder = PathBuf::from(text(3));
        let config = Config {
            node: "local".parse().unwrap(),
            core_url: text(2),
            token: Secret::generate("node"),
            work_dir: folder.join("node"),
            data_dir: folder.join("data"),
            clock: Clock::system(),
            exec: std::env::current_exe().unwrap(),
        };
        println!("running");
        std::io::stdout().flush().unwrap();
        hob_agent::run(config, std::future::pending()).await.unwrap();
    });
    ExitCode::SUCCESS
}

fn start_agent(core: &FakeCore, folder: &Path) -> Child {
    let mut agent = Command::new(std::env::current_exe().unwrap());
    agent.args(["agent", &core.url]).arg(folder).stdout(Stdio::piped());
    let mut agent = agent.spawn().unwrap();
    agent.stdout.take().unwrap().read_exact(&mut [0; 7]).unwrap();
    agent
}

fn is_ready(report: &InstanceReport) -> bool {
    report.state == InstanceState::Ready
}

/// The numbers of the lines `line N.` that came.
fn numbers(core: &FakeCore) -> Vec<u32> {
    let number =
        |line: &String| line.split_once("Stdout orders-web-1 line ")?.1.trim_end_matches('.').parse().ok();
    core.lines().iter().filter_map(number).collect()
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn written(folder: &Path) -> u32 {
    let text = std::fs::read_to_string(folder.join("data/services/qa/uk/orders/n")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

const COUNTS: &str = "n=0\nwhile true; do n=$((n+1)); echo \"line $n.\"; echo $n > $DATA_DIR/m; mv $DATA_DIR/m $DATA_DIR/n; sleep 0.01; done";

pub(crate) fn killed_agent() {
    block_on(async {
        let (core, folder) = (FakeCore::start().await, tempfile::tempdir().unwrap());
        let spec = instance(&core, "orders-web-1", COUNTS);
        core.intend(|intended| intended.instances.push(spec));
        let mut agent = start_agent(&core, folder.path());
        let ready = core.wait_instance("orders-web-1", "ready", is_ready).await;
        core.wait_line("line 20.").await;
        for _ in 0..3 {
            agent.kill().unwrap();
            agent.wait().unwrap();
            let before = written(folder.path());
            wait_until("it goes on without an agent", || written(folder.path()) > before + 20).await;
            assert!(is_alive(ready.pid.unwrap()));
            agent = start_agent(&core, folder.path());
            core.wait_line(&format!("line {}.", before + 20)).await;
        }
        let last = written(folder.path());
        core.wait_line(&format!("line {last}.")).await;
        let again = core.wait_instance("orders-web-1", "ready", is_ready).await;
        assert_eq!((again.pid, again.restarts, again.address), (ready.pid, 0, ready.address));
        let mut numbers = numbers(&core);
        numbers.sort_unstable();
        numbers.dedup();
        let complete: Vec<u32> = (1..=*numbers.last().unwrap()).collect();
        assert_eq!(numbers, complete, "every line is there");

        // What is no more intended is stopped, by whichever agent there is.
        core.intend(|intended| intended.instances.clear());
        core.wait_gone("orders-web-1").await;
        wait_dead(ready.pid.unwrap()).await;
        agent.kill().unwrap();
        agent.wait().unwrap();
    });
}

pub(crate) fn overflow() {
    block_on(async {
        let bench = Bench::start().await;
        let script = "wait_for() { while ! test -e $DATA_DIR/$1; do sleep 0.01; done; }\nwait_for go\n\
            perl -e 'for $n (1..1200) { print \"$n:\", \"x\" x 70000, \"\\n\" }'\necho > $DATA_DIR/written\n\
            wait_for end\necho the end\nexec sleep 1000";
        bench.run("orders-web-1", script, |_| {});
        bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        let data = bench.data();
        let (core, folder) = bench.end_as(Shutdown::Leave).await;
        std::fs::write(data.join("go"), "").unwrap();
        // Each is cut to 64 KiB, so all of them are more than the spool's 64 MiB.
        wait_until("all are written", || data.join("written").try_exists().unwrap()).await;
        let run =
            std::fs::read_dir(folder.path().join("node/instances")).unwrap().next().unwrap().unwrap().path();
        let spool = std::fs::metadata(run.join("spool")).unwrap().len();
        assert!((60 << 20..=64 << 20).contains(&spool), "{spool}");
        let bench = Bench::at(core, folder);
        bench.core.wait_line("process").await;
        wait_until("the spool is empty again", || std::fs::metadata(run.join("spool")).unwrap().len() == 0)
            .await;
        std::fs::write(data.join("end"), "").unwrap();
        bench.core.wait_line("the end").await;
        let told = bench.core.wait_line("lines had no room and were dropped").await;
        let dropped: usize = told.split(' ').nth(2).unwrap().parse().unwrap();
        let came = bench.core.lines().iter().filter(|line| line.contains(":xxxx")).count();
        assert_eq!((came + dropped, dropped > 100), (1200, true), "{came} came, {dropped} were dropped");
        bench.end().await;
    });
}

pub(crate) fn left() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", COUNTS, |_| {});
        let ready = bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        bench.core.wait_line("line 20.").await;
        let (core, folder) = bench.end_as(Shutdown::Leave).await;
        let before = written(folder.path());
        wait_until("it goes on without an agent", || written(folder.path()) > before + 20).await;
        let bench = Bench::at(core, folder);
        bench.core.wait_line(&format!("line {}.", before + 20)).await;
        let again = bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        assert_eq!((again.pid, again.restarts), (ready.pid, 0));
        let numbers = numbers(&bench.core);
        let complete: Vec<u32> = (1..=*numbers.last().unwrap()).collect();
        assert_eq!(numbers, complete, "every line is there once, in order");
        bench.core.wait_line("is adopted").await;
        bench.end().await;
        wait_dead(ready.pid.unwrap()).await;
    });
}

pub(crate) fn crash_loop() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "exit 3", |_| {});
        bench.core.wait_instance("orders-web-1", "started again", |r| r.restarts == 2).await;
        let (core, folder) = bench.end_as(Shutdown::Leave).await;
        let bench = Bench::at(core, folder);
        bench.core.wait_line("it is started again in 4s").await;
        let counts = |r: &InstanceReport| r.state == InstanceState::Failed && r.restarts >= 2;
        bench.core.wait_instance("orders-web-1", "counted on", counts).await;
        let first = bench.core.lines().iter().filter(|line| line.contains("again in 1s")).count();
        assert_eq!(first, 1, "the next agent does not begin anew");
        bench.end().await;
    });
}

/// What the shim of the only instance wrote down.
fn state(folder: &Path) -> serde_json::Value {
    let run = std::fs::read_dir(folder.join("node/instances")).unwrap().next().unwrap().unwrap().path();
    serde_json::from_slice(&std::fs::read(run.join("state.json")).unwrap()).unwrap()
}

fn shim(folder: &Path) -> u32 {
    u32::try_from(state(folder)["shim"]["pid"].as_u64().unwrap()).unwrap()
}

fn groups(folder: &Path) -> Vec<String> {
    let state = state(folder);
    state["groups"].as_object().unwrap().values().map(|path| path.as_str().unwrap().to_owned()).collect()
}

fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

pub(crate) fn killed_shim() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "exec sleep 1000", |_| {});
        let first = bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        let groups = groups(bench.folder.path());
        kill(shim(bench.folder.path()));
        wait_dead(first.pid.unwrap()).await;
        bench.core.wait_line("ended with its shim, which was killed").await;
        let next = bench
            .core
            .wait_instance("orders-web-1", "started again", |r| is_ready(r) && r.pid != first.pid)
            .await;
        assert_eq!(next.restarts, 1);
        bench.end().await;
        let left: Vec<&String> = groups.iter().filter(|path| Path::new(path).try_exists().unwrap()).collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
    });
}

pub(crate) fn folder_gone() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "exec sleep 1000", |_| {});
        let ready = bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        let (_, folder) = bench.end_as(Shutdown::Leave).await;
        let (shim, groups) = (shim(folder.path()), groups(folder.path()));
        assert!(is_alive(ready.pid.unwrap()) && is_alive(shim));
        drop(folder);
        wait_dead(ready.pid.unwrap()).await;
        wait_dead(shim).await;
        let left: Vec<&String> = groups.iter().filter(|path| Path::new(path).try_exists().unwrap()).collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
    });
}

pub(crate) fn once() {
    block_on(async {
        let bench = Bench::start().await;
        let script = "echo run >> $DATA_DIR/runs\necho migrated";
        bench.run("orders-migrate-1", script, |instance| instance.once_ms = Some(20_000));
        let is_done = |r: &InstanceReport| r.state == InstanceState::Stopped;
        let done = bench.core.wait_instance("orders-migrate-1", "done", is_done).await;
        assert_eq!((done.ended.as_deref(), done.reason), (Some("status 0"), None));
        bench.core.wait_line("Stdout orders-migrate-1 migrated").await;
        let data = bench.data();
        let (core, folder) = bench.end_as(Shutdown::Leave).await;
        let bench = Bench::at(core, folder);
        bench.run("orders-migrate-2", "echo cannot; exit 4", |instance| instance.once_ms = Some(20_000));
        let is_failed = |r: &InstanceReport| r.state == InstanceState::Failed;
        let failed = bench.core.wait_instance("orders-migrate-2", "failed", is_failed).await;
        assert_eq!(failed.ended.as_deref(), Some("status 4"));
        assert!(failed.reason.unwrap().contains("cannot"));
        bench.run("orders-migrate-3", "exec sleep 1000", |instance| instance.once_ms = Some(300));
        let failed = bench.core.wait_instance("orders-migrate-3", "failed", is_failed).await;
        assert!(failed.reason.unwrap().starts_with("took too long; was ended by signal 15"));
        bench.core.wait_instance("orders-migrate-1", "still told of", is_done).await;
        assert_eq!(std::fs::read_to_string(data.join("runs")).unwrap(), "run\n", "it ran once");
        bench.drop("orders-migrate-1");
        bench.core.wait_gone("orders-migrate-1").await;
        bench.end().await;
    });
}
