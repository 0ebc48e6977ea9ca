//! Members of a notice: `{"type": "update", "href": "https://…"}`.

use hob_core::nearest;

use super::value::Scalar;
use super::{Flaws, Incoming, set_text, set_time};

const MEMBERS: [&str; 10] =
    ["type", "href", "t", "id", "data", "entitytag", "requestid", "traceparent", "notbefore", "topic"];

/// Takes in one member, `data` aside.
pub(super) fn take<'a>(
    event: &mut Incoming<'a>,
    takes_topic: bool,
    name: &str,
    value: Scalar<'a>,
    flaws: &mut Flaws,
) {
    match name {
        "type" => {
            let mut kind = (!event.kind.is_empty()).then(|| std::mem::take(&mut event.kind));
            set_text(&mut kind, "type", value, flaws);
            event.kind = kind.unwrap_or_default();
        }
        "href" => set_text(&mut event.subject, "href", value, flaws),
        "t" => set_time(&mut event.time, "t", value, flaws),
        "id" => set_text(&mut event.id, "id", value, flaws),
        "entitytag" => set_text(&mut event.entitytag, "entitytag", value, flaws),
        "requestid" => set_text(&mut event.requestid, "requestid", value, flaws),
        "traceparent" => set_text(&mut event.traceparent, "traceparent", value, flaws),
        "notbefore" => set_time(&mut event.notbefore, "notbefore", value, flaws),
        "topic" if takes_topic => set_text(&mut event.topic, "topic", value, flaws),
        "topic" => flaws.add(
            "topic",
            "is named by the path already",
            "leave it out, or send events of several topics to /v1/events",
        ),
        "specversion" => flaws.add(
            "specversion",
            "belongs to a CloudEvent",
            "send it as application/cloudevents+json, or a list as application/cloudevents-batch+json",
        ),
        unknown => {
            let known = MEMBERS.iter().copied().filter(|name| takes_topic || *name != "topic");
            let hint = match nearest(unknown, known.clone()) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("a notice has {}", known.collect::<Vec<_>>().join(", ")),
            };
            flaws.add(super::shorten(unknown), "is no member of a notice", hint);
        }
    }
}

/// Checks what every notice must have.
pub(super) fn finish(event: &Incoming<'_>, takes_topic: bool, flaws: &mut Flaws) {
    if event.kind.is_empty() {
        flaws.add("type", "is missing", "say what happened: create, update, delete or noop");
    }
    if takes_topic && event.topic.is_none() {
        flaws.add("topic", "is missing", "name the topic, or send to /v1/topics/{topic}/events");
    }
}
