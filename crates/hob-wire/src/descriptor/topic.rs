//! Reads a topic of `service.yml`: its name and its terms.

use hob_core::TopicName;

use crate::descriptor::TopicSpec;
use crate::yaml::{Flaws, Node, Reader};
use crate::{AckMode, Quota, Retention, TopicKind, TopicTerms};

/// Keys of a topic that are not built yet.
const LATER: &[&str] = &["key", "schema", "compat"];
/// Bytes of one event's data, whatever a topic says.
const DATA_BYTES_MAX: u64 = 256 * 1024;
/// Events a second that a quota may allow.
const EVENTS_PER_SECOND_MAX: u64 = 1_000_000;
/// Longest retention by age: longer is for ever, which is what leaving it out says.
const AGE_DAYS_MAX: u64 = 36_500;

/// Reads one topic.
pub(super) fn topic(node: &Node, flaws: &mut Flaws) -> Option<TopicSpec> {
    let mut map = Reader::map(node, flaws)?;
    map.later(LATER);
    let name_node = map.need("name", flaws);
    let name: Option<TopicName> = name_node.and_then(|n| n.parse(flaws));
    if let (Some(place), Some(name)) = (name_node, &name)
        && name.is_reserved()
    {
        flaws.at(place, format!("`{name}` is one of Hob's own topics"));
    }
    let kinds =
        [("notify", TopicKind::Notify), ("stream", TopicKind::Stream), ("compact", TopicKind::Compact)];
    let kind = map.need("kind", flaws).and_then(|n| n.one_of(&kinds, flaws));
    let data_bytes_max = map.take("data_bytes_max").and_then(|n| data_bytes_max(n, flaws));
    let quota = map.take("quota").and_then(|n| quota(n, flaws));
    let retention = map.take("retention").and_then(|n| retention(n, flaws));
    let acks = [("disk", AckMode::Disk), ("memory", AckMode::Memory)];
    let ack = map.take("ack").and_then(|n| n.one_of(&acks, flaws)).unwrap_or_default();
    map.finish(flaws);
    Some(TopicSpec { name: name?, terms: TopicTerms { kind: kind?, data_bytes_max, quota, retention, ack } })
}

fn data_bytes_max(node: &Node, flaws: &mut Flaws) -> Option<u64> {
    let bytes = node.size(flaws)?;
    if (1..=DATA_BYTES_MAX).contains(&bytes) {
        return Some(bytes);
    }
    flaws.hint(
        node,
        format!("{bytes} bytes are out of range: from 1B to 256KiB"),
        "keep larger bodies elsewhere and publish where they are",
    );
    None
}

fn quota(node: &Node, flaws: &mut Flaws) -> Option<Quota> {
    let mut map = Reader::map(node, flaws)?;
    let rate = map.need("events_per_second", flaws);
    let rate = rate.and_then(|n| n.number(1, EVENTS_PER_SECOND_MAX, flaws));
    let burst = map.take("burst").and_then(|n| n.number(1, EVENTS_PER_SECOND_MAX, flaws));
    map.finish(flaws);
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Some(Quota { events_per_second: narrow(rate?), burst: burst.map(narrow) })
}

fn retention(node: &Node, flaws: &mut Flaws) -> Option<Retention> {
    let mut map = Reader::map(node, flaws)?;
    let age_node = map.take("age");
    let age_seconds = age_node.and_then(|n| n.duration(flaws)).map(|age| age.as_secs());
    let days = age_seconds.unwrap_or(1).div_ceil(24 * 3_600);
    if let Some(place) = age_node.filter(|_| age_seconds == Some(0) || days > AGE_DAYS_MAX) {
        flaws.hint(place, "it may be 1s to 36500d", "leave it out to keep events for ever");
    }
    let bytes_node = map.take("bytes");
    let bytes = bytes_node.and_then(|n| n.size(flaws));
    if let Some(place) = bytes_node.filter(|_| bytes == Some(0)) {
        flaws.hint(place, "it keeps nothing", "leave it out to keep events for ever");
    }
    if age_node.is_none() && bytes_node.is_none() && node.get("age").is_none() {
        flaws.hint(node, "it names no limit", "write `age: 30d`, `bytes: 10GiB`, or both");
    }
    map.finish(flaws);
    Some(Retention { age_seconds, bytes })
}

#[cfg(test)]
mod tests {
    use crate::{AckMode, Quota, Retention, Service, TopicKind};

    fn read(topic: &str) -> Result<crate::TopicSpec, Vec<String>> {
        let text = format!(
            "service: orders\nkind: domain\npackage: {{include: [bin]}}\nprocesses: {{work: {{run: [x]}}}}\n\
             topics:\n  - {topic}\n"
        );
        let service = Service::read("service.yml", &text);
        service
            .map(|mut s| s.topics.remove(0))
            .map_err(|flaws| flaws.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn terms_are_read() {
        let topic = read(
            "{name: rider.state, kind: compact, data_bytes_max: 4KiB, quota: {events_per_second: 500, burst: 1000}, \
             retention: {age: 30d, bytes: 10GiB}, ack: memory}",
        );
        let terms = topic.unwrap().terms;
        assert_eq!(terms.kind, TopicKind::Compact);
        assert_eq!(terms.data_bytes_max, Some(4_096));
        assert_eq!(terms.quota, Some(Quota { events_per_second: 500, burst: Some(1_000) }));
        let kept = Retention { age_seconds: Some(30 * 24 * 3_600), bytes: Some(10 << 30) };
        assert_eq!((terms.retention, terms.ack), (Some(kept), AckMode::Memory));
    }

    #[test]
    fn flaws_have_their_places() {
        for (topic, flaw) in [
            (
                "{name: a, kind: compat}",
                "service.yml:6:21: `compat` is not known here; did you mean `compact`?",
            ),
            (
                "{name: a, kind: notify, quotas: {}}",
                "service.yml:6:29: unknown key `quotas`; did you mean `quota`?",
            ),
            ("{name: a, kind: notify, quota: {burst: 1}}", "the key `events_per_second` is missing"),
            (
                "{name: a, kind: notify, quota: {events_per_second: 0}}",
                "expected a whole number from 1 to 1000000, found `0`",
            ),
            ("{name: a, kind: notify, retention: {days: 3}}", "unknown key `days`"),
            ("{name: a, kind: notify, retention: {age: 30}}", "as a duration"),
            ("{name: a, kind: notify, retention: {age: 0s}}", "it may be 1s to 36500d"),
            ("{name: a, kind: notify, retention: {bytes: 10GB}, ack: mem}", "`mem` is not known here"),
            ("{name: a, kind: notify, retention: {bytes: ten}}", "as a size"),
            ("{name: a, kind: notify, retention: {}}", "it names no limit"),
            ("{name: a, kind: notify, data_bytes_max: 1MiB}", "out of range: from 1B to 256KiB"),
            ("{name: a, kind: notify, schema: x}", "`schema` is not supported yet"),
        ] {
            let told = read(topic).unwrap_err();
            assert!(told.iter().any(|line| line.contains(flaw)), "{topic}: {told:?}");
        }
    }
}
