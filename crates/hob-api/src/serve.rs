//! Serves connections, as HTTP/1.1 with websockets.
//!
//! The loop is our own, over the library that would also be under another's: what makes no difference to a connection of
//! HTTP/1.1 (telling versions apart, a box and a clone for each request) costs a twentieth of a publish.

use std::convert::Infallible;

use axum::serve::{Listener as _, ListenerExt as _};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shortcut::App;

/// Serves the application until `stop` resolves and open requests have ended.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) {
    let mut listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let (connections, ending) = (TaskTracker::new(), CancellationToken::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        // Trouble with accepting is waited out in there.
        let (stream, _) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        connections.spawn(converse(stream, app.clone(), ending.clone()));
    }
    drop(listener);
    ending.cancel();
    connections.close();
    connections.wait().await;
}

/// Answers one connection's requests.
async fn converse(stream: TcpStream, app: App, ending: CancellationToken) {
    let service = service_fn(|request| {
        let answer = app.clone().answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended");
    }
}
