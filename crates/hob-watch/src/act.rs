//! The port through which actions are done: whoever does the HTTP.

use std::future::Future;
use std::pin::Pin;

use hob_wire::Action;

/// What an action came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// What was answered, or why nothing was, in a few words.
    pub error: Option<String>,
}

/// Does actions: sends `method` to `href` with the JSON body `with`, and with the action's id as `Idempotency-Key` and
/// `X-Request-Id`. Implementations bound the time of one call, never repeat it, and resolve hrefs as those of fetches.
pub trait Act: Send + Sync + 'static {
    /// Does one. Never fails: failure is a status and an error.
    fn act<'a>(&'a self, action: &'a Action) -> Pin<Box<dyn Future<Output = Acted> + Send + 'a>>;
}
