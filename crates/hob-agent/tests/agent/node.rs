//! Instances as real processes: started, probed, started again, shot, stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hob_agent::{Config, Shutdown};
use hob_core::{Clock, Secret};
use hob_wire::{Check, InstanceState, IntendedInstance, Isolation, Resources, Sandbox, Shot, Stop};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake_core::FakeCore;
use crate::unpacking::corpus;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// A server of a few lines: answers 200 once `$DATA_DIR/ready` exists, 503 before.
pub(crate) const SERVER: &str = r#"
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{PORT}, Listen => 5, ReuseAddr => 1) or die;
$| = 1;
print "listening\n";
while (my $client = $server->accept) {
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    my $status = -e "$ENV{DATA_DIR}/ready" ? '200 OK' : '503 Not Yet';
    print $client "HTTP/1.1 $status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $client;
}
"#;

pub(crate) fn config(core: &FakeCore, folder: &std::path::Path) -> Config {
    Config {
        node: "local".parse().unwrap(),
        core_url: core.url.clone(),
        token: Secret::generate("node"),
        work_dir: folder.join("node"),
        data_dir: folder.join("data"),
        clock: Clock::system(),
        exec: std::env::current_exe().unwrap(),
    }
}

/// A core, an agent, and a package with a shell script as its program.
pub(crate) struct Bench {
    pub(crate) core: FakeCore,
    pub(crate) folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<Shutdown>>,
    agent: Option<JoinHandle<()>>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::at(FakeCore::start().await, tempfile::tempdir().unwrap())
    }

    /// An agent of a folder in which another may have been before.
    pub(crate) fn at(core: FakeCore, folder: tempfile::TempDir) -> Self {
        let config = config(&core, folder.path());
        let (stop, stopped) = oneshot::channel();
        let agent = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or(Shutdown::StopInstances) };
            hob_agent::run(config, shutdown).await.unwrap();
        });
        Self { core, folder, stop: Some(stop), agent: Some(agent) }
    }

    /// Has a script run as an instance.
    pub(crate) fn run(&self, id: &str, script: &str, change: impl FnOnce(&mut IntendedInstance)) {
        let mut instance = instance(&self.core, id, script);
        change(&mut instance);
        self.core.intend(|intended| intended.instances.push(instance));
    }

    pub(crate) fn drop(&self, id: &str) {
        self.core.intend(|intended| intended.instances.retain(|instance| instance.id != id));
    }

    /// A package with a script as its program.
    pub(crate) fn package(&self, script: &str) -> hob_core::Digest {
        instance(&self.core, "any", script).package
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data/services/qa/uk/orders")
    }

    /// Ends the agent and its instances.
    pub(crate) async fn end(self) {
        self.end_as(Shutdown::StopInstances).await;
    }

    /// Ends the agent, and gives back where it worked.
    pub(crate) async fn end_as(mut self, how: Shutdown) -> (FakeCore, tempfile::TempDir) {
        self.stop.take().unwrap().send(how).unwrap();
        tokio::time::timeout(DEADLINE, self.agent.take().unwrap()).await.unwrap().unwrap();
        (self.core, self.folder)
    }
}

pub(crate) fn instance(core: &FakeCore, id: &str, script: &str) -> IntendedInstance {
    let package = corpus::package(&[("bin/run", format!("#!/bin/sh\n{script}\n").as_bytes(), true)]);
    IntendedInstance {
        id: id.to_owned(),
        service: "orders".parse().unwrap(),
        process: "web".parse().unwrap(),
        scope: "qa/uk".parse().unwrap(),
        release: 1,
        package: core.keep_package(package),
        run: vec!["bin/run".to_owned(), "argument".to_owned()],
        listens: false,
        env: BTreeMap::from([("CURRENCY".to_owned(), "GBP".to_owned())]),
        once_ms: None,
        startup: None,
        readiness: None,
        liveness: None,
        warmup: None,
        stop: Stop { timeout_ms: 5000, ..Stop::default() },
        resources: Resources::default(),
        // What it is confined to is tried elsewhere; here a process is found as it is.
        sandbox: Sandbox { isolation: Some(Isolation::L0), ..Sandbox::default() },
    }
}

pub(crate) fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

/// Whether a process is there and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) async fn wait_dead(pid: u32) {
    let dead = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dead).await.unwrap_or_else(|_| panic!("process {pid} never ends"));
}

pub(crate) fn pid_in(line: &str) -> u32 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

pub(crate) fn environment_and_output() {
    block_on(async {
        let bench = Bench::start().await;
        let script = r#"echo "args=$1 currency=$CURRENCY cwd=$(pwd) tmp=$TMPDIR data=$DATA_DIR port=$PORT leak=$CARGO"
echo "to stderr" >&2
printf 'orders.placed:1|c' > /dev/udp/$STATSD_HOST/$STATSD_PORT
echo "session=$(cut -d' ' -f6 /proc/$$/stat) own=$$"
exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ENV{PORT}, Listen => 5); while (1) { close($s->accept) }'"#;
        bench.run("orders-web-1", script, |instance| {
            instance.listens = true;
            instance.run = vec!["bash".to_owned(), "bin/run".to_owned(), "first".to_owned()];
        });
        let report =
            bench.core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        let line = bench.core.wait_line("args=").await;
        let port = report.address.as_deref().unwrap().rsplit(':').next().unwrap();
        for part in [
            "Stdout orders-web-1 args=first",
            "currency=GBP",
            &format!("data={}", bench.data().display()),
            &format!("port={port} "),
            "/node/tmp/orders-web-1",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(line.ends_with("leak="), "the agent's own environment does not leak: {line}");
        bench.core.wait_line("Stderr orders-web-1 to stderr").await;
        bench.core.wait_line("Agent orders-web-1 started as process").await;
        let session = bench.core.wait_line("session=").await;
        let own = format!("session={0} own={0}", report.pid.unwrap());
        assert!(session.ends_with(&own), "it leads a session of its own: {session}");
        assert_eq!(bench.core.wait_sample("orders.placed").await, "orders-web-1 orders.placed:1|c");

        bench.drop("orders-web-1");
        bench.core.wait_gone("orders-web-1").await;
        assert!(!is_alive(report.pid.unwrap()));
        assert!(!bench.folder.path().join("node/tmp/orders-web-1").try_exists().unwrap());
        assert!(bench.data().try_exists().unwrap(), "data is kept");
        bench.core.wait_line("Agent orders-web-1 was ended by signal 15").await;
        bench.end().await;
    });
}

pub(crate) fn readiness() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "", |instance| {
            instance.listens = true;
            instance.readiness = Some(Check {
                http: Some("/health".into()),
                host: None,
                every_ms: 50,
                timeout_ms: 1000,
                fall: 3,
                rise: 1,
            });
            instance.run = ["perl", "-e", SERVER].map(str::to_owned).to_vec();
        });
        let is_refused =
            |r: &hob_wire::InstanceReport| r.reason.as_deref().is_some_and(|why| why.contains("503"));
        let report = bench.core.wait_instance("orders-web-1", "refused", is_refused).await;
        assert_eq!(report.state, InstanceState::Starting);
        std::fs::write(bench.data().join("ready"), "").unwrap();
        let ready =
            bench.core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        assert_eq!((ready.pid, ready.reason), (report.pid, None));
        std::fs::remove_file(bench.data().join("ready")).unwrap();
        let fallen =
            bench.core.wait_instance("orders-web-1", "fallen", |r| r.state == InstanceState::Starting).await;
        assert_eq!((fallen.pid, fallen.restarts), (report.pid, 0), "it is not started again for that");
        bench.end().await;
        assert!(!is_alive(report.pid.unwrap()), "instances end with their agent");
    });
}

pub(crate) fn restarts() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "echo one\necho 'cannot reach the database' >&2\nexit 3", |_| {});
        let failed =
            bench.core.wait_instance("orders-web-1", "failed", |r| r.state == InstanceState::Failed).await;
        let reason = failed.reason.unwrap();
        assert!(reason.starts_with("ended with status 3; its last lines:\n"), "{reason}");
        assert!(reason.contains("cannot reach the database") && reason.contains("one"), "{reason}");
        assert_eq!((failed.pid, failed.address), (None, None));
        bench.core.wait_instance("orders-web-1", "started again", |r| r.restarts == 2).await;
        bench.core.wait_line("it is started again in 2s").await;

        bench.run("orders-web-2", "", |instance| instance.run = vec!["no-such-program".to_owned()]);
        let failed =
            bench.core.wait_instance("orders-web-2", "failed", |r| r.state == InstanceState::Failed).await;
        assert!(failed.reason.as_deref().unwrap().contains("No such file"), "{failed:?}");
        bench.run("orders-web-3", "", |instance| instance.package = hob_core::Digest::of(b"unknown"));
        let failed =
            bench.core.wait_instance("orders-web-3", "failed", |r| r.state == InstanceState::Failed).await;
        assert!(failed.reason.as_deref().unwrap().contains("fetch package sha256:"), "{failed:?}");
        bench.end().await;
    });
}

pub(crate) fn stops() {
    block_on(async {
        let bench = Bench::start().await;
        let script =
            "trap '' TERM\nsleep 1000 &\necho \"child $!\"\necho up\nwhile true; do sleep 1000; done";
        bench.run("orders-web-1", script, |instance| instance.stop.timeout_ms = 300);
        let child = pid_in(&bench.core.wait_line("child ").await);
        let ready =
            bench.core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        bench.core.wait_line("Stdout orders-web-1 up").await;
        bench.drop("orders-web-1");
        bench.core.wait_instance("orders-web-1", "draining", |r| r.state == InstanceState::Draining).await;
        bench.core.wait_line("did not end in its time and is killed").await;
        bench.core.wait_gone("orders-web-1").await;
        assert!(!is_alive(ready.pid.unwrap()));
        wait_dead(child).await;

        // One that listens to SIGTERM ends by itself, and what it left in its group is killed.
        let script =
            "trap 'echo bye; exit 0' TERM\n(trap '' TERM; sleep 1000) &\necho \"orphan $!\"\necho up\nwait";
        bench.run("orders-web-2", script, |_| {});
        let orphan = pid_in(&bench.core.wait_line("orphan ").await);
        bench.core.wait_line("Stdout orders-web-2 up").await;
        bench.drop("orders-web-2");
        bench.core.wait_line("Stdout orders-web-2 bye").await;
        bench.core.wait_line("Agent orders-web-2 ended with status 0").await;
        bench.core.wait_gone("orders-web-2").await;
        wait_dead(orphan).await;
        bench.end().await;
    });
}

pub(crate) fn shots() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "exec sleep 1000", |_| {});
        let first =
            bench.core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        let shot = Shot { instance: "orders-web-1".to_owned(), pid: first.pid.unwrap() };
        bench.core.intend(|intended| intended.shoot.push(shot));
        bench.core.wait_line("was ended by signal 9").await;
        let is_next = |r: &hob_wire::InstanceReport| r.state == InstanceState::Ready && r.pid != first.pid;
        let next = bench.core.wait_instance("orders-web-1", "started again", is_next).await;
        assert_eq!(next.restarts, 1);
        // The order still stands and is given again: it does not hit the successor.
        bench.core.intend(|_| {});
        bench.run("orders-web-2", "exec sleep 1000", |_| {});
        bench.core.wait_instance("orders-web-2", "ready", |r| r.state == InstanceState::Ready).await;
        assert!(is_alive(next.pid.unwrap()));
        bench.end().await;
    });
}

pub(crate) fn core_away() {
    block_on(async {
        let bench = Bench::start().await;
        let script =
            "n=0\nwhile true; do n=$((n+1)); echo \"line $n.\"; echo $n > $DATA_DIR/n; sleep 0.05; done";
        bench.run("orders-web-1", script, |_| {});
        let before =
            bench.core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        bench.core.wait_line("line 3.").await;
        bench.core.go_away(true);
        let written = || std::fs::read_to_string(bench.data().join("n")).unwrap_or_default();
        while written().trim().parse::<u32>().map_or(true, |n| n < 20) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bench.core.go_away(false);
        for line in 4..=20 {
            bench.core.wait_line(&format!("line {line}.")).await;
        }
        bench.run("orders-web-2", "exec sleep 1000", |_| {});
        bench.core.wait_instance("orders-web-2", "ready", |r| r.state == InstanceState::Ready).await;
        let after =
            bench.core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        assert_eq!((before.pid, after.restarts), (after.pid, 0), "the core's absence did not touch it");
        bench.end().await;
    });
}

pub(crate) fn packages() {
    block_on(async {
        let bench = Bench::start().await;
        let (early, late) = (bench.package("echo early"), bench.package("echo late"));
        let unknown = hob_core::Digest::of(b"unknown");
        bench.core.intend(|intended| intended.packages = vec![early, unknown]);
        let report =
            bench.core.wait_report("fetched", |r| r.packages == [early] && !r.unfetched.is_empty()).await;
        assert!(report.unfetched[&unknown].contains("404"), "{report:?}");
        let facts = &report.facts;
        assert!(facts.cores > 0 && facts.memory_bytes > 1 << 20 && !facts.host.is_empty(), "{facts:?}");
        bench.core.intend(|intended| intended.packages = vec![late]);
        bench.core.wait_report("pruned", |r| r.packages == [late] && r.unfetched.is_empty()).await;
        let place = bench.folder.path().join("node/packages").join(early.hex());
        assert!(!place.try_exists().unwrap());
        bench.end().await;
    });
}
