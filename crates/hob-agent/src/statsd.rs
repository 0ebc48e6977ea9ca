//! A statsd socket for each instance, so that samples know whose they are. Datagrams go on as they came.

use std::io;
use std::sync::Arc;

use hob_core::{Clock, Scope};
use hob_wire::{Datagram, IntendedInstance};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::queue::Queue;

/// Bytes of one datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// What a datagram takes beside its text.
const OVERHEAD_BYTES: usize = 200;

/// A socket that is open as long as this lives.
pub(crate) struct Statsd {
    port: u16,
    task: AbortHandle,
}

impl Statsd {
    pub(crate) async fn open(
        spec: &IntendedInstance,
        clock: Clock,
        queue: Arc<Queue<Datagram>>,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let port = socket.local_addr()?.port();
        let make = {
            let (instance, service, scope): (String, _, Scope) =
                (spec.id.clone(), spec.service.clone(), spec.scope.clone());
            move |text: String| Datagram {
                time: clock.now(),
                instance: instance.clone(),
                service: service.clone(),
                scope: scope.clone(),
                text,
            }
        };
        let receive = async move {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                // An error is about one datagram; the next may be fine.
                let Ok(size) = socket.recv(&mut buffer).await else { continue };
                let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
                queue.push(make(text), size + OVERHEAD_BYTES);
            }
        };
        Ok(Self { port, task: tokio::spawn(receive).abort_handle() })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Statsd {
    fn drop(&mut self) {
        self.task.abort();
    }
}
