//! The agent's end of a shim's socket.

use std::io::{self, Cursor, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Chain};
use tokio::net::UdpSocket;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, Notify, watch};

use crate::output::Output;
use crate::shim::spec::{FromShim, SOCKET_FILE, Status, ToShim};

/// A shim that does not greet in this time is none.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Bytes of a greeting.
const GREETING_BYTES_MAX: usize = 64 * 1024;
const READ_BYTES: usize = 4096;
/// An order that a shim does not take in this time is lost with it.
const ORDER_MAX: Duration = Duration::from_secs(5);

/// What a shim gave at once.
pub(crate) struct Attached {
    pub(crate) door: Arc<Door>,
    pub(crate) status: Status,
    pub(crate) statsd: UdpSocket,
    /// What came behind the greeting, and what will.
    reader: Chain<Cursor<Vec<u8>>, OwnedReadHalf>,
}

/// Where a shim takes orders.
pub(crate) struct Door {
    writer: Mutex<OwnedWriteHalf>,
    acknowledged: AtomicU64,
    news: Notify,
}

impl Door {
    /// Gives an order. One that is lost is lost with the shim, which is seen elsewhere.
    pub(crate) async fn tell(&self, order: &ToShim) {
        let Ok(mut text) = serde_json::to_vec(order) else { return };
        text.push(b'\n');
        let mut writer = self.writer.lock().await;
        if !matches!(tokio::time::timeout(ORDER_MAX, writer.write_all(&text)).await, Ok(Ok(()))) {
            tracing::debug!(?order, "a shim did not take an order");
        }
    }

    /// Lines up to a number have arrived for good.
    pub(crate) async fn acknowledge(&self, number: u64) {
        self.tell(&ToShim::Ack(number)).await;
        self.acknowledged.fetch_max(number, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    /// Resolves once all lines up to a number have.
    pub(crate) async fn acknowledged(&self, number: u64) {
        loop {
            let news = self.news.notified();
            if self.acknowledged.load(Ordering::Acquire) >= number {
                return;
            }
            news.await;
        }
    }
}

/// Connects to the shim of a folder and takes its greeting.
pub(crate) async fn attach(folder: &Path) -> io::Result<Attached> {
    let folder = folder.to_owned();
    let connected = tokio::task::spawn_blocking(move || connect(&folder)).await.map_err(io::Error::other)?;
    let (stream, statsd, status, rest) = connected?;
    stream.set_nonblocking(true)?;
    let (reader, writer) = tokio::net::UnixStream::from_std(stream)?.into_split();
    let statsd = std::net::UdpSocket::from(statsd);
    statsd.set_nonblocking(true)?;
    let statsd = UdpSocket::from_std(statsd)?;
    let door = Door {
        writer: Mutex::new(writer),
        acknowledged: AtomicU64::new(status.acknowledged),
        news: Notify::new(),
    };
    Ok(Attached { door: Arc::new(door), status, statsd, reader: Cursor::new(rest).chain(reader) })
}

fn connect(folder: &Path) -> io::Result<(BlockingStream, OwnedFd, Status, Vec<u8>)> {
    // A socket's path is short; the folder's may not be.
    let handle = std::fs::File::open(folder)?;
    let place = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(SOCKET_FILE);
    let stream = BlockingStream::connect(place)?;
    stream.set_read_timeout(Some(GREETING_MAX))?;
    let (mut text, mut statsd) = (Vec::new(), None);
    let end = loop {
        let mut buffer = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                statsd = descriptors.last().or(statsd);
            }
        }
        text.extend_from_slice(&buffer[..received.bytes]);
        if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            break end;
        }
        if received.bytes == 0 || text.len() > GREETING_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = text.split_off(end + 1);
    let FromShim::Status(status) = serde_json::from_slice(&text)? else {
        return Err(io::Error::other("it did not greet"));
    };
    let statsd = statsd.ok_or_else(|| io::Error::other("it gave no socket for samples"))?;
    Ok((stream, statsd, *status, rest))
}

/// What is known of a shim's instance: none once the shim is gone.
pub(crate) type News = watch::Receiver<Option<Status>>;

/// Reads what a shim says, for as long as it does and the task lives.
pub(crate) fn follow(
    attached: Attached,
    output: Output,
) -> (Arc<Door>, UdpSocket, News, tokio::task::AbortHandle) {
    let Attached { door, status, statsd, reader } = attached;
    let (sender, news) = watch::channel(Some(status));
    let own = Arc::clone(&door);
    let read = async move {
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            match serde_json::from_str(&text) {
                Ok(FromShim::Line(line)) => output.line(line, &own).await,
                Ok(FromShim::Status(status)) => drop(sender.send_replace(Some(*status))),
                Err(error) => tracing::warn!(%error, "a shim said what cannot be read"),
            }
        }
        sender.send_replace(None);
    };
    let task = tokio::spawn(read).abort_handle();
    (door, statsd, news, task)
}
