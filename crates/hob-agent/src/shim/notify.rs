//! The other end of `NOTIFY_SOCKET`: what a program says of itself in the way of sd_notify.

use std::io;
use std::mem::MaybeUninit;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use hob_core::Id;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use serde::{Deserialize, Serialize};

/// Bytes of one message; systemd's own bound.
const MESSAGE_BYTES_MAX: usize = 4096;
/// File descriptors that one message may bring; they are closed again, which is what a barrier waits for.
const DESCRIPTORS_MAX: usize = 253;
/// Letters of a status.
const STATUS_CHARS_MAX: usize = 500;

/// What a program has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Notified {
    pub(crate) ready: bool,
    pub(crate) stopping: bool,
    pub(crate) reloading: bool,
    pub(crate) status: Option<String>,
    /// How often it said that it lives.
    pub(crate) watchdogs: u64,
    /// It said itself that it is broken.
    pub(crate) is_broken: bool,
    /// The watchdog's time, when it set one.
    pub(crate) watchdog_usec: Option<u64>,
    /// How often it asked for more time, and how much the last time.
    pub(crate) extensions: u64,
    pub(crate) extend_usec: u64,
    /// Messages of processes that are none of its own.
    pub(crate) refused: u64,
}

impl Notified {
    /// Takes in one message. Words that are not known are passed over, as the protocol asks.
    pub(crate) fn hear(&mut self, message: &str) {
        for line in message.lines() {
            let Some((word, value)) = line.split_once('=') else { continue };
            match (word, value) {
                ("READY", "1") => {
                    self.ready = true;
                    self.reloading = false;
                }
                ("STOPPING", "1") => self.stopping = true,
                ("RELOADING", "1") => self.reloading = true,
                ("STATUS", text) => {
                    let text: String = text.chars().take(STATUS_CHARS_MAX).collect();
                    self.status = Some(text).filter(|text| !text.is_empty());
                }
                ("WATCHDOG", "1") => self.watchdogs += 1,
                ("WATCHDOG", "trigger") => self.is_broken = true,
                ("WATCHDOG_USEC", number) => self.watchdog_usec = number.parse().ok(),
                ("EXTEND_TIMEOUT_USEC", number) => {
                    if let Ok(number) = number.parse() {
                        self.extensions += 1;
                        self.extend_usec = number;
                    }
                }
                _ => {}
            }
        }
    }
}

/// A message and who sent it, as the kernel says.
pub(crate) struct Message {
    pub(crate) pid: Option<u32>,
    pub(crate) text: String,
}

/// The socket, and the name that programs find it by.
pub(crate) struct NotifySocket {
    pub(crate) socket: UnixDatagram,
    pub(crate) name: String,
}

impl NotifySocket {
    /// Opens one of an abstract name: no path is too long for it, and no sandbox hides it.
    pub(crate) fn open() -> io::Result<Self> {
        let name = format!("hob-{}", Id::short());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        rustix::net::sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self { socket, name: format!("@{name}") })
    }

    /// The next message, when there is one. Descriptors that came with it are closed once it is dropped.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut text = vec![0; MESSAGE_BYTES_MAX];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [io::IoSliceMut::new(&mut text)];
        let received = match recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut message = Message { pid: None, text: String::new() };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmCredentials(credentials) = part {
                message.pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
            }
        }
        if !received.flags.contains(ReturnFlags::TRUNC) {
            text.truncate(received.bytes);
            message.text = String::from_utf8_lossy(&text).into_owned();
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_and_others_passed_over() {
        let mut notified = Notified::default();
        notified.hear("READY=1\nSTATUS=warm\nMAINPID=1\nX_OWN=1\nnonsense");
        assert!(notified.ready && notified.status.as_deref() == Some("warm"));
        notified.hear("RELOADING=1\nMONOTONIC_USEC=12");
        assert!(notified.reloading);
        notified.hear("READY=1\nWATCHDOG=1\nWATCHDOG_USEC=20000000");
        assert_eq!(
            (notified.reloading, notified.watchdogs, notified.watchdog_usec),
            (false, 1, Some(20_000_000))
        );
        notified
            .hear("EXTEND_TIMEOUT_USEC=5\nEXTEND_TIMEOUT_USEC=much\nSTOPPING=1\nWATCHDOG=trigger\nSTATUS=");
        assert_eq!((notified.extensions, notified.extend_usec), (1, 5));
        assert!(notified.stopping && notified.is_broken && notified.status.is_none());
    }
}
