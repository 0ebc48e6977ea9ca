//! Asks an instance over HTTP whether it may take requests.

use std::time::Duration;

use hob_wire::Check;

/// While an instance is not ready it is asked at least this often, so that it is used as soon as it can be.
const EAGER: Duration = Duration::from_millis(100);

/// The wait before the next probe.
pub(crate) fn pause(probe: &Check, is_ready: bool) -> Duration {
    let every = Duration::from_millis(probe.every_ms);
    if is_ready { every } else { every.min(EAGER) }
}

/// Asks once. Any 2xx answer within the timeout is success; else the reason in a few words.
pub(crate) async fn ask(client: &reqwest::Client, address: &str, probe: &Check) -> Result<(), String> {
    let path = probe.http.as_deref().unwrap_or("/");
    let url = format!("http://{address}{path}");
    let timeout = Duration::from_millis(probe.timeout_ms);
    let what = format!("GET {path}");
    match client.get(url).timeout(timeout).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("{what} answered {}", answer.status())),
        Err(error) if error.is_timeout() => {
            Err(format!("{what} gave no answer within {} ms", probe.timeout_ms))
        }
        Err(error) if error.is_connect() => Err(format!("{what}: nothing listens at {address}")),
        Err(error) => Err(format!("{what}: {}", crate::error::chain(&error))),
    }
}
