//! Keeps a router running and holds its doors open. The listening sockets belong to `hob up` and are handed to each router
//! that it starts: while one ends and the next begins, connections wait in the sockets' queues and none is refused.
//!
//! An upgrade starts the program that is on disk now, waits until it takes connections, and only then tells the router
//! before to hand over. See docs/adr/0013-listeners-outlive-routers.md.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use hob_core::code;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Global;
use crate::core::EXIT_HOPELESS;
use crate::doors;
use crate::failure::{Exit, Failure};
use crate::screen;
use crate::settings::Settings;
use crate::supervisor::SELF;

/// Connections wait meanwhile, so the first pause is short.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A router that ran this long is forgiven its earlier ends.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// How long a router may take until it takes connections.
const READY_MAX: Duration = Duration::from_secs(10);
/// How long a router that was told to hand over may take to end; it bounds itself before that.
const LEAVE_MAX: Duration = Duration::from_secs(90);
/// From SIGTERM to SIGKILL.
const STOP_MAX: Duration = Duration::from_secs(25);
/// What is asked at the socket.
const UPGRADE: &str = "upgrade\n";
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Keeps one router running.
pub(crate) struct Doorkeeper {
    settings: Settings,
    /// HTTP, and HTTPS when there are certificates.
    doors: Vec<TcpListener>,
    /// What routers are started from: this program until the first upgrade, the one on disk from then on.
    program: PathBuf,
    on_disk: PathBuf,
    orders: UnixListener,
    current: Running,
    /// Routers that hand over, each with its number.
    leaving: JoinSet<u32>,
    numbers: BTreeSet<u32>,
}

struct Running {
    number: u32,
    child: Child,
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    started: Instant,
}

impl Doorkeeper {
    /// Opens the doors and starts a router behind them.
    pub(crate) fn start(settings: &Settings) -> Result<Self, Failure> {
        let mut doors = vec![doors::listen(settings.router_port())?];
        if settings.certificates().try_exists().context("look for certificates")? {
            doors.push(doors::listen(settings.secure_port())?);
        }
        let on_disk = std::env::current_exe().context("find this program")?;
        let current = run(Path::new(SELF), settings, &doors, 1)?;
        Ok(Self {
            settings: settings.clone(),
            doors,
            program: PathBuf::from(SELF),
            on_disk,
            orders: bind(&settings.orders()).context("open the router's order socket")?,
            current,
            leaving: JoinSet::new(),
            numbers: BTreeSet::from([1]),
        })
    }

    /// Keeps the router running until `stop`; then ends it gently, and at last by force.
    pub(crate) async fn keep(mut self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let mut stop = pin!(stop);
        let mut back_off = BACK_OFF_MIN;
        loop {
            let status = tokio::select! {
                status = self.current.child.wait() => status?,
                Ok((asker, _)) = self.orders.accept() => {
                    self.obey(asker).await;
                    continue;
                }
                Some(Ok(number)) = self.leaving.join_next() => {
                    self.numbers.remove(&number);
                    continue;
                }
                () = stop.as_mut() => return self.end().await,
            };
            if status.code() == Some(i32::from(EXIT_HOPELESS)) {
                return Err(Failure::new("the router cannot run; it said why above"));
            }
            if self.current.started.elapsed() > FORGIVEN_AFTER {
                back_off = BACK_OFF_MIN;
            }
            screen::say(format!("the router ended ({status}); it starts again in {back_off:?}"));
            tokio::select! {
                () = sleep(back_off) => {}
                () = stop.as_mut() => return Ok(()),
            }
            back_off = (back_off * 2).min(BACK_OFF_MAX);
            // Under the same name: what the one before had in flight ended with it.
            self.current = run(&self.program, &self.settings, &self.doors, self.current.number)?;
        }
    }

    async fn obey(&mut self, asker: UnixStream) {
        let (read, mut write) = asker.into_split();
        let mut line = String::new();
        let asked = timeout(Duration::from_secs(1), BufReader::new(read.take(64)).read_line(&mut line)).await;
        if asked.is_err() || line != UPGRADE {
            return;
        }
        let answer = match self.upgrade().await {
            Ok(()) => "ok\n".to_owned(),
            Err(failure) => format!("{failure:#}\n"),
        };
        _ = write.write_all(answer.as_bytes()).await;
    }

    /// Starts the router on disk, and once it takes connections tells the present one to hand over.
    async fn upgrade(&mut self) -> anyhow::Result<()> {
        let program =
            if self.on_disk.try_exists()? { self.on_disk.clone() } else { undeleted(&self.on_disk) };
        let number = (1..).find(|number| !self.numbers.contains(number)).unwrap_or(u32::MAX);
        let mut next = run(&program, &self.settings, &self.doors, number)?;
        let mut line = String::new();
        let is_ready = timeout(READY_MAX, next.read.read_line(&mut line)).await;
        if !matches!(is_ready, Ok(Ok(_))) || line != doors::READY {
            _ = next.child.kill().await;
            anyhow::bail!("{} did not become ready; the router before goes on", program.display());
        }
        self.numbers.insert(number);
        let before = std::mem::replace(&mut self.current, next);
        self.program = program;
        self.leaving.spawn(leave(before));
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Failure> {
        _ = std::fs::remove_file(self.settings.orders());
        signal(&self.current.child, Signal::TERM);
        if timeout(STOP_MAX, self.current.child.wait()).await.is_err() {
            screen::say("the router did not stop in time and is killed");
            self.current.child.kill().await?;
        }
        // Those that hand over end with this process, which the kernel tells them.
        Ok(())
    }
}

/// Lets a router hand over, and returns its number once it has ended.
async fn leave(mut router: Running) -> u32 {
    _ = router.write.write_all(doors::HAND_OVER.as_bytes()).await;
    if timeout(LEAVE_MAX, router.child.wait()).await.is_err() {
        screen::say("a router that was replaced did not end in time and is killed");
        _ = router.child.kill().await;
    }
    router.number
}

fn run(program: &Path, settings: &Settings, doors: &[TcpListener], number: u32) -> anyhow::Result<Running> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let fds: Vec<_> = doors.iter().map(TcpListener::as_fd).collect();
    doors::send(&ours, &fds)?;
    // Each router that is alive reports under its own name, so that none speaks for the requests of another.
    let name = if number == 1 { "router".to_owned() } else { format!("router-{number}") };
    let child = Command::new(program)
        .arg0("hob")
        .args(["router", "--behind", &name])
        .args(["--parent", &std::process::id().to_string()])
        .args(["--port-offset", &settings.port_offset.to_string()])
        .arg("--data")
        .arg(&settings.data)
        .env_remove("HOB_TOKEN")
        .env_remove("HOB_URL")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // A terminal's Ctrl-C goes to the whole process group; the children are told in order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start the router from {}", program.display()))?;
    ours.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(ours)?.into_split();
    Ok(Running { number, child, read: BufReader::new(read), write, started: Instant::now() })
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        _ = rustix::process::kill_process(pid, signal);
    }
}

/// Where a program was before it was replaced: the kernel marks the old one's path.
fn undeleted(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text))
}

/// The path of a socket may have 107 bytes, and a data directory's more: it is reached by a short one.
fn short(socket: &Path) -> std::io::Result<(std::fs::File, PathBuf)> {
    use std::os::fd::AsRawFd as _;
    let directory = std::fs::File::open(socket.parent().unwrap_or(Path::new(".")))?;
    let name = socket.file_name().unwrap_or_default();
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((directory, path))
}

fn bind(socket: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    _ = std::fs::remove_file(socket);
    let (_directory, path) = short(socket)?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Asks the `hob up` of a data directory to upgrade its router, and waits until it has.
pub(crate) fn ask(global: &Global) -> Result<ExitCode, Failure> {
    let socket = Settings::of_running(&global.data).orders();
    let refused = |why: String| {
        Failure::with(Exit::NotFound, format!("{}: {why}", code::ROUTER_UPGRADE.name()))
            .hint("start Hob with `hob up`, or name its data directory with --data")
    };
    let asked = (|| {
        let (_directory, path) = short(&socket)?;
        let mut stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.set_read_timeout(Some(READY_MAX * 2))?;
        stream.write_all(UPGRADE.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    })();
    let answer = asked.map_err(|error: std::io::Error| {
        refused(format!("no hob up takes orders at {}: {error}", socket.display()))
    })?;
    if answer != "ok\n" {
        let message = format!("{}: {}", code::ROUTER_UPGRADE.name(), answer.trim_end());
        return Err(Failure::new(message));
    }
    screen::say("the router was upgraded");
    Ok(ExitCode::SUCCESS)
}
