//! Events: publishing them, following them live, and working through them with acknowledgements.

mod consume;
mod publish;
mod sse;
mod stream;
#[cfg(feature = "server")]
pub mod webhook;
mod work;

pub use consume::{Consumer, Handled};
pub use publish::Publisher;
pub use stream::{Message, Stream};

use hob_wire::SubscriptionSpec;

use crate::client::{Client, Error, Request};

/// A subscription to topics that begins, when it is new, after the newest event.
///
/// # Errors
/// When a name is none of a topic.
pub fn from_now_on(topics: &[&str]) -> Result<SubscriptionSpec, hob_core::BadName> {
    let topics = topics.iter().map(|topic| topic.parse()).collect::<Result<_, _>>()?;
    Ok(SubscriptionSpec { topics, ..SubscriptionSpec::default() })
}

/// Makes a subscription be there as `spec` says; one that exists stays where it is.
pub(crate) async fn put(client: &Client, name: &str, spec: &SubscriptionSpec) -> Result<(), Error> {
    client.send(Request::put(format!("/v1/subscriptions/{name}")).json(spec)).await?.success().map(drop)
}

/// Makes a subscription begin anew after the newest event.
pub(crate) async fn remove(client: &Client, name: &str) -> Result<(), Error> {
    let answer = client.send(Request::delete(format!("/v1/subscriptions/{name}"))).await?;
    if answer.status == http::StatusCode::NOT_FOUND { Ok(()) } else { answer.success().map(drop) }
}
