//! Whether a call is made once more, and when.

use std::time::Duration;

use http::StatusCode;

use super::{Error, Request, Response};

/// Pauses before the second attempt, the third, and the last.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
/// The longest pause that an answer may ask for; one that asks for more is handed to the caller.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// The pause before the next attempt, or nothing when this outcome is the last.
pub(super) fn delay(
    request: &Request,
    outcome: &Result<Response, Error>,
    attempt: usize,
) -> Option<Duration> {
    let pause = *PAUSES.get(attempt)?;
    if !request.is_repeatable() {
        return None;
    }
    match outcome {
        Err(Error::Send { .. } | Error::Timeout { .. }) => Some(pause),
        Err(_) => None,
        Ok(answer) => match answer.status {
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Some(pause),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => match answer.retry_after() {
                Some(asked) if asked > RETRY_AFTER_MAX => None,
                Some(asked) => Some(asked.max(pause)),
                None => Some(pause),
            },
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Result<Response, Error> {
        let mut headers = http::HeaderMap::new();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Ok(Response { subject: String::new(), status, headers, body: bytes::Bytes::new() })
    }

    #[test]
    fn only_what_may_pass_and_may_be_repeated_is_tried_again() {
        let get = Request::get("/v1/status");
        assert_eq!(delay(&get, &answer(502, None), 0), Some(PAUSES[0]));
        assert_eq!(delay(&get, &answer(503, Some("1")), 0), Some(Duration::from_secs(1)));
        assert_eq!(delay(&get, &answer(503, Some("60")), 0), None);
        assert_eq!(delay(&get, &answer(404, None), 0), None);
        assert_eq!(delay(&get, &answer(502, None), PAUSES.len()), None);
        let post = Request::post("/v1/events");
        assert_eq!(delay(&post, &answer(502, None), 0), None);
        assert_eq!(delay(&post.repeatable(), &answer(502, None), 0), Some(PAUSES[0]));
    }
}
