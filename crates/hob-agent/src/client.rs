//! Speaks to the core over HTTP: one client with time limits, the node's token on every request.

use std::time::Duration;

use hob_core::{Digest, Name, Secret};
use reqwest::{Response, StatusCode};
use serde::Serialize;

use crate::{Config, Error};

/// A connection that is not there by then will not come.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A report or a batch that takes longer is tried again.
const POST_MAX: Duration = Duration::from_secs(10);
/// A package that takes longer is tried again.
const PACKAGE_MAX: Duration = Duration::from_secs(300);

/// The core, as this node sees it.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    origin: String,
    token: Secret,
    node: Name,
}

/// Why the core did not take something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It is away, or says that it cannot now: to be tried again.
    #[error("reach the core: {0}")]
    Away(String),
    /// It does not know the node's token.
    #[error("be known to the core: it does not know this node's token")]
    Stranger,
    /// It never will take this.
    #[error("be understood by the core: it answered {0}")]
    Never(StatusCode),
}

impl Client {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let http = plain_client()?;
        let origin = config.core_url.trim_end_matches('/').to_owned();
        Ok(Self { http, origin, token: config.token.clone(), node: config.node.clone() })
    }

    /// Posts to a path below the node: `report`.
    pub(crate) async fn post_to_node<T: Serialize + Sync>(
        &self,
        what: &str,
        body: &T,
    ) -> Result<(), Refused> {
        self.post(&format!("/v1/nodes/{}/{what}", self.node), body).await
    }

    pub(crate) async fn post<T: Serialize + Sync>(&self, path: &str, body: &T) -> Result<(), Refused> {
        let request = self.http.post(format!("{}{path}", self.origin)).bearer_auth(self.token.expose());
        let answer = request.json(body).timeout(POST_MAX).send().await;
        check(answer).map(drop)
    }

    /// Opens the stream of intended instances. It has no time limit of its own: its heartbeat is watched.
    pub(crate) async fn intended(&self) -> Result<Response, Refused> {
        let url = format!("{}/v1/nodes/{}/intended", self.origin, self.node);
        let request = self.http.get(url).bearer_auth(self.token.expose());
        check(tokio::time::timeout(POST_MAX, request.send()).await.map_err(|_| "no answer".to_owned())?)
    }

    pub(crate) async fn package(&self, digest: &Digest) -> Result<Response, Refused> {
        let url = format!("{}/v1/packages/{digest}", self.origin);
        let request = self.http.get(url).bearer_auth(self.token.expose()).timeout(PACKAGE_MAX);
        check(request.send().await)
    }
}

/// A client for loopback: no proxies, no redirects.
pub(crate) fn plain_client() -> Result<reqwest::Client, Error> {
    hob_sdk::Trust::platform().client_builder().connect_timeout(CONNECT_MAX).build().map_err(Error::Client)
}

fn check(answer: Result<Response, reqwest::Error>) -> Result<Response, Refused> {
    let answer = answer.map_err(|error| Refused::Away(crate::error::chain(&error)))?;
    let status = answer.status();
    let is_passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    match status.is_success() {
        true => Ok(answer),
        false if status == StatusCode::UNAUTHORIZED => Err(Refused::Stranger),
        false if is_passing => Err(Refused::Away(format!("it answered {status}"))),
        false => Err(Refused::Never(status)),
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Away(why)
    }
}
