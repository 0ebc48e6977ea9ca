//! What instances say of themselves, and what happens when they do not.

use hob_wire::{Check, InstanceReport, InstanceState, Startup, Warmup};

use crate::node::{Bench, SERVER, block_on};

fn is_ready(report: &InstanceReport) -> bool {
    report.state == InstanceState::Ready
}

fn check(path: &str) -> Check {
    Check { http: Some(path.to_owned()), host: None, every_ms: 50, timeout_ms: 1000, fall: 3, rise: 1 }
}

fn notifies(deadline_ms: u64) -> Option<Startup> {
    Some(Startup { notify: true, check: None, deadline_ms })
}

pub(crate) fn systemd_notify() {
    block_on(async {
        let bench = Bench::start().await;
        // A stranger may know the name of the socket: it is not heard.
        let script = "echo $NOTIFY_SOCKET > $DATA_DIR/socket\n\
            while ! test -e $DATA_DIR/go; do sleep 0.01; done\n\
            systemd-notify --ready --status='warm and willing' || echo failed\n\
            while ! test -e $DATA_DIR/stop; do sleep 0.01; done\n\
            systemd-notify STOPPING=1; exec sleep 1000";
        bench.run("orders-web-1", script, |instance| instance.startup = notifies(60_000));
        let waits = |r: &InstanceReport| r.reason.as_deref() == Some("waits for READY=1");
        bench.core.wait_instance("orders-web-1", "waiting", waits).await;
        let socket = bench.data().join("socket");
        let name = loop {
            let text = std::fs::read_to_string(&socket).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        let stranger = tokio::process::Command::new("systemd-notify")
            .args(["--no-block", "--ready", "STATUS=not mine"])
            .env("NOTIFY_SOCKET", name)
            .status();
        assert!(stranger.await.unwrap().success());
        std::fs::write(bench.data().join("go"), "").unwrap();
        let ready = bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        assert_eq!(ready.status.as_deref(), Some("warm and willing"));
        assert!(!bench.core.lines().iter().any(|line| line.contains("failed")), "{:?}", bench.core.lines());
        std::fs::write(bench.data().join("stop"), "").unwrap();
        let stops = |r: &InstanceReport| r.state == InstanceState::Draining;
        let stopping = bench.core.wait_instance("orders-web-1", "stopping", stops).await;
        assert_eq!((stopping.pid, stopping.reason.as_deref()), (ready.pid, Some("it says that it stops")));

        // Also from a namespace and a user of its own, as far as this node has them.
        bench.run("orders-web-2", "systemd-notify --ready --status=confined; exec sleep 1000", |instance| {
            instance.startup = notifies(60_000);
            instance.sandbox.isolation = None;
        });
        let confined = bench.core.wait_instance("orders-web-2", "ready", is_ready).await;
        assert_eq!(confined.status.as_deref(), Some("confined"));
        bench.end().await;
    });
}

pub(crate) fn deadline() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "", |instance| {
            instance.listens = true;
            instance.run = ["perl", "-e", SERVER].map(str::to_owned).to_vec();
            instance.startup = Some(Startup { notify: true, check: Some(check("/up")), deadline_ms: 2000 });
        });
        let failed = bench
            .core
            .wait_instance("orders-web-1", "failed", |r: &InstanceReport| r.state == InstanceState::Failed)
            .await;
        let reason = failed.reason.unwrap();
        for part in [
            "had not started after 2s; was ended by signal 15; the last probes: ",
            "GET /up answered 503 Service Unavailable",
            " times)",
            "its last lines:\nlistening",
        ] {
            assert!(reason.contains(part), "{part} in {reason}");
        }
        assert_eq!(failed.ended.as_deref(), Some("signal 15"));
        bench.end().await;
    });
}

pub(crate) fn lives() {
    block_on(async {
        let bench = Bench::start().await;
        // It says once that it lives, and no more.
        bench.run("orders-web-1", "systemd-notify READY=1 WATCHDOG=1; exec sleep 1000", |instance| {
            instance.startup = notifies(60_000);
            instance.env.insert("WATCHDOG_USEC".to_owned(), "700000".to_owned());
        });
        bench.core.wait_line("did not say that it lives (WATCHDOG=1) in its time; it is ended").await;
        bench.core.wait_instance("orders-web-1", "started again", |r| r.restarts == 1).await;
        bench.drop("orders-web-1");

        bench.run("orders-web-2", "", |instance| {
            instance.listens = true;
            instance.liveness = Some(check("/live"));
            instance.run = ["perl", "-e", SERVER].map(str::to_owned).to_vec();
        });
        std::fs::create_dir_all(bench.data()).unwrap();
        std::fs::write(bench.data().join("ready"), "").unwrap();
        let first = bench.core.wait_instance("orders-web-2", "ready", is_ready).await;
        std::fs::remove_file(bench.data().join("ready")).unwrap();
        bench
            .core
            .wait_line("does not live any more: GET /live answered 503 Service Unavailable; it is ended")
            .await;
        std::fs::write(bench.data().join("ready"), "").unwrap();
        let is_next = |r: &InstanceReport| is_ready(r) && r.pid != first.pid;
        bench.core.wait_instance("orders-web-2", "started again", is_next).await;
        bench.end().await;
    });
}

/// Answers, and notes every path that it is asked for; slow for its first requests, as one that fills its caches.
const SLOW: &str = r#"
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ENV{PORT}, Listen => 5, ReuseAddr => 1) or die;
$| = 1;
my $asked = 0;
while (my $client = $server->accept) {
    my $first = <$client> or next;
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/; print "host $1\n" if $line =~ /^host: (\S+)/i }
    print "asked $first";
    select(undef, undef, undef, 0.3) if $asked++ < 3;
    print $client "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $client;
}
"#;

pub(crate) fn warm_up() {
    block_on(async {
        let bench = Bench::start().await;
        bench.run("orders-web-1", "", |instance| {
            instance.listens = true;
            instance.run = ["perl", "-e", SLOW].map(str::to_owned).to_vec();
            instance.readiness = Some(Check { host: Some("orders.internal".into()), ..check("/health") });
            instance.warmup = Some(Warmup {
                requests: vec!["/menus/top".to_owned()],
                rounds: 2,
                until_p95_ms: Some(250),
                max_ms: 60_000,
                slow_start_ms: 0,
            });
        });
        let warms = |r: &InstanceReport| r.reason.as_deref().is_some_and(|why| why.starts_with("warming: "));
        let warming = bench.core.wait_instance("orders-web-1", "warming", warms).await;
        assert_eq!(warming.state, InstanceState::Starting);
        bench.core.wait_instance("orders-web-1", "ready", is_ready).await;
        bench.core.wait_line("Agent orders-web-1 warm after").await;
        bench.core.wait_line("host orders.internal").await;
        let asked = bench.core.lines().iter().filter(|line| line.contains("asked GET /menus/top")).count();
        assert!(asked >= 3, "two rounds were slow: {asked}");

        // Without a word on readiness, connections are tried.
        bench.run("orders-web-2", "", |instance| {
            instance.listens = true;
            let late = format!("sleep 1 while !-e \"$ENV{{DATA_DIR}}/listen\"; {SERVER}");
            instance.run = vec!["perl".to_owned(), "-e".to_owned(), late];
        });
        let refused = |r: &InstanceReport| {
            r.reason.as_deref().is_some_and(|why| why.starts_with("nothing listens at 127.0.0.1:"))
        };
        bench.core.wait_instance("orders-web-2", "refusing", refused).await;
        std::fs::write(bench.data().join("listen"), "").unwrap();
        bench.core.wait_instance("orders-web-2", "ready", is_ready).await;
        bench.end().await;
    });
}
