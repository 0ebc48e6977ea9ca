//! A statsd socket for each instance, so that samples know whose they are. Datagrams go on as they came.

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

/// A socket that is read as long as this lives. The instance's shim holds it open beyond that.
pub(crate) struct Statsd(AbortHandle);

impl Statsd {
    pub(crate) fn read(
        socket: UdpSocket,
        spec: &IntendedInstance,
        clock: Clock,
        queue: Arc<Queue<Datagram>>,
    ) -> Self {
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
        Self(tokio::spawn(receive).abort_handle())
    }
}

impl Drop for Statsd {
    fn drop(&mut self) {
        self.0.abort();
    }
}
