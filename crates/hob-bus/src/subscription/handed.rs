//! Events under a lease, as those get them who asked for them: as events, or as text.

use bytes::Bytes;
use hob_core::Timestamp;
use hob_wire::{Batch, Event};

use super::gather::{Given, What};
use super::push::Taken;
use crate::read::{Reader, decode, event_of};
use crate::text::{EVENT_BYTES, Framing, Writer};

/// Stands around each event of a list.
const LIST: Framing = Framing { sequence: None, before: "", after: "," };

/// What was handed out.
pub(super) struct Handed {
    pub(super) lease: String,
    pub(super) expires: Timestamp,
    pub(super) given: Vec<Given>,
    /// How often each was handed out, this time included.
    pub(super) attempts: Vec<u32>,
}

impl Handed {
    /// As events.
    pub(super) fn taken(self, reader: &Reader<'_>) -> Taken {
        let Self { lease, expires, given, attempts } = self;
        let events = given.into_iter().filter_map(|given| event(given, reader)).collect();
        Taken { batch: Batch { lease, expires, events }, attempts }
    }

    /// As the JSON of a [`Batch`].
    pub(super) fn text(&self, reader: &Reader<'_>) -> Bytes {
        let mut out = Vec::with_capacity(256 + self.given.len() * EVENT_BYTES);
        out.extend_from_slice(b"{\"lease\":\"");
        out.extend_from_slice(self.lease.as_bytes());
        out.extend_from_slice(b"\",\"expires\":\"");
        self.expires.write(&mut out);
        out.extend_from_slice(b"\",\"events\":[");
        let mut writer = Writer::new(reader.positions);
        for given in &self.given {
            match &given.what {
                What::Stored(stored) => {
                    if let Some(row) = decode(stored) {
                        writer.frame(&mut out, LIST, stored, &row);
                    }
                }
                What::Noop(event) => {
                    serde_json::to_writer(&mut out, event).expect("an event is JSON, and memory takes it");
                    out.push(b',');
                }
            }
        }
        if out.last() == Some(&b',') {
            out.pop();
        }
        out.extend_from_slice(b"]}");
        out.into()
    }
}

fn event(given: Given, reader: &Reader<'_>) -> Option<Event> {
    match given.what {
        What::Noop(event) => Some(*event),
        What::Stored(stored) => {
            let (scope, topic) = reader.positions.place(&stored.tag)?;
            Some(event_of(scope, topic, &stored, &decode(&stored)?))
        }
    }
}
