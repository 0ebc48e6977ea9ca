//! Hob's API as the command line calls it: scope, token, pages and problems are dealt with here.

use std::time::Duration;

use hob_core::{Name, Scope};
use hob_sdk::{Client, Request, Response, Trust};
use hob_wire::{Hal, Page, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::Global;
use crate::failure::{Exit, Failure};
use crate::settings::{Settings, caller_token};

/// How long one call may take; packages travel in one.
const CALL_MAX: Duration = Duration::from_secs(120);
/// Pages that a list follows.
const PAGES_MAX: usize = 100;

/// A Hob that answers.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client,
    url: String,
    environment: Option<Name>,
    tenant: Option<Name>,
}

impl Remote {
    /// The Hob that the arguments name.
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let url = global.url.clone().unwrap_or_else(|| Settings::of_running(&global.data).api_url());
        let token = caller_token(&global.data, global.token.clone())?;
        let client = Trust::with_ca_file(global.ca_file.as_deref())
            .map_err(hob_sdk::ClientError::from)
            .and_then(|trust| Client::for_api_trusting(&url, Some(&token), &trust))
            .map_err(|error| Failure::new(hob_api::chain(&error)))?;
        Ok(Self { client, url, environment: global.environment.clone(), tenant: global.tenant.clone() })
    }

    /// The same Hob, seen in another scope.
    pub(crate) fn in_scope(&self, scope: &Scope) -> Self {
        let (environment, tenant) = (Some(scope.environment.clone()), Some(scope.tenant.clone()));
        Self { environment, tenant, ..self.clone() }
    }

    /// The tenant that the arguments name.
    pub(crate) fn tenant(&self) -> Option<&Name> {
        self.tenant.as_ref()
    }

    /// A path with query parameters and the scope's.
    pub(crate) fn path(&self, path: &str, query: &[(&str, Option<String>)]) -> String {
        let scope = [
            ("environment", self.environment.as_ref().map(ToString::to_string)),
            ("tenant", self.tenant.as_ref().map(ToString::to_string)),
        ];
        let pairs = query.iter().cloned().chain(scope);
        let given = pairs.filter_map(|(key, value)| Some(format!("{key}={}", escape(&value?))));
        let query: Vec<String> = given.collect();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
    }

    /// Sends a request and gives back its answer when it is a success.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, Failure> {
        let answer =
            self.client.send(request.timeout(CALL_MAX)).await.map_err(|error| self.unreachable(&error))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        match serde_json::from_slice::<Problem>(&answer.body) {
            Ok(problem) => Err(problem.into()),
            Err(_) => Err(Failure::new(format!("{} answered {}", self.url, answer.status))),
        }
    }

    fn unreachable(&self, error: &hob_sdk::ClientError) -> Failure {
        let message = format!("Hob does not answer at {}: {}", self.url, hob_api::chain(error));
        Failure::with(Exit::Failed, message).hint("start it with `hob up`, or name it with --url or --data")
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn stream(
        &self,
        path: String,
        after: Option<String>,
    ) -> Result<hob_sdk::Streaming, Failure> {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", &after);
        }
        self.client.open(request).await.map_err(|error| self.unreachable(&error))
    }

    /// Gets a resource.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, Failure> {
        read(self.send(Request::get(path)).await?)
    }

    /// Posts a body.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: String,
        body: &B,
    ) -> Result<T, Failure> {
        read(self.send(Request::post(path).json(body)).await?)
    }

    /// All items of a list, up to `limit`, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: String,
        limit: usize,
    ) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut next = Some(path);
        for _ in 0..PAGES_MAX {
            let Some(path) = next.take() else { break };
            let page: Page<T> = self.get(path).await?;
            items.extend(page.items.into_iter().map(|item: Hal<T>| item.body));
            next = page.links.get("next").map(|link| link.href.clone());
            if items.len() >= limit {
                break;
            }
        }
        items.truncate(limit);
        Ok(items)
    }
}

/// What an answer holds.
pub(crate) fn read<T: DeserializeOwned>(answer: Response) -> Result<T, Failure> {
    answer.json().map_err(|error| Failure::new(hob_api::chain(&error)))
}

/// Percent-encodes what may not stand in a query or a segment of a path (RFC 3986, 2.3).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
