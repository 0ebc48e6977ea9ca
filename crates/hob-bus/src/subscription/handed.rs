//! Events under a lease, as those get them who asked for them: as events, or as text.

use bytes::Bytes;
use hob_core::Timestamp;
use hob_wire::{Batch, Event};

use super::gather::{Given, What};
use super::push::Taken;
use crate::read::{Reader, decode, event_of};
use crate::text::{EVENT_BYTES, Framing, Writer};

/// What was handed out.
pub(super) struct Handed {
    pub(super) lease: String,
    pub(super) expires: Timestamp,
    pub(super) given: Vec<Given>,
    /// How often each was handed out, this time included.
    pub(super) attempts: Vec<u32>,
    /// The events as a list's text, when they are at hand as nothing else; see [`Framing::LIST`].
    pub(super) list: Bytes,
}

impl Handed {
    /// As events.
    pub(super) fn taken(self, reader: &Reader<'_>) -> Taken {
        let Self { lease, expires, given, attempts, .. } = self;
        let events = given.into_iter().filter_map(|given| event(given, reader)).collect();
        Taken { batch: Batch { lease, expires, events }, attempts }
    }

    /// As the JSON of a [`Batch`], in pieces.
    pub(super) fn text(self, reader: &Reader<'_>) -> Vec<Bytes> {
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(b"{\"lease\":\"");
        head.extend_from_slice(self.lease.as_bytes());
        head.extend_from_slice(b"\",\"expires\":\"");
        self.expires.write(&mut head);
        head.extend_from_slice(b"\",\"events\":[");
        let mut list = if self.given.is_empty() { self.list } else { list(&self.given, reader).into() };
        list.truncate(list.len().saturating_sub(Framing::LIST.after.len()));
        vec![head.into(), list, Bytes::from_static(b"]}")]
    }
}

fn list(all: &[Given], reader: &Reader<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(all.len() * EVENT_BYTES);
    let mut writer = Writer::new(reader.positions);
    for given in all {
        match &given.what {
            What::Stored(stored) => {
                if let Some(row) = decode(stored) {
                    writer.frame(&mut out, Framing::LIST, stored, &row);
                }
            }
            What::Noop(event) => {
                serde_json::to_writer(&mut out, event).expect("an event is JSON, and memory takes it");
                out.extend_from_slice(Framing::LIST.after.as_bytes());
            }
        }
    }
    out
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
