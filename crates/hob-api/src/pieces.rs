//! A body of several pieces, sent as they are: what many callers share is copied for none of them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The pieces that are still to be sent.
pub(crate) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// These, one behind the other.
    pub(crate) fn of(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

impl IntoResponse for Pieces {
    fn into_response(self) -> Response {
        Response::new(axum::body::Body::new(self))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_length_is_told_beforehand() {
        let pieces = Pieces::of(["a", "", "bc"].map(Bytes::from).to_vec());
        assert_eq!(pieces.size_hint().exact(), Some(3));
        assert_eq!(pieces.collect().await.unwrap().to_bytes(), "abc");
        assert!(Pieces::of(Vec::new()).is_end_stream());
    }
}
