//! Asks an instance how it is: over HTTP, or only whether it takes connections.

use std::time::Duration;

use hob_wire::Check;
use tokio::net::TcpStream;

/// Asks once. Any 2xx answer within the timeout is success, or a connection when there is no path; else the reason in a
/// few words.
pub(crate) async fn ask(client: &reqwest::Client, address: &str, check: &Check) -> Result<(), String> {
    let timeout = Duration::from_millis(check.timeout_ms);
    let nothing = || format!("nothing listens at {address}");
    let Some(path) = check.http.as_deref() else {
        return match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(nothing()),
            Ok(Err(error)) => Err(format!("connecting to {address}: {error}")),
            Err(_) => Err(format!("connecting to {address} took longer than {} ms", check.timeout_ms)),
        };
    };
    let what = format!("GET {path}");
    match get(client, address, path, check.host.as_deref(), timeout).await {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(format!("{what} answered {status}")),
        Err(error) if error.is_timeout() => {
            Err(format!("{what} gave no answer within {} ms", check.timeout_ms))
        }
        Err(error) if error.is_connect() => Err(format!("{what}: {}", nothing())),
        Err(error) => Err(format!("{what}: {}", crate::error::chain(&error))),
    }
}

/// Gets a path of an instance, to the end of its answer.
pub(crate) async fn get(
    client: &reqwest::Client,
    address: &str,
    path: &str,
    host: Option<&str>,
    timeout: Duration,
) -> Result<reqwest::StatusCode, reqwest::Error> {
    let mut request = client.get(format!("http://{address}{path}")).timeout(timeout);
    if let Some(host) = host {
        request = request.header(reqwest::header::HOST, host);
    }
    let mut answer = request.send().await?;
    while answer.chunk().await?.is_some() {}
    Ok(answer.status())
}
