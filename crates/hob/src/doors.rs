//! The router's listening sockets on their way from `hob up`, which holds them open, to each router that it starts. They
//! go over a socket that is the router's standard input; over the same the router says that it is ready, and is told to
//! hand over.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::Context as _;
use hob_router::{Config, Doors, Router, Stop};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::core::stopped;

/// What a router says once it takes connections.
pub(crate) const READY: &str = "ready\n";
/// What a router is told when another has taken its place.
pub(crate) const HAND_OVER: &str = "hand over\n";
/// Listening sockets that are handed on at once, at most.
const DOORS_MAX: usize = 4;
/// Connections that wait at a listening socket while no router takes them, at most.
const WAITING_MAX: i32 = 4096;

/// Listens at a port of loopback.
pub(crate) fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let listener =
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("listen on port {port}"))?;
    // The standard library asks for room for 128 that wait.
    rustix::net::listen(&listener, WAITING_MAX).context("make room for waiting connections")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Sends listening sockets.
pub(crate) fn send(channel: &UnixStream, doors: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    anyhow::ensure!(control.push(SendAncillaryMessage::ScmRights(doors)), "too many listening sockets");
    let count = [u8::try_from(doors.len())?];
    rustix::net::sendmsg(channel, &[IoSlice::new(&count)], &mut control, SendFlags::empty())
        .context("hand the listening sockets on")?;
    Ok(())
}

/// Receives the listening sockets that [`send`] sent.
fn receive(channel: &UnixStream) -> anyhow::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut count = [0];
    rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut count)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .context("take the listening sockets")?;
    let mut doors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            doors.extend(fds);
        }
    }
    anyhow::ensure!(doors.len() == usize::from(count[0]), "some listening sockets were lost");
    Ok(doors)
}

/// Runs a router behind the doors that come over standard input.
pub(crate) async fn serve(config: Config, certificates: PathBuf) -> Result<(), String> {
    let (router, channel) = take(config, certificates).map_err(|error| format!("{error:#}"))?;
    let (read, write) = channel.into_split();
    let ready = move || {
        // There is room for one line, so this never waits.
        _ = write.try_write(READY.as_bytes());
        // Its end would be taken for the router's.
        write.forget();
    };
    let stop = async {
        let mut lines = BufReader::new(read).lines();
        let told = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line == HAND_OVER.trim_end() {
                    return;
                }
            }
            // Whoever would say more is gone; the kernel ends this process then.
            std::future::pending().await
        };
        tokio::select! {
            () = told => Stop::HandOver,
            _ = stopped() => Stop::Now,
        }
    };
    router.run_until(ready, stop).await;
    Ok(())
}

fn take(config: Config, certificates: PathBuf) -> anyhow::Result<(Router, tokio::net::UnixStream)> {
    let channel = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut doors = receive(&channel)?.into_iter();
    let plain = TcpListener::from(doors.next().context("there is no listening socket")?);
    let plain = tokio::net::TcpListener::from_std(plain)?;
    let secure = match doors.next() {
        None => None,
        Some(fd) => Some((tokio::net::TcpListener::from_std(TcpListener::from(fd))?, certificates)),
    };
    let router = Router::behind(config, Doors { plain, secure })?;
    channel.set_nonblocking(true)?;
    Ok((router, tokio::net::UnixStream::from_std(channel)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        let (one, two) = (listen(0).unwrap(), listen(0).unwrap());
        send(&here, &[one.as_fd(), two.as_fd()]).unwrap();
        let addresses: Vec<_> = receive(&there)
            .unwrap()
            .into_iter()
            .map(|fd| TcpListener::from(fd).local_addr().unwrap())
            .collect();
        assert_eq!(addresses, [one.local_addr().unwrap(), two.local_addr().unwrap()]);
    }
}
