//! Lines of instances and requests of routers, turned into log records.
//!
//! A line that is a JSON object is taken apart by the names that common loggers use; any other line is its own message.

use hob_core::Timestamp;
use hob_records::NewRecord;
use hob_wire::{AccessRecord, Level, RecordIn, RecordSource};
use serde_json::{Map, Value, json};

const TIME: [&str; 4] = ["time", "timestamp", "ts", "@timestamp"];
const LEVEL: [&str; 4] = ["level", "severity", "lvl", "log.level"];
const MESSAGE: [&str; 3] = ["message", "msg", "event"];
const REQUEST_ID: [&str; 4] = ["request_id", "requestId", "x-request-id", "http.request.id"];

/// Decodes one record as it came in. Nothing when it holds neither a line nor a request.
pub fn record(new: RecordIn) -> Option<NewRecord> {
    let mut record = NewRecord {
        time: new.time,
        level: Level::Info,
        source: new.source,
        service: new.service,
        process: new.process,
        instance: new.instance,
        scope: new.scope,
        release: new.release,
        message: String::new(),
        request_id: None,
        fields: Map::new(),
    };
    match (new.access, new.line) {
        (Some(request), _) => access(&mut record, request),
        (None, Some(text)) => line(&mut record, &text),
        (None, None) => return None,
    }
    Some(record)
}

/// Reads a line into a record.
pub fn line(record: &mut NewRecord, text: &str) {
    if record.source == RecordSource::Stderr {
        record.level = Level::Warn;
    }
    let object = if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None };
    let Some(mut fields): Option<Map<String, Value>> = object else {
        record.message = text.to_owned();
        return;
    };
    if let Some(level) = take(&mut fields, &LEVEL).and_then(|value| level(&value)) {
        record.level = level;
    }
    if let Some(time) = take(&mut fields, &TIME).and_then(|value| time(&value)) {
        record.time = time;
    }
    record.request_id = take(&mut fields, &REQUEST_ID).map(|value| plain(&value));
    record.message = take(&mut fields, &MESSAGE).map(|value| plain(&value)).unwrap_or_default();
    for known in ["service", "environment", "tenant", "instance"] {
        fields.remove(known);
    }
    record.fields = fields;
}

/// Reads a request into a record.
pub fn access(record: &mut NewRecord, request: AccessRecord) {
    record.level = if request.status >= 500 || request.error.is_some() { Level::Error } else { Level::Info };
    record.message =
        format!("{} {} {} {:.1} ms", request.method, request.path, request.status, request.duration_ms);
    record.request_id = Some(request.request_id);
    let fields = json!({
        "method": request.method,
        "host": request.host,
        "path": request.path,
        "status": request.status,
        "duration_ms": request.duration_ms,
        "bytes": request.bytes,
        "traceparent": request.traceparent,
        "client": request.client,
        "attempts": request.attempts,
        "error": request.error,
    });
    if let Value::Object(fields) = fields {
        record.fields = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    }
}

fn take(fields: &mut Map<String, Value>, names: &[&str]) -> Option<Value> {
    names.iter().find_map(|name| fields.remove(*name))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A level's name, or the number that bunyan and pino write (10 trace … 60 fatal).
fn level(value: &Value) -> Option<Level> {
    match value {
        Value::String(text) => Level::parse(text),
        Value::Number(number) => Some(match number.as_u64()? {
            0..=10 => Level::Trace,
            11..=20 => Level::Debug,
            21..=30 => Level::Info,
            31..=40 => Level::Warn,
            _ => Level::Error,
        }),
        _ => None,
    }
}

/// RFC 3339, or seconds or milliseconds since 1970 as a number.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| *number > 0.0 && *number < 1e14)?;
            let seconds = if number < 1e11 { number } else { number / 1e3 };
            Some(Timestamp::from_micros((seconds * 1e6) as i64))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(source: RecordSource, text: &str) -> NewRecord {
        record(RecordIn {
            time: Timestamp::EPOCH,
            source,
            instance: None,
            service: "orders".parse().unwrap(),
            process: None,
            scope: "demo/uk".parse().unwrap(),
            release: 1,
            line: Some(text.to_owned()),
            access: None,
        })
        .unwrap()
    }

    fn check(text: &str, level: Level, message: &str, request_id: Option<&str>, fields: &str) {
        let record = read(RecordSource::Stdout, text);
        assert_eq!((record.level, record.message.as_str()), (level, message));
        assert_eq!(record.request_id.as_deref(), request_id);
        assert_eq!(Value::Object(record.fields).to_string(), fields);
    }

    #[test]
    fn json_lines_are_taken_apart() {
        check(
            r#"{"level":"WARN","msg":"slow","request_id":"r1","n":3}"#,
            Level::Warn,
            "slow",
            Some("r1"),
            r#"{"n":3}"#,
        );
        check(r#"{"level":50,"message":"bad","service":"x"}"#, Level::Error, "bad", None, "{}");
        check("plain text", Level::Info, "plain text", None, "{}");
        check("{not json", Level::Info, "{not json", None, "{}");
    }

    #[test]
    fn a_line_may_name_its_own_time() {
        for time in ["\"2026-01-05T12:00:00Z\"", "1767614400", "1767614400000"] {
            let record = read(RecordSource::Stdout, &format!("{{\"time\":{time},\"message\":\"x\"}}"));
            assert_eq!(record.time.to_string(), "2026-01-05T12:00:00Z", "{time}");
        }
    }

    #[test]
    fn standard_error_warns_unless_it_says_otherwise() {
        assert_eq!(read(RecordSource::Stderr, "oh").level, Level::Warn);
        assert_eq!(read(RecordSource::Stderr, r#"{"level":"info","message":"x"}"#).level, Level::Info);
    }

    proptest! {
        #[test]
        fn no_line_panics(text in ".{0,200}") {
            read(RecordSource::Stdout, &text);
        }
    }
}
