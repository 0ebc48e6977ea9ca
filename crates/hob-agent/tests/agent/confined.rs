//! How far instances are confined on this machine, tried with programs that try to get out. Each test says what it
//! passes over where the machine or the user has no means for it.

use hob_wire::{InstanceReport, InstanceState, Isolation, Resources, Sandbox};

use crate::node::{Bench, block_on};

fn is_ready(report: &InstanceReport) -> bool {
    report.state == InstanceState::Ready
}

/// Says what it can reach, each as `name=yes` or `name=no`.
const TRIES: &str = r#"try() { if sh -c "$2" > /dev/null 2>&1; then echo "$1=yes."; else echo "$1=no."; fi; }
try data 'echo x > $DATA_DIR/x && mv $DATA_DIR/x $DATA_DIR/y'
try tmpdir 'echo x > $TMPDIR/x'
try package 'echo x > ./x'
try secrets 'ls ../../instances'
try home 'ls /home'
try tmp 'echo x > /tmp/hob-escape'
try mount 'mount -t tmpfs x /mnt'
try etc 'cat /etc/passwd'
try null 'echo x > /dev/null'
try processes 'kill -0 '$OUTSIDE
try stdout 'echo x > /dev/stdout'
try python 'python3 -c 1'
echo "user=$(id -u). pid=$$. host=$(uname -n). privileges=$(grep NoNewPrivs /proc/self/status | tr -d '\t')."
exec sleep 1000"#;

pub(crate) fn levels() {
    block_on(async {
        let bench = Bench::start().await;
        let most = bench.core.wait_report("with facts", |r| !r.facts.host.is_empty()).await.facts.confinement;
        println!("here instances are confined up to {most:?}");
        let mut pythons = None;
        for (wanted, expected) in [
            (Isolation::L0, "data=yes tmpdir=yes package=yes secrets=yes etc=yes null=yes stdout=yes"),
            (
                Isolation::L1,
                "data=yes tmpdir=yes package=no secrets=no home=no tmp=no mount=no etc=yes null=yes stdout=yes",
            ),
            (
                Isolation::L2,
                "data=yes tmpdir=yes package=no secrets=no tmp=yes mount=no etc=yes processes=no stdout=yes",
            ),
            (
                Isolation::L3,
                "data=yes tmpdir=yes package=no secrets=no tmp=yes mount=no etc=yes processes=no stdout=yes",
            ),
        ] {
            if wanted > most.isolation {
                println!("{wanted:?} is passed over: {:?}", most.missing);
                continue;
            }
            let id = format!("orders-{}-1", format!("{wanted:?}").to_lowercase());
            bench.run(&id, TRIES, |instance| {
                instance.sandbox = Sandbox { isolation: Some(wanted), ..Sandbox::default() };
                instance.env.insert("OUTSIDE".to_owned(), std::process::id().to_string());
            });
            let report = bench.core.wait_instance(&id, "ready", is_ready).await;
            assert_eq!(report.confinement.isolation, wanted, "{:?}", report.confinement);
            let line = bench.core.wait_line(&format!("{id} user=")).await;
            let lines = bench.core.lines();
            for part in expected.split(' ') {
                let line = format!("{id} {part}.");
                assert!(lines.iter().any(|seen| seen.ends_with(&line)), "{wanted:?} {part}: {lines:?}");
            }
            // What PATH finds runs at every level as it does without one, wherever it is.
            let python = lines.iter().find_map(|line| line.split_once(&format!("{id} python="))).unwrap().1;
            assert_eq!(python, pythons.get_or_insert_with(|| python.to_owned()), "{wanted:?}");
            assert_eq!(line.contains("NoNewPrivs:1"), wanted >= Isolation::L1, "{line}");
            assert_eq!(line.contains(&format!("host={id}")), wanted >= Isolation::L2, "{line}");
            assert_eq!(line.contains("user=1"), wanted >= Isolation::L3, "{line}");
            let escaped = std::fs::remove_file("/tmp/hob-escape").is_ok();
            assert_eq!(escaped, wanted == Isolation::L0);
            bench.drop(&id);
            bench.core.wait_gone(&id).await;
        }
        bench.end().await;
    });
}

pub(crate) fn limits() {
    block_on(async {
        let bench = Bench::start().await;
        let facts = bench.core.wait_report("with facts", |r| !r.facts.host.is_empty()).await.facts;
        let most = facts.confinement;
        println!("control groups: {}, limits {:?}, missing {:?}", facts.cgroups, most.limits, most.missing);
        let has = |name: &str| most.limits.iter().any(|limit| limit == name);
        // It works, forks, and then wants more memory than it may have.
        let script = "perl -e 'my $end = times + 0.2; 1 while times < $end'\n\
            (for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo forked) || echo no more\n\
            echo up\nwhile ! test -e $DATA_DIR/go; do sleep 0.05; done\n\
            exec perl -e 'my @all; push @all, \"x\" x 1000000 while 1'";
        bench.run("orders-web-1", script, |instance| {
            instance.resources =
                Resources { cpu_millis: Some(500), memory_bytes: Some(48 << 20), pids: Some(8) };
            instance.sandbox.isolation = None;
        });
        bench.core.wait_line("Stdout orders-web-1 up").await;
        let uses = |r: &InstanceReport| is_ready(r) && r.usage.cpu_seconds >= 0.2 && r.usage.pids >= 1;
        let report = bench.core.wait_instance("orders-web-1", "using", uses).await;
        println!("{:?} {:?}", report.confinement, report.usage);
        assert!(report.usage.memory_bytes > 100_000, "{:?}", report.usage);
        assert_eq!(report.confinement.limits, most.limits);
        if has("pids") {
            assert!(report.usage.pids <= 8);
            assert!(!bench.core.lines().iter().any(|line| line.ends_with(" forked")));
        }
        if has("memory") {
            std::fs::write(bench.data().join("go"), "").unwrap();
            let is_out = |r: &InstanceReport| {
                r.reason.as_deref().is_some_and(|why| why.contains("(it had used up its memory)"))
            };
            bench.core.wait_instance("orders-web-1", "out of memory", is_out).await;
        }
        bench.end().await;
    });
}

pub(crate) fn own_user() {
    block_on(async {
        let bench = Bench::start().await;
        let most = bench.core.wait_report("with facts", |r| !r.facts.host.is_empty()).await.facts.confinement;
        if most.isolation < Isolation::L3 {
            println!("passed over: {:?}", most.missing);
            bench.end().await;
            return;
        }
        // Data that was there before belongs to somebody else; two releases share it from then on.
        std::fs::create_dir_all(bench.data().join("deep")).unwrap();
        std::fs::write(bench.data().join("deep/before"), "old").unwrap();
        let script = "id -u > $DATA_DIR/deep/user-$HOB_RELEASE && cat $DATA_DIR/deep/before > /dev/null && echo new >> $DATA_DIR/deep/before\n\
            echo \"home $HOME\"\nexec sleep 1000";
        for release in [1_u64, 2] {
            let id = format!("orders-web-{release}");
            bench.run(&id, script, |instance| {
                instance.release = release;
                instance.sandbox.isolation = None;
                instance.env.insert("HOB_RELEASE".to_owned(), release.to_string());
            });
            bench.core.wait_instance(&id, "ready", is_ready).await;
            bench.core.wait_line(&format!("{id} home ")).await;
        }
        let user =
            |release| std::fs::read_to_string(bench.data().join(format!("deep/user-{release}"))).unwrap();
        assert_eq!(user(1), user(2));
        assert!(user(1).trim().parse::<u32>().unwrap() >= 100_000);
        assert_eq!(std::fs::read_to_string(bench.data().join("deep/before")).unwrap(), "oldnew\nnew\n");
        bench.run("riders-web-1", "id -u > $DATA_DIR/user; exec sleep 1000", |instance| {
            instance.service = "riders".parse().unwrap();
            instance.sandbox.isolation = None;
        });
        bench.core.wait_instance("riders-web-1", "ready", is_ready).await;
        let place = bench.folder.path().join("data/services/qa/uk/riders/user");
        let other = loop {
            let text = std::fs::read_to_string(&place).unwrap_or_default();
            if text.ends_with('\n') {
                break text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert_ne!(other, user(1));
        bench.end().await;
    });
}
