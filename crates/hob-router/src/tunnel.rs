//! Websockets: once an instance has agreed to switch, bytes pass both ways until either side ends, or a moment after the
//! instance has left the table.

use std::sync::Arc;

use http::{Request, Response, request};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;

use crate::account::{Account, Ending};
use crate::answer::Answer;
use crate::headers;
use crate::link::{self, ConnectError};
use crate::proxy::{Answered, Client, Passage, bad_instance};
use crate::relay::linger;
use crate::tape::Tape;
use crate::trace::REQUEST_ID;

use hob_core::code;
use hob_wire::Problem;

/// Asks an instance to switch. Its answer says whether it does.
pub(crate) async fn open(
    passage: &mut Passage,
    mut head: request::Parts,
    body: Incoming,
) -> Result<Answered, Box<Problem>> {
    headers::mark_websocket(&mut head.headers);
    let tape = Tape::new(body, 0);
    let gateway = Arc::clone(&passage.gateway);
    let limits = &gateway.limits;
    loop {
        let instance = passage.place().await?;
        let stream = match link::open(instance.address, limits.connect).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(instance = instance.id, %error, "an instance takes no connection");
                passage.pass_over(instance);
                continue;
            }
        };
        let (mut sender, driver) = http1::Builder::new()
            .max_header_size(limits.head_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| bad_instance(&ConnectError::Handshake(instance.address, source).to_string()))?;
        // It ends with the exchange, or hands the socket over.
        tokio::spawn(driver.with_upgrades());
        let asked =
            timeout(limits.response_head, sender.send_request(Request::from_parts(head, tape.play())));
        let response = asked.await.map_err(|_| {
            Box::new(Problem::new(code::INSTANCE_TIMEOUT, "the instance did not begin to answer in time"))
        })?;
        let response = response
            .map_err(|error| bad_instance(&format!("the instance broke off before it answered ({error})")))?;
        return Ok((response, None, tape));
    }
}

/// Passes bytes both ways from now on, and returns the answer that lets the client begin.
pub(crate) fn join(
    mut account: Account,
    mut agreed: Response<Incoming>,
    of_client: OnUpgrade,
    client: Arc<Client>,
) -> Response<Answer> {
    let of_instance = hyper::upgrade::on(&mut agreed);
    let (mut head, _) = agreed.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    headers::mark_websocket(&mut head.headers);
    head.headers.insert(REQUEST_ID, account.seen.request_id.clone());
    head.extensions.clear();
    account.status = head.status.as_u16();
    let answer = Answer::text(bytes::Bytes::new(), &client.activity);
    tokio::spawn(async move {
        let (Ok(of_client), Ok(of_instance)) = tokio::join!(of_client, of_instance) else { return };
        let (mut of_client, mut of_instance) = (TokioIo::new(of_client), TokioIo::new(of_instance));
        let gone = account.ticket.as_ref().map(|ticket| ticket.instance.gone.clone()).unwrap_or_default();
        let stopped = account.gateway.stopped.clone();
        let copied = tokio::select! {
            copied = copy_bidirectional(&mut of_client, &mut of_instance) => copied.ok(),
            () = linger(gone, account.gateway.limits.linger) => None,
            () = stopped.cancelled() => None,
        };
        account.bytes = copied.map_or(0, |(_, to_client)| to_client);
        account.settle(Ending::Whole);
        // The client's place among the connections is free from here on.
        drop(client);
    });
    Response::from_parts(head, answer)
}
