//! Keeps children of the same binary running: the core and the router. A child that ends is started again, later each
//! time; one that says that starting again is hopeless ends the whole.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::core::{Asked, EXIT_HOPELESS};
use crate::failure::Failure;
use crate::screen;
use crate::settings::Settings;

/// This very program, also when its file was replaced by a newer build since: children must be of the same version.
pub(crate) const SELF: &str = "/proc/self/exe";
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A child that ran this long is forgiven its earlier ends.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// From asking to SIGKILL.
const STOP_MAX: Duration = Duration::from_secs(35);

/// Has the kernel end this process when its parent does, so that nothing of Hob outlives `hob up` but
/// instances, which the next `hob up` adopts.
pub(crate) fn die_with_parent(parent: u32) -> Result<(), Failure> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| Failure::new(error.to_string()))?;
    // The parent may have ended before the kernel was asked.
    let alive = getppid().is_some_and(|pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent));
    if alive { Ok(()) } else { Err(Failure::new("hob up has ended")) }
}

/// One kind of child.
pub(crate) struct Supervised {
    name: &'static str,
    settings: Settings,
    child: Child,
}

impl Supervised {
    /// Starts `hob <name>` for the data directory.
    pub(crate) fn start(name: &'static str, settings: &Settings) -> Result<Self, Failure> {
        Ok(Self { name, settings: settings.clone(), child: spawn(name, settings)? })
    }

    /// How the child ended, when it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.child.try_wait()?)
    }

    /// Keeps the child running until `stop` is raised; then ends it gently, and at last by force. An error when it
    /// ended hopelessly.
    pub(crate) async fn keep(mut self, mut stop: watch::Receiver<Option<Asked>>) -> Result<(), Failure> {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let started = tokio::time::Instant::now();
            let status = tokio::select! {
                status = self.child.wait() => status?,
                asked = asked(&mut stop) => return self.end(asked).await,
            };
            if status.code() == Some(i32::from(EXIT_HOPELESS)) {
                return Err(Failure::new(format!("the {} cannot run; it said why above", self.name)));
            }
            if started.elapsed() > FORGIVEN_AFTER {
                back_off = BACK_OFF_MIN;
            }
            screen::say(format!("the {} ended ({status}); it starts again in {:?}", self.name, back_off));
            tokio::select! {
                () = tokio::time::sleep(back_off) => {}
                // The instances of a core that is away just now wait for the next.
                _ = asked(&mut stop) => return Ok(()),
            }
            back_off = (back_off * 2).min(BACK_OFF_MAX);
            self.child = spawn(self.name, &self.settings)?;
        }
    }

    async fn end(&mut self, asked: Asked) -> Result<(), Failure> {
        let signal = match asked {
            Asked::Leave => rustix::process::Signal::TERM,
            Asked::StopAll => rustix::process::Signal::INT,
        };
        if let Some(pid) =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            screen::say(format!("the {} did not stop in time and is killed", self.name));
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// How it is asked to end, once it is. When whoever would ask is gone, instances are left as they are.
pub(crate) async fn asked(stop: &mut watch::Receiver<Option<Asked>>) -> Asked {
    stop.wait_for(Option::is_some).await.ok().and_then(|asked| *asked).unwrap_or(Asked::Leave)
}

/// Resolves once the flag is raised, or whoever would raise it is gone.
pub(crate) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}

fn spawn(name: &'static str, settings: &Settings) -> Result<Child, Failure> {
    let ca_file = settings.ca_file.iter().flat_map(|path| ["--ca-file".as_ref(), path.as_os_str()]);
    let child = Command::new(SELF)
        .arg0("hob")
        .arg(name)
        .args(["--parent", &std::process::id().to_string()])
        .args(["--port-offset", &settings.port_offset.to_string()])
        .arg("--data")
        .arg(&settings.data)
        .args(ca_file)
        .env_remove("HOB_TOKEN")
        .env_remove("HOB_URL")
        .stdin(Stdio::null())
        // A terminal's Ctrl-C goes to the whole process group; the children are told by the supervisor, in order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start the {name}"))?;
    Ok(child)
}
