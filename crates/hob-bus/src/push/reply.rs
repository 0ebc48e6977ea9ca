//! Decides what an endpoint's answer means: for the endpoint, and for the events that it was given. Pure.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::DeliveryError;
use serde::Deserialize;

use super::port::{Answer, Unreached};

/// Letters of an endpoint's words that are kept for people.
const DETAIL_LETTERS_MAX: usize = 300;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The events are taken, but for these.
    Taken { failed: Vec<FailedEvent> },
    /// An event among them is not taken: the request may be sent again in halves.
    Refused { error: Told },
    /// The endpoint is unwell. When `counts`, one of the events may have made it so, and an attempt is counted.
    Failing { error: Told, counts: bool, retry_after: Option<Duration> },
    /// The endpoint wants nothing more.
    Gone { error: Told },
}

/// What went wrong, as people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: Option<u16>,
    pub(crate) detail: String,
}

impl Told {
    /// The same with its time and entity.
    pub(crate) fn at(&self, time: Timestamp, subject: Option<&str>) -> DeliveryError {
        let subject = subject.map(str::to_owned);
        DeliveryError { time, status: self.status, detail: self.detail.clone(), subject }
    }
}

/// An event that the endpoint did not take although it took others beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedEvent {
    /// The event's id, or its sequence of 20 digits.
    pub(crate) id: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) reason: Option<String>,
}

/// Says what an answer means.
pub(crate) fn read(answer: Result<Answer, Unreached>, now: Timestamp) -> Reply {
    let answer = match answer {
        Ok(answer) => answer,
        // It leads where nothing is ever sent.
        Err(Unreached::Refused(flaw)) => {
            return Reply::Gone { error: Told { status: None, detail: flaw.to_string() } };
        }
        Err(unreached) => {
            // What never reached the endpoint was not the events' fault.
            let counts = unreached.was_sent();
            let error = Told { status: None, detail: shorten(&unreached.to_string()) };
            return Reply::Failing { error, counts, retry_after: None };
        }
    };
    let status = answer.status;
    let retry_after = || answer.retry_after.as_deref().and_then(|text| parse_retry_after(text, now));
    let told = |detail: &str| Told { status: Some(status), detail: detail.to_owned() };
    match status {
        200..=299 => taken(&answer),
        300..=399 => {
            let error = told("the endpoint redirects; Hob follows no redirect, so name the new URL as sink");
            Reply::Failing { error, counts: true, retry_after: None }
        }
        410 => Reply::Gone { error: told("the endpoint says that it is gone") },
        415 => Reply::Gone { error: told("the endpoint does not read the format; choose another one") },
        429 | 503 => {
            let error = told("the endpoint asks for a pause");
            Reply::Failing { error, counts: false, retry_after: retry_after() }
        }
        400 | 406 | 409 | 413 | 422 | 424 | 451 => Reply::Refused { error: told(&words(&answer)) },
        _ => Reply::Failing { error: told(&words(&answer)), counts: true, retry_after: None },
    }
}

/// The body of an answer that takes events only in part.
#[derive(Deserialize)]
struct Partly {
    #[serde(default)]
    failed: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    id: String,
    /// Seconds.
    #[serde(default)]
    retry_after: Option<f64>,
    #[serde(default)]
    reason: Option<String>,
}

fn taken(answer: &Answer) -> Reply {
    let all = Reply::Taken { failed: Vec::new() };
    if answer.status != 200 || !answer.is_json {
        return all;
    }
    let unclear = |detail: &str| {
        let error = Told { status: Some(answer.status), detail: detail.to_owned() };
        Reply::Failing { error, counts: true, retry_after: None }
    };
    let Some(body) = &answer.body else {
        return unclear("the endpoint's JSON answer is too long to see which events failed");
    };
    // Any other JSON says nothing about single events.
    let is_partly =
        serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|json| json.get("failed").is_some());
    if !is_partly {
        return all;
    }
    let Ok(Partly { failed }) = serde_json::from_slice(body) else {
        return unclear(
            "the endpoint's list of failed events cannot be read; write {\"failed\": [{\"id\": \"…\"}]}",
        );
    };
    let failed = failed.into_iter().map(|part| FailedEvent {
        id: part.id,
        retry_after: part.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        reason: part.reason.map(|reason| shorten(&reason)),
    });
    Reply::Taken { failed: failed.collect() }
}

/// The first of an endpoint's own words about a failure.
fn words(answer: &Answer) -> String {
    let body = answer.body.as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return format!("the endpoint answered {} without a word", answer.status);
    }
    shorten(&format!("the endpoint answered {}: {text}", answer.status))
}

fn shorten(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(DETAIL_LETTERS_MAX).collect()
}

/// Seconds, or an HTTP date.
fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Timestamp::from_http_date(text).map(|time| time.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-05T12:00:00Z".parse().unwrap()
    }

    fn answer(status: u16) -> Answer {
        Answer { status, retry_after: None, is_json: false, body: None }
    }

    fn json(body: &str) -> Answer {
        Answer { is_json: true, body: Some(body.to_owned().into()), ..answer(200) }
    }

    #[test]
    fn statuses_say_what_becomes_of_events_and_endpoint() {
        for (statuses, expect) in [
            (vec![200, 201, 202, 204, 299], "taken"),
            (vec![400, 406, 409, 413, 422], "refused"),
            (
                vec![301, 302, 307, 308, 401, 403, 404, 405, 408, 500, 501, 502, 504, 599, 999],
                "failing, counts",
            ),
            (vec![429, 503], "failing"),
            (vec![410, 415], "gone"),
        ] {
            for status in statuses {
                let found = match read(Ok(answer(status)), now()) {
                    Reply::Taken { failed } if failed.is_empty() => "taken",
                    Reply::Refused { .. } => "refused",
                    Reply::Failing { counts: true, .. } => "failing, counts",
                    Reply::Failing { counts: false, .. } => "failing",
                    Reply::Gone { .. } => "gone",
                    other => panic!("{other:?}"),
                };
                assert_eq!(found, expect, "{status}");
            }
        }
    }

    #[test]
    fn what_never_arrived_counts_for_no_event() {
        for (unreached, expect) in [
            (Unreached::Connect("refused".to_owned()), false),
            (Unreached::Unsafe("expired".to_owned()), false),
            (Unreached::Timeout("20 s".to_owned()), true),
            (Unreached::Broken("closed half way".to_owned()), true),
        ] {
            let reply = read(Err(unreached.clone()), now());
            assert!(matches!(reply, Reply::Failing { counts, .. } if counts == expect), "{unreached}");
        }
        let refused = Unreached::Refused(crate::SinkFlaw::NoUrl);
        assert!(matches!(read(Err(refused), now()), Reply::Gone { .. }));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Mon, 05 Jan 2026 12:01:30 GMT", Some(90)),
            ("Mon, 05 Jan 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let answer = Answer { retry_after: Some(text.to_owned()), ..answer(429) };
            let Reply::Failing { retry_after, .. } = read(Ok(answer), now()) else { panic!("{text}") };
            assert_eq!(retry_after.map(|pause| pause.as_secs()), seconds, "{text}");
        }
        let ignored = Answer { retry_after: Some("7".to_owned()), ..answer(500) };
        assert!(matches!(read(Ok(ignored), now()), Reply::Failing { retry_after: None, .. }));
    }

    #[test]
    fn events_may_be_taken_in_part() {
        let reply = read(
            Ok(json(r#"{"failed": [{"id": "a", "retry_after": 1.5, "reason": "busy"}, {"id": "b"}]}"#)),
            now(),
        );
        let (pause, reason) = (Some(Duration::from_millis(1_500)), Some("busy".to_owned()));
        let a = FailedEvent { id: "a".to_owned(), retry_after: pause, reason };
        let b = FailedEvent { id: "b".to_owned(), retry_after: None, reason: None };
        assert_eq!(reply, Reply::Taken { failed: vec![a, b] });
        for body in ["{}", r#"{"ok": true}"#, "[]", "null", r#"{"failed": []}"#, "no json"] {
            assert_eq!(read(Ok(json(body)), now()), Reply::Taken { failed: Vec::new() }, "{body}");
        }
        // What cannot be told is not taken for success.
        for body in [r#"{"failed": "a"}"#, r#"{"failed": [{"name": "a"}]}"#, r#"{"failed": [7]}"#] {
            assert!(matches!(read(Ok(json(body)), now()), Reply::Failing { .. }), "{body}");
        }
        let long = Answer { body: None, ..json("") };
        assert!(matches!(read(Ok(long), now()), Reply::Failing { .. }));
    }

    #[test]
    fn an_endpoints_words_are_kept_short_and_plain() {
        let body = format!("no\u{1b}[31m\n{}", "x".repeat(1_000));
        let Reply::Refused { error } = read(Ok(Answer { body: Some(body.into()), ..answer(422) }), now())
        else {
            panic!("a 422 refuses")
        };
        assert!(error.detail.starts_with("the endpoint answered 422: no [31m x"), "{}", error.detail);
        assert_eq!(error.detail.chars().count(), DETAIL_LETTERS_MAX);
    }
}
