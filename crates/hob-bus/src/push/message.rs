//! What a push looks like: its body in one of the CloudEvents formats, its name, and its headers.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hob_core::{Timestamp, TopicName};
use hob_wire::{Event, PushFormat, cloudevents};
use sha2::{Digest, Sha256};

use crate::signature::{Secrets, unix_seconds};

/// Letters of the digest that tells requests with the same first and last event from each other.
const DIGEST_LETTERS: usize = 16;

/// A header.
pub(crate) type Header = (Cow<'static, str>, String);

/// An event on its way, rendered once however often its request is cut into smaller ones.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    /// Its topic and the entity that it is about, when it is about one.
    pub(crate) topic: TopicName,
    pub(crate) subject: Option<String>,
    /// How often it was tried, this time included.
    pub(crate) attempt: u32,
    /// The lease under which it was taken.
    pub(crate) lease: Arc<str>,
    headers: Vec<Header>,
    body: Bytes,
}

impl Parcel {
    /// Renders an event.
    pub(crate) fn new(event: Event, attempt: u32, lease: &Arc<str>, format: PushFormat) -> Self {
        let (headers, body) = match format {
            PushFormat::Batch => (Vec::new(), cloudevents::structured(&event)),
            PushFormat::Structured => {
                (vec![content_type(cloudevents::STRUCTURED)], cloudevents::structured(&event))
            }
            PushFormat::Binary => {
                let (headers, body) = cloudevents::binary(&event);
                (headers.into_iter().map(|(name, value)| (name.into(), value)).collect(), body)
            }
        };
        let sequence = event.position();
        let Event { id, topic, subject, .. } = event;
        Self { id, sequence, topic, subject, attempt, lease: Arc::clone(lease), headers, body: body.into() }
    }

    /// Bytes that it adds to a body.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + 1
    }
}

/// Who signs and for which subscription.
pub(crate) struct Sender<'a> {
    pub(crate) subscription: &'a TopicName,
    pub(crate) format: PushFormat,
    pub(crate) secrets: &'a Secrets,
}

impl Sender<'_> {
    /// Headers and body of a request that carries these events: any number in the batch format, else the first.
    pub(crate) fn request(&self, parcels: &[Parcel], now: Timestamp) -> (Vec<Header>, Bytes) {
        let (mut headers, body) = match (self.format, parcels) {
            (PushFormat::Structured | PushFormat::Binary, [first, ..]) => {
                (first.headers.clone(), first.body.clone())
            }
            _ => (vec![content_type(cloudevents::BATCH)], join(parcels)),
        };
        let id = message_id(parcels);
        let attempt = parcels.iter().map(|parcel| parcel.attempt).max().unwrap_or(1);
        headers.push(("webhook-signature".into(), self.secrets.sign(&id, now, &body)));
        headers.push(("webhook-timestamp".into(), unix_seconds(now).to_string()));
        headers.push(("webhook-id".into(), id));
        headers.push(("hob-subscription".into(), self.subscription.to_string()));
        headers.push(("hob-attempt".into(), attempt.to_string()));
        (headers, body)
    }
}

/// Names a message: the same events have the same name whenever they are sent, so that an endpoint may know a repeat.
fn message_id(parcels: &[Parcel]) -> String {
    match parcels {
        [] => "evt_none".to_owned(),
        [only] => format!("evt_{:020}", only.sequence),
        [first, ..] => {
            let mut digest = Sha256::new();
            parcels.iter().for_each(|parcel| digest.update(parcel.sequence.to_be_bytes()));
            let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("evt_{:020}_{}_{}", first.sequence, parcels.len(), &hex[..DIGEST_LETTERS])
        }
    }
}

fn content_type(media_type: &str) -> Header {
    ("content-type".into(), media_type.to_owned())
}

fn join(parcels: &[Parcel]) -> Bytes {
    let mut out = Vec::with_capacity(2 + parcels.iter().map(Parcel::bytes).sum::<usize>());
    out.push(b'[');
    for (index, parcel) in parcels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&parcel.body);
    }
    out.push(b']');
    out.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An event about an entity.
    pub(crate) fn event(sequence: u64, subject: &str) -> Event {
        serde_json::from_value(json!({
            "specversion": "1.0", "id": format!("e{sequence}"), "source": "/services/orders",
            "type": "orders.update", "subject": subject, "time": "2026-01-05T12:00:00Z", "topic": "orders",
            "sequence": format!("{sequence:020}"), "recordedtime": "2026-01-05T12:00:00Z",
            "environment": "qa", "tenant": "uk"
        }))
        .unwrap()
    }

    /// An event that is tried for the n-th time.
    pub(crate) fn parcel(sequence: u64, subject: &str, attempt: u32) -> Parcel {
        Parcel::new(event(sequence, subject), attempt, &"l1".into(), PushFormat::Batch)
    }

    fn parcels(sequences: &[u64]) -> Vec<Parcel> {
        sequences.iter().map(|sequence| parcel(*sequence, "http://t/orders/7", 1)).collect()
    }

    fn value<'a>(headers: &'a [Header], name: &str) -> &'a str {
        &headers.iter().find(|(found, _)| found == name).unwrap().1
    }

    #[test]
    fn a_batch_is_a_signed_list() {
        let (secrets, subscription) = (Secrets::generate(), "orders.emails".parse().unwrap());
        let sender = Sender { subscription: &subscription, format: PushFormat::Batch, secrets: &secrets };
        let now = Timestamp::from_micros(1_614_265_330_000_000);
        let (headers, body) = sender.request(&parcels(&[7, 9]), now);
        let events: Vec<Event> = serde_json::from_slice(&body).unwrap();
        assert_eq!(events, [event(7, "http://t/orders/7"), event(9, "http://t/orders/7")]);
        assert_eq!(value(&headers, "content-type"), "application/cloudevents-batch+json");
        assert_eq!(value(&headers, "webhook-timestamp"), "1614265330");
        assert_eq!(value(&headers, "hob-subscription"), "orders.emails");
        let signature = secrets.sign(value(&headers, "webhook-id"), now, &body);
        assert_eq!(value(&headers, "webhook-signature"), signature);
    }

    #[test]
    fn the_same_events_have_the_same_name_and_others_have_others() {
        let names =
            [&[7][..], &[8], &[7, 8], &[7, 9], &[7, 8, 9]].map(|sequences| message_id(&parcels(sequences)));
        assert_eq!(names[0], "evt_00000000000000000007");
        assert_eq!(message_id(&parcels(&[7, 8])), names[2]);
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    }
}
