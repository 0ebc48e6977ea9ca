//! Receiving pushes: checking that Hob signed them (Standard Webhooks 1.0), and reading their events in any of
//! CloudEvents' modes.
//!
//! Answer 2xx once the events are handled, or a 200 with `{"failed":[{"id":…,"reason":…}]}` when some are not: Hob hands
//! those out again. A push may come twice, with the same `webhook-id`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hob_core::{Secret, Timestamp};
use hob_wire::webhook::SigningKey;
use hob_wire::{Event, cloudevents};
use http::{HeaderMap, header};
use serde_json::{Map, Value};

/// How far a signature's time may lie from now: an older one may be a repetition by somebody else.
pub const TOLERANCE: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// Why a push is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A secret is none.
    #[error("read the signing secret: it is not whsec_ and base64")]
    BadSecret,
    /// A header that every signed push has is not there, or unreadable.
    #[error("check the signature: the header {0} is missing or unreadable")]
    Header(&'static str),
    /// It was signed too long ago, or in the future.
    #[error("check the signature: it is from another time, {seconds} s from now")]
    Time {
        /// How far away.
        seconds: u64,
    },
    /// Nobody who knows the secret signed it.
    #[error("check the signature: it fits none of the secrets")]
    Signature,
    /// Its content is no event.
    #[error("read the events of the push: {0}")]
    Content(String),
}

impl Refused {
    /// The status to answer with: 401 when it is not known to come from Hob, 400 when its content is wrong. 415 is not
    /// among them: to Hob it means that it should never send anything again.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::Content(_) => http::StatusCode::BAD_REQUEST,
            Self::BadSecret => http::StatusCode::INTERNAL_SERVER_ERROR,
            _ => http::StatusCode::UNAUTHORIZED,
        }
    }
}

/// Checks a push's signature and reads its events. `secrets` are those that the subscription has shown, one or, while
/// it is rotated, two.
///
/// # Errors
/// When it was not signed with any of them lately, or holds no events.
pub fn receive(
    secrets: &[Secret],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<Event>, Refused> {
    verify(secrets, headers, body, now)?;
    events(headers, body)
}

/// Checks that a push was signed with one of the secrets, lately.
///
/// # Errors
/// When it was not.
pub fn verify(secrets: &[Secret], headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Refused> {
    let header = |name: &'static str| {
        headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Refused::Header(name))
    };
    let (id, time) = (header("webhook-id")?, header("webhook-timestamp")?);
    let seconds: i64 = time.parse().map_err(|_| Refused::Header("webhook-timestamp"))?;
    let away = (now.as_micros() / 1_000_000).abs_diff(seconds);
    if away > TOLERANCE.as_secs() {
        return Err(Refused::Time { seconds: away });
    }
    let signatures = header("webhook-signature")?;
    for secret in secrets {
        let key = SigningKey::parse(secret.expose()).ok_or(Refused::BadSecret)?;
        if key.verify(id, time, body, signatures) {
            return Ok(());
        }
    }
    Err(Refused::Signature)
}

/// The events of a push: a batch, one in JSON, or one in binary mode, as its headers say.
///
/// # Errors
/// When it holds none.
pub fn events(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Event>, Refused> {
    let content = |error: serde_json::Error| Refused::Content(error.to_string());
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == cloudevents::BATCH {
        return serde_json::from_slice(body).map_err(content);
    }
    if essence == cloudevents::STRUCTURED {
        return Ok(vec![serde_json::from_slice(body).map_err(content)?]);
    }
    if !headers.contains_key("ce-specversion") {
        return Err(Refused::Content(format!("{media_type:?} is no form of CloudEvents")));
    }
    serde_json::from_value(Value::Object(binary(headers, media_type, body)?))
        .map(|event| vec![event])
        .map_err(content)
}

/// Binary mode as the same event in JSON.
fn binary(headers: &HeaderMap, media_type: &str, body: &[u8]) -> Result<Map<String, Value>, Refused> {
    let mut event = Map::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let text = cloudevents::decode_header(value.as_bytes())
            .ok_or_else(|| Refused::Content(format!("the header ce-{name} is not UTF-8")))?;
        let value = match (name, text.parse::<u64>()) {
            ("entityseq", Ok(number)) => number.into(),
            _ => Value::from(text.as_ref()),
        };
        event.insert(name.to_owned(), value);
    }
    if body.is_empty() {
        return Ok(event);
    }
    let is_json = media_type.is_empty() || cloudevents::is_json(media_type);
    if is_json {
        let data = serde_json::from_slice(body).map_err(|error| Refused::Content(error.to_string()))?;
        event.insert("data".to_owned(), data);
    } else if let Ok(text) = std::str::from_utf8(body).map(Value::from)
        && media_type.starts_with("text/")
    {
        event.insert("data".to_owned(), text);
    } else {
        event.insert("data_base64".to_owned(), STANDARD.encode(body).into());
    }
    if !media_type.is_empty() {
        event.insert("datacontenttype".to_owned(), media_type.into());
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const TIME: i64 = 1_614_265_330;

    fn signed(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap());
        headers.insert("webhook-timestamp", TIME.to_string().parse().unwrap());
        headers.insert("webhook-signature", SIGNATURE.parse().unwrap());
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    fn event() -> Event {
        serde_json::from_value(serde_json::json!({
            "specversion": "1.0", "id": "a b%", "source": "/services/things", "topic": "things",
            "type": "things.update", "subject": "http://a.test/Ü", "sequence": hob_wire::sequence_text(7),
            "time": "2026-01-05T12:00:00Z", "recordedtime": "2026-01-05T12:00:00Z", "entityseq": 3,
            "environment": "demo", "tenant": "uk", "datacontenttype": "application/json", "data": {"a": [1]},
        }))
        .unwrap()
    }

    #[test]
    fn what_was_signed_with_one_of_the_secrets_lately_is_taken() {
        let now = Timestamp::from_micros((TIME + 60) * 1_000_000);
        let other = Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let both = [other.clone(), Secret::new(SECRET)];
        let two = format!("v1,{} v2,x {SIGNATURE}", "A".repeat(44));
        let check = |secrets: &[Secret], lines: &[(&'static str, &str)], now: Timestamp, expect| {
            assert_eq!(verify(secrets, &signed(lines), BODY, now), expect, "{lines:?}");
        };
        check(&both, &[], now, Ok(()));
        check(&both, &[("webhook-signature", &two)], now, Ok(()));
        check(&[other], &[], now, Err(Refused::Signature));
        check(&both, &[("webhook-id", "msg_2")], now, Err(Refused::Signature));
        check(&both, &[("webhook-signature", "v1,")], now, Err(Refused::Signature));
        check(&both, &[("webhook-timestamp", "soon")], now, Err(Refused::Header("webhook-timestamp")));
        let late = Timestamp::from_micros((TIME + 301) * 1_000_000);
        check(&both, &[], late, Err(Refused::Time { seconds: 301 }));
        check(&[Secret::new("x")], &[], now, Err(Refused::BadSecret));
        assert_eq!(verify(&both, &signed(&[]), b"{}", now), Err(Refused::Signature));
        let none = verify(&both, &HeaderMap::new(), BODY, now);
        assert_eq!(none, Err(Refused::Header("webhook-id")));
    }

    #[test]
    fn events_are_read_as_they_were_written_in_every_mode() {
        let typed = |media_type: &str| signed(&[("content-type", media_type)]);
        let event = event();
        let batch = cloudevents::batch([&event, &event]);
        assert_eq!(events(&typed(cloudevents::BATCH), &batch).unwrap(), [event.clone(), event.clone()]);
        let one =
            events(&typed("application/cloudevents+json; charset=utf-8"), &cloudevents::structured(&event));
        assert_eq!(one.unwrap(), std::slice::from_ref(&event));
        let bytes = Event {
            datacontenttype: Some("application/octet-stream".to_owned()),
            data: None,
            data_base64: Some("/wA=".to_owned()),
            ..event.clone()
        };
        let text =
            Event { datacontenttype: Some("text/plain".to_owned()), data: Some("{".into()), ..event.clone() };
        let notice = Event { datacontenttype: None, data: None, ..event.clone() };
        for event in [event, bytes, text, notice] {
            let (lines, body) = cloudevents::binary(&event);
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
            assert_eq!(events(&headers, &body).unwrap(), [event]);
        }
    }

    #[test]
    fn what_holds_no_event_is_refused() {
        for (media_type, body) in
            [("text/html", "<p>"), (cloudevents::BATCH, "{}"), (cloudevents::STRUCTURED, "{")]
        {
            let refused = events(&signed(&[("content-type", media_type)]), body.as_bytes()).unwrap_err();
            assert_eq!(refused.status(), 400, "{refused}");
        }
    }
}
