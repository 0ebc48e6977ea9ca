//! The request that the current task serves: its ids go out again with every call that it makes.

use std::future::Future;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// Characters of a request id that came from outside.
const REQUEST_ID_LENGTH_MAX: usize = 128;

/// The ids of a request, carried from service to service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// `x-request-id`: the same in every log line and event that the request causes.
    pub request_id: String,
    /// W3C `traceparent`, passed on as it came.
    pub traceparent: Option<String>,
}

impl RequestContext {
    /// The context of the current task, when it serves a request.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs a future, and the calls that it makes, in this context. A task spawned inside does not inherit it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs a function in this context, for work that blocks.
    pub fn scope_blocking<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// Whether a request id that came from outside may be carried on: short, visible and without separators.
    pub fn is_request_id(text: &str) -> bool {
        let visible = |byte: u8| byte.is_ascii_graphic() && byte != b',' && byte != b'"';
        !text.is_empty() && text.len() <= REQUEST_ID_LENGTH_MAX && text.bytes().all(visible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_from_outside_are_checked() {
        assert!(RequestContext::is_request_id("01hx-7"));
        for bad in ["", "a b", "a,b", "ü", &"x".repeat(129)] {
            assert!(!RequestContext::is_request_id(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_context_is_there_inside_and_nowhere_else() {
        let context = RequestContext { request_id: "r1".to_owned(), traceparent: None };
        let seen = context.clone().scope(async { RequestContext::current() }).await;
        assert_eq!((seen, RequestContext::current()), (Some(context), None));
    }
}
