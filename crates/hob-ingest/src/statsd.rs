//! statsd datagrams: counters, gauges and timers, with sample rates and DogStatsD tags.
//!
//! Form: one or more lines `name:value|type[|@rate][|#tag:value,…]` (github.com/statsd/statsd, docs/metric_types.md;
//! tags as DogStatsD writes them). Types here: `c`, `g` (with a sign it is a change), `ms`, `h` and `d`. Timers in `ms`
//! become seconds. A sample rate weighs the value. Sets (`s`) and service checks are refused and counted.

use std::collections::BTreeMap;

use hob_core::Histogram;
use hob_metrics::{LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, Sample, Value};
use hob_wire::Datagram;

/// What a datagram held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The samples, in order.
    pub samples: Vec<Sample>,
    /// Lines that were not understood.
    pub refused: u64,
}

/// Decodes one datagram. Samples carry the label `instance`.
pub fn datagram(datagram: &Datagram) -> Decoded {
    let mut decoded = Decoded::default();
    for line in datagram.text.lines().filter(|line| !line.trim().is_empty()) {
        match sample_line(line.trim()) {
            Some((name, mut labels, value)) => {
                labels.insert("instance".to_owned(), datagram.instance.clone());
                decoded.samples.push(Sample {
                    time: datagram.time,
                    scope: datagram.scope.clone(),
                    service: datagram.service.clone(),
                    name,
                    labels,
                    value,
                });
            }
            None => decoded.refused += 1,
        }
    }
    decoded
}

type Parsed = (String, BTreeMap<String, String>, Value);

fn sample_line(line: &str) -> Option<Parsed> {
    let (name, rest) = line.split_once(':')?;
    let name = clean_name(name)?;
    let mut parts = rest.split('|');
    let (number, kind) = (parts.next()?, parts.next()?);
    let mut rate = 1.0;
    let mut labels = BTreeMap::new();
    for part in parts {
        if let Some(text) = part.strip_prefix('@') {
            rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= 1.0)?;
        } else if let Some(tags) = part.strip_prefix('#') {
            labels = tags.split(',').filter_map(label).take(LABELS_MAX).collect();
        }
    }
    let signed = number.starts_with(['+', '-']);
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite())?;
    let value = match kind {
        "c" => Value::Count(number / rate),
        "g" if signed => Value::Delta(number),
        "g" => Value::Gauge(number),
        "ms" => timing(number / 1000.0, rate)?,
        "h" | "d" => timing(number, rate)?,
        _ => return None,
    };
    Some((name, labels, value))
}

fn timing(value: f64, rate: f64) -> Option<Value> {
    let mut histogram = Histogram::default();
    let times = (1.0 / rate).round().max(1.0) as u64;
    histogram.record_many(value, times).then_some(Value::Timing(histogram))
}

/// As statsd's own server cleans names: spaces to `_`, slashes to `-`, nothing outside letters, digits, `_`, `-`, `.`.
fn clean_name(name: &str) -> Option<String> {
    let cleaned: String = name
        .chars()
        .filter_map(|c| match c {
            c if c.is_whitespace() => Some('_'),
            '/' => Some('-'),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') => Some(c),
            _ => None,
        })
        .collect();
    (!cleaned.is_empty() && cleaned.len() <= NAME_BYTES_MAX).then_some(cleaned)
}

fn label(tag: &str) -> Option<(String, String)> {
    let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
    let fits = !name.is_empty() && name.len() <= LABEL_BYTES_MAX && value.len() <= LABEL_BYTES_MAX;
    fits.then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use hob_core::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> Decoded {
        datagram(&Datagram {
            time: Timestamp::EPOCH,
            instance: "a".to_owned(),
            service: "orders".parse().unwrap(),
            scope: "demo/uk".parse().unwrap(),
            text: text.to_owned(),
        })
    }

    fn check(line: &str, name: &str, value: Value) {
        let decoded = decode(line);
        assert_eq!(decoded.refused, 0, "{line}");
        assert_eq!((decoded.samples[0].name.as_str(), &decoded.samples[0].value), (name, &value), "{line}");
    }

    #[test]
    fn understands_what_clients_send() {
        let timing = |value: f64, times| {
            let mut histogram = Histogram::default();
            histogram.record_many(value, times);
            Value::Timing(histogram)
        };
        check("orders.placed:1|c", "orders.placed", Value::Count(1.0));
        check("orders.placed:1|c|@0.1", "orders.placed", Value::Count(10.0));
        check("queue:12|g", "queue", Value::Gauge(12.0));
        check("queue:-3|g", "queue", Value::Delta(-3.0));
        check("page:250|ms|@0.5", "page", timing(0.25, 2));
        check("a b/c%:1|c\n", "a_b-c", Value::Count(1.0));
    }

    #[test]
    fn tags_become_labels_and_the_instance_is_known() {
        let decoded = decode("placed:1|c|#city:leeds,vip\nplaced:2|c");
        assert_eq!(decoded.samples.len(), 2);
        let labels: Vec<(&str, &str)> =
            decoded.samples[0].labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("city", "leeds"), ("instance", "a"), ("vip", "")]);
    }

    #[test]
    fn nonsense_is_refused_and_counted() {
        for line in ["", ":1|c", "a|c", "a:|c", "a:1", "a:1|x", "a:nan|c", "a:1|c|@0", "a:-1|ms", "a:inf|g"] {
            let decoded = decode(line);
            assert!(decoded.samples.is_empty(), "{line}");
            assert_eq!(decoded.refused, u64::from(!line.is_empty()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_panics(text in ".{0,300}") {
            decode(&text);
        }

        #[test]
        fn every_line_is_taken_or_counted(text in "[a:1|cgms@#.,\n]{0,100}") {
            let decoded = decode(&text);
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            prop_assert_eq!(decoded.samples.len() + usize::try_from(decoded.refused).unwrap(), lines);
        }
    }
}
