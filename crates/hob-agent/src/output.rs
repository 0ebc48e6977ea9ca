//! What a process writes: each line becomes a record, and the last ones are kept to say why it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hob_core::{Clock, Timestamp};
use hob_wire::{IntendedInstance, RecordIn, RecordSource};
use tokio::sync::watch;

use crate::attached::Door;
use crate::queue::Queue;
use crate::shim::spec::Line;

/// Lines kept to say why a process ended, and letters of each.
const TAIL_LINES: usize = 20;
const TAIL_CHARS: usize = 300;
/// What a record takes beside its line.
const OVERHEAD_BYTES: usize = 300;

/// A record on its way, and the shim that waits to hear of its arrival.
pub(crate) struct Written {
    pub(crate) record: RecordIn,
    pub(crate) from: Option<(Arc<Door>, u64)>,
}

/// Where an instance's lines go.
#[derive(Clone)]
pub(crate) struct Output {
    spec: Arc<IntendedInstance>,
    clock: Clock,
    queue: Arc<Queue<Written>>,
    tail: Arc<Mutex<VecDeque<String>>>,
    /// The number of the last line that came.
    last: watch::Sender<u64>,
}

impl Output {
    pub(crate) fn new(spec: Arc<IntendedInstance>, clock: Clock, queue: Arc<Queue<Written>>) -> Self {
        Self { spec, clock, queue, tail: Arc::default(), last: watch::Sender::new(0) }
    }

    /// Says something about the instance in the agent's own name.
    pub(crate) fn say(&self, sentence: impl Into<String>) {
        let (sentence, now) = (sentence.into(), self.clock.now());
        let bytes = sentence.len() + OVERHEAD_BYTES;
        let record = self.record(sentence, RecordSource::Agent, now);
        self.queue.push(Written { record, from: None }, bytes);
    }

    /// Another process begins, of which lines up to a number have come before.
    pub(crate) fn begin(&self, acknowledged: u64) {
        self.last.send_replace(acknowledged);
    }

    /// The last lines, oldest first, and forgets them.
    pub(crate) fn take_tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Resolves once the line of a number has come.
    pub(crate) async fn has_come(&self, number: u64) {
        // The sender lives as long as this does.
        let _ = self.last.subscribe().wait_for(|last| *last >= number).await;
    }

    /// Takes a line, once there is room: it waits at its shim until then.
    pub(crate) async fn line(&self, line: Line, door: &Arc<Door>) {
        if line.source != RecordSource::Agent {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() >= TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line.text.chars().take(TAIL_CHARS).collect());
        }
        if line.dropped > 0 {
            self.queue.count_dropped(line.dropped);
            self.say(format!("{} lines had no room and were dropped", line.dropped));
        }
        let bytes = line.text.len() + OVERHEAD_BYTES;
        let record = self.record(line.text, line.source, line.time);
        self.queue
            .push_when_room(Written { record, from: Some((Arc::clone(door), line.number)) }, bytes)
            .await;
        self.last.send_replace(line.number);
    }

    fn record(&self, line: String, source: RecordSource, time: Timestamp) -> RecordIn {
        RecordIn {
            time,
            source,
            instance: Some(self.spec.id.clone()),
            service: self.spec.service.clone(),
            process: Some(self.spec.process.clone()),
            scope: self.spec.scope.clone(),
            release: self.spec.release,
            line: Some(line),
            access: None,
        }
    }
}
