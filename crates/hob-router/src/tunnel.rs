//! Websockets: once an instance has agreed to switch, bytes pass both ways until either side ends, or a moment after the
//! instance has left the table or the router hands over. Then both sides get a close frame, not at once everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, request};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::account::{Account, Ending};
use crate::answer::Answer;
use crate::frames::{self, Frames};
use crate::link::{self, ConnectError};
use crate::proxy::{Answered, Client, Passage, bad_instance};
use crate::refusal::Refusal;
use crate::relay::linger;
use crate::tape::Tape;
use crate::trace::REQUEST_ID;
use crate::{headers, random};

use hob_core::code;
use hob_wire::Problem;

/// What a websocket is told when nothing else is said: the other side goes away (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;
/// How long a frame that has begun, and then the exchange of close frames, may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Bytes that are read at once, one way.
const BUFFER_BYTES: usize = 8 * 1024;

/// Asks an instance to switch. Its answer says whether it does.
pub(crate) async fn open(
    passage: &mut Passage,
    mut head: request::Parts,
    body: Incoming,
) -> Result<Answered, Box<Refusal>> {
    headers::mark_websocket(&mut head.headers);
    let tape = Tape::new(body, 0, passage.gateway.limits.body_bytes_max);
    let gateway = Arc::clone(&passage.gateway);
    let limits = &gateway.limits;
    loop {
        let instance = passage.place(&head.headers).await?;
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
    let present = headers::Present::of(&head.headers);
    headers::strip_hop_by_hop(&mut head.headers, present);
    headers::mark_websocket(&mut head.headers);
    head.headers.insert(REQUEST_ID, account.seen.request_id.clone());
    head.extensions.clear();
    account.status = head.status.as_u16();
    client.activity.switch();
    let answer = Answer::text(bytes::Bytes::new(), &client.activity);
    let tunnels = account.gateway.tunnels.clone();
    tunnels.spawn(async move {
        let (Ok(of_client), Ok(of_instance)) = tokio::join!(of_client, of_instance) else { return };
        account.bytes = pass(&account, TokioIo::new(of_client), TokioIo::new(of_instance)).await;
        account.settle(Ending::Whole);
        // The client's place among the connections is free from here on.
        drop(client);
    });
    Response::from_parts(head, answer)
}

/// Passes bytes until either side ends or breaks, or it is time to end; then both are told so between two frames.
/// Returns the bytes that went to the client.
async fn pass<C, I>(account: &Account, client: C, instance: I) -> u64
where
    C: AsyncRead + AsyncWrite,
    I: AsyncRead + AsyncWrite,
{
    let gateway = &account.gateway;
    let ticket = account.ticket.as_ref();
    let gone = ticket.map(|ticket| ticket.instance.gone.clone()).unwrap_or_default();
    let lobby = ticket.map(|ticket| Arc::clone(&ticket.way.pool.lobby));
    let most =
        lobby.as_ref().map_or(gateway.limits.linger, |lobby| lobby.spread().min(gateway.limits.linger));
    let code = lobby.map_or(GOING_AWAY, |lobby| lobby.close_code());
    let over = CancellationToken::new();
    let (mut from_client, mut to_client) = split(client);
    let (mut from_instance, mut to_instance) = split(instance);
    let bytes = AtomicU64::new(0);
    let down = pump(&mut from_instance, &mut to_client, &over, &bytes);
    let up_bytes = AtomicU64::new(0);
    let up = pump(&mut from_client, &mut to_instance, &over, &up_bytes);
    let both = async { tokio::try_join!(down, up) };
    let ending = async {
        tokio::select! {
            () = linger(gone, gateway.leaving.clone(), most) => {}
            () = gateway.stopped.cancelled() => {}
        }
        over.cancel();
        // A frame that has begun has so long to end.
        sleep(CLOSE_MAX).await;
    };
    let ended = tokio::select! {
        ended = both => ended.ok(),
        () = ending => None,
    };
    let Some((is_between_down, is_between_up)) = ended else { return bytes.into_inner() };
    if over.is_cancelled() {
        let farewell = async {
            if is_between_down {
                _ = to_client.write_all(&frames::close(code, None)).await;
            }
            if is_between_up {
                let mask = (random::bits() as u32).to_be_bytes();
                _ = to_instance.write_all(&frames::close(code, Some(mask))).await;
            }
            _ = to_client.flush().await;
            // The client answers with a close frame of its own, and then waits for the end.
            let mut rest = [0; 1024];
            while from_client.read(&mut rest).await.is_ok_and(|read| read > 0 && rest[0] & 0x0f != 8) {}
        };
        _ = timeout(CLOSE_MAX, farewell).await;
        _ = to_client.shutdown().await;
    }
    bytes.into_inner()
}

/// Passes bytes one way until they end, or until `over` and a frame has ended. Returns whether the last byte ended a
/// frame.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    over: &CancellationToken,
    bytes: &AtomicU64,
) -> std::io::Result<bool> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut frames = Frames::default();
    loop {
        let read = tokio::select! {
            biased;
            () = over.cancelled(), if frames.is_between() => return Ok(true),
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            to.shutdown().await?;
            return Ok(false);
        }
        let taken = frames.take(&buffer[..read], over.is_cancelled());
        to.write_all(&buffer[..taken]).await?;
        to.flush().await?;
        bytes.fetch_add(taken as u64, Ordering::Relaxed);
    }
}
