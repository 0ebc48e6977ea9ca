//! Protocols without I/O: what a connection writes to publish, and what it understands of what comes back. Small by
//! hand, so that the generator costs little and the same for everybody.

pub mod amqp;
pub mod http;
pub mod nats;
pub mod resp;

use anyhow::Result;

use crate::events::Events;

/// A connection that publishes units of events.
pub trait Publish: Send {
    /// Writes one unit; they are numbered from 0.
    fn unit(&mut self, events: &mut Events, out: &mut Vec<u8>);

    /// Takes what came, pushes the units that are acknowledged, and returns how many bytes it is done with.
    fn read(&mut self, input: &[u8], done: &mut Vec<u64>) -> Result<usize>;
}

/// A connection that consumes.
pub trait Consume: Send {
    /// Writes what begins the delivery.
    fn start(&mut self, out: &mut Vec<u8>);

    /// Takes what came, writes what asks for more or acknowledges, gives the parts that hold events to `seen`, and
    /// returns how many bytes it is done with.
    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize>;
}

/// Units that are acknowledged in the order in which they were sent, after a number of answers each.
pub struct InOrder {
    answers_per_unit: u64,
    answers: u64,
}

impl InOrder {
    pub fn new(answers_per_unit: usize) -> Self {
        Self { answers_per_unit: answers_per_unit as u64, answers: 0 }
    }

    pub fn answered(&mut self, done: &mut Vec<u64>) {
        self.answers += 1;
        if self.answers % self.answers_per_unit == 0 {
            done.push(self.answers / self.answers_per_unit - 1);
        }
    }
}
