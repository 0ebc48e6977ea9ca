//! What a process writes: each line becomes a record, and the last ones are kept to say why it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hob_core::Clock;
use hob_wire::{IntendedInstance, RecordIn, RecordSource};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::lines::Splitter;
use crate::queue::Queue;

/// Lines kept to say why a process ended, and letters of each.
const TAIL_LINES: usize = 20;
const TAIL_CHARS: usize = 300;
/// What a record takes beside its line.
const OVERHEAD_BYTES: usize = 300;
const READ_BYTES: usize = 16 * 1024;

/// Where an instance's lines go.
#[derive(Clone)]
pub(crate) struct Output {
    spec: Arc<IntendedInstance>,
    clock: Clock,
    queue: Arc<Queue<RecordIn>>,
    tail: Arc<Mutex<VecDeque<String>>>,
}

impl Output {
    pub(crate) fn new(spec: Arc<IntendedInstance>, clock: Clock, queue: Arc<Queue<RecordIn>>) -> Self {
        Self { spec, clock, queue, tail: Arc::default() }
    }

    /// Reads until the other end is closed.
    pub(crate) async fn follow(self, mut from: impl AsyncRead + Unpin, source: RecordSource) {
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(size @ 1..) = from.read(&mut buffer).await {
            splitter.push(&buffer[..size]).into_iter().for_each(|line| self.line(line, source));
        }
        if let Some(line) = splitter.finish() {
            self.line(line, source);
        }
    }

    /// Says something about the instance in the agent's own name.
    pub(crate) fn say(&self, sentence: impl Into<String>) {
        self.record(sentence.into(), RecordSource::Agent);
    }

    /// The last lines, oldest first, and forgets them.
    pub(crate) fn take_tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    fn line(&self, line: String, source: RecordSource) {
        if line.is_empty() {
            return;
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() >= TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.chars().take(TAIL_CHARS).collect());
        drop(tail);
        self.record(line, source);
    }

    fn record(&self, line: String, source: RecordSource) {
        let bytes = line.len() + OVERHEAD_BYTES;
        let record = RecordIn {
            time: self.clock.now(),
            source,
            instance: Some(self.spec.id.clone()),
            service: self.spec.service.clone(),
            process: Some(self.spec.process.clone()),
            scope: self.spec.scope.clone(),
            release: self.spec.release,
            line: Some(line),
            access: None,
        };
        self.queue.push(record, bytes);
    }
}
