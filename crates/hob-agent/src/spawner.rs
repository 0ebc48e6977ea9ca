//! Starts processes on one thread that lives as long as the agent: a child's death signal is tied to the thread that
//! started it, and threads of a pool come and go.

use std::io;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait.
const REQUESTS_MAX: usize = 64;

/// The door to that thread. When the last door is dropped the thread ends, and with it every child still alive.
#[derive(Clone)]
pub(crate) struct Spawner(mpsc::Sender<Request>);

struct Request {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, mut requests) = mpsc::channel::<Request>(REQUESTS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(async {
                while let Some(mut request) = requests.recv().await {
                    // Nobody waits for it any more: the child is killed when it is dropped.
                    let _ = request.reply.send(request.command.spawn());
                }
            });
        };
        std::thread::Builder::new().name("hob-spawner".to_owned()).spawn(serve)?;
        Ok(Self(sender))
    }

    /// Starts a process. It is killed when the child is dropped before it ended.
    pub(crate) async fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.kill_on_drop(true);
        let ended = || io::Error::other("the thread that starts processes has ended");
        let (reply, answer) = oneshot::channel();
        self.0.send(Request { command, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}
