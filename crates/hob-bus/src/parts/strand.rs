//! One part while its range is looked through: the frames still to be read, and the rows of those that were.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hob_store::{PartIndex, Stored, Tag};

use super::EventLog;
use super::fetch::Fault;
use super::find::{Lost, Order, Query};
use super::rows::PartRow;

/// Frames that are fetched at once, at most; the first fetch is of one.
const FETCH_FRAMES_MAX: usize = 16;
/// What a row takes beside its payload, in bytes.
const ROW_COST_BYTES: usize = 64;

pub(super) struct Strand<'a> {
    part: &'a PartRow,
    index: Arc<PartIndex>,
    order: Order,
    /// Frames still to be read, in order.
    frames: VecDeque<u32>,
    /// Rows that were read, in order.
    rows: VecDeque<Stored>,
    fetch_next: usize,
}

impl<'a> Strand<'a> {
    pub(super) fn new(
        part: &'a PartRow,
        index: Arc<PartIndex>,
        query: &Query<'_>,
        order: Order,
        place: u64,
    ) -> Self {
        let mut frames = index.frames_of(query.tags);
        frames.retain(|number| {
            let frame = &index.frames()[*number as usize];
            let is_ahead = match order {
                Order::Rising => frame.last_seq >= place,
                Order::Falling => frame.first_seq < place,
            };
            is_ahead && query.is_in_time((frame.min_time, frame.max_time))
        });
        if order == Order::Falling {
            frames.reverse();
        }
        Self { part, index, order, frames: frames.into(), rows: VecDeque::new(), fetch_next: 1 }
    }

    /// The rank of the next row, or one that is no later; `None` at the end.
    pub(super) fn next(&self) -> Option<u64> {
        let row = self.rows.front().map(|row| self.order.rank(row.seq));
        row.or_else(|| self.frames.front().map(|number| self.order.rank(self.edge(*number))))
    }

    /// Where to look on from when this strand's next frame is not read any more.
    pub(super) fn place(&self) -> Option<u64> {
        let edge = self.edge(*self.frames.front()?);
        Some(if self.order == Order::Rising { edge } else { edge + 1 })
    }

    fn edge(&self, number: u32) -> u64 {
        let frame = &self.index.frames()[number as usize];
        if self.order == Order::Rising { frame.first_seq } else { frame.last_seq }
    }

    /// Whether any of its frames was read.
    pub(super) fn is_begun(&self) -> bool {
        self.fetch_next > 1
    }

    pub(super) fn pop(&mut self) -> Option<Stored> {
        self.rows.pop_front()
    }

    /// Reads the next frames; says how many bytes they brought. What is damaged is told.
    pub(super) async fn fetch(
        &mut self,
        events: &EventLog,
        tags: Option<&BTreeSet<Tag>>,
        lost: &mut Vec<Lost>,
    ) -> Result<usize, Fault> {
        let count = self.fetch_next.min(self.frames.len());
        let numbers: Vec<u32> = self.frames.drain(..count).collect();
        self.fetch_next = (count * 2).clamp(2, FETCH_FRAMES_MAX);
        let mut bytes = 0;
        let frames = events.frames(self.part, &self.index, &numbers).await?;
        for (frame, number) in frames.into_iter().zip(&numbers) {
            match frame {
                Ok(rows) => {
                    bytes += rows.iter().map(|row| row.payload.len() + ROW_COST_BYTES).sum::<usize>();
                    match self.order {
                        Order::Rising => self.rows.extend(rows.iter().cloned()),
                        Order::Falling => self.rows.extend(rows.iter().rev().cloned()),
                    }
                }
                Err(gap) => {
                    let rows = u64::from(self.index.frames()[*number as usize].rows);
                    lost.push(Lost::of(self.part, gap, rows, tags));
                }
            }
        }
        Ok(bytes)
    }
}
