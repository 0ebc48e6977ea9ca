//! The agent at the other end of a shim's socket: never waited for.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::spec::{FromShim, Status, ToShim};

/// Bytes that may wait to be sent before lines wait in the spool.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one order.
const ORDER_BYTES_MAX: usize = 4096;
/// An agent that does not take its greeting in this time is none.
const GREETING_MAX: Duration = Duration::from_secs(2);

/// One connection.
pub(super) struct Agent {
    pub(super) stream: UnixStream,
    unsent: Vec<u8>,
    heard: Vec<u8>,
}

impl Agent {
    /// Sends the status with the statsd socket, which stays open here, so that its port is never another's.
    pub(super) fn greet(stream: UnixStream, statsd: &UdpSocket, status: &Status) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(GREETING_MAX))?;
        let mut text = serde_json::to_vec(&FromShim::Status(Box::new(status.clone())))?;
        text.push(b'\n');
        let descriptors = [statsd.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = sendmsg(&stream, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
        let mut agent = Self { stream, unsent: text.split_off(sent), heard: Vec::new() };
        agent.stream.set_nonblocking(true)?;
        agent.flush();
        Ok(agent)
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() < UNSENT_BYTES_MAX
    }

    pub(super) fn send(&mut self, message: &FromShim) {
        if let Ok(text) = serde_json::to_vec(message) {
            self.unsent.extend(text);
            self.unsent.push(b'\n');
        }
    }

    /// Sends what can be sent now. False when the agent is gone.
    pub(super) fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return false,
                Ok(size) => drop(self.unsent.drain(..size)),
                Err(error) => return is_passing(&error),
            }
        }
        true
    }

    /// The orders that have come, and whether the agent is still there.
    pub(super) fn read(&mut self) -> (Vec<ToShim>, bool) {
        let mut buffer = [0; ORDER_BYTES_MAX];
        let is_open = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break false,
                Ok(size) => self.heard.extend_from_slice(&buffer[..size]),
                Err(error) => break is_passing(&error),
            }
        };
        let mut orders = Vec::new();
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            orders.extend(serde_json::from_slice::<ToShim>(&line));
        }
        (orders, is_open && self.heard.len() <= ORDER_BYTES_MAX)
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
