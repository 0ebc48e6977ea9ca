//! The way of one request: checked, routed, given a place at an instance, sent, and its answer passed on.
//!
//! What is sent again, and when: an instance that takes no connection was sent nothing, so the next is asked, whatever
//! the request. A connection that turns out to be closed before anything was written is the same. When it breaks after
//! that, the instance may have carried the request out: it is repeated only when its method says that this is the same
//! as once (RFC 9110, 9.2.2) and all of its body that was sent is still here.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hob_core::code;
use hob_wire::Problem;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::account::{Account, Ending, Seen};
use crate::activity::Activity;
use crate::answer::Answer;
use crate::fleet::{Ask, Claim};
use crate::gateway::Gateway;
use crate::headers::{self, Origin, Present};
use crate::hold::Hold;
use crate::instance::Instance;
use crate::link::{Link, Patience, SendError};
use crate::refusal::{Refusal, refuse};
use crate::relay::Relay;
use crate::table::Way;
use crate::tape::Tape;
use crate::{check, trace, tunnel};

/// One client's connection.
pub(crate) struct Client {
    pub(crate) origin: Arc<Origin>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) is_h2: bool,
    /// The connection's place among those that may be open; a websocket keeps it after hyper is done.
    pub(crate) _place: tokio::sync::OwnedSemaphorePermit,
}

/// Answers one request.
pub(crate) async fn handle(
    gateway: Arc<Gateway>,
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    client.activity.busy();
    let is_h2 = client.is_h2;
    if is_h2 {
        headers::from_h2(&mut request);
    }
    let started = Instant::now();
    let present = Present::of(request.headers());
    let request_id = trace::request_id(request.headers(), present, || gateway.clock.now());
    let is_websocket = present.has(Present::UPGRADE) && headers::wants_websocket(&request);
    let upgrade = is_websocket.then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let host = match check::check(&head, &gateway.limits, present) {
        Ok(host) => host,
        Err(problem) => return Ok(refuse(*Box::<Refusal>::from(problem), &request_id, &client.activity)),
    };
    let peer = client.origin.address.ip();
    let is_trusted = gateway.fleet.trusts(peer);
    let address = match is_trusted && present.has(Present::X_FORWARDED_FOR) {
        true => headers::client_of(&head.headers, peer, |address| gateway.fleet.trusts(address)),
        false => peer,
    };
    headers::strip_hop_by_hop(&mut head.headers, present);
    headers::add_forwarded(&mut head.headers, &client.origin, &host.value, present, is_trusted);
    let seen = prepare(&mut head, host, &request_id, address, present);
    let account = Account::new(Arc::clone(&gateway), seen, started);
    let mut passage =
        Passage { gateway: Arc::clone(&gateway), account, tried: Vec::new(), hold: None, is_admitted: false };
    let answered = match &upgrade {
        Some(_) => tunnel::open(&mut passage, head, body).await,
        None => passage.exchange(head, body).await,
    };
    let mut response = match (answered, upgrade) {
        (Ok((response, ..)), Some(upgrade)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            tunnel::join(passage.account, response, upgrade, client)
        }
        (Ok((response, link, tape)), _) => passage.pass_on(response, link, tape, &client.activity).await,
        (Err(refusal), _) => {
            passage.account.status = refusal.problem.status;
            passage.account.settle(Ending::Failed(&refusal.problem.detail));
            refuse(*refusal, &request_id, &client.activity)
        }
    };
    if gateway.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS && !is_h2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Makes the head the one that goes to the instance, and notes what the request was.
fn prepare(
    head: &mut request::Parts,
    host: check::Host,
    request_id: &HeaderValue,
    client: IpAddr,
    present: Present,
) -> Seen {
    head.headers.insert(trace::REQUEST_ID, request_id.clone());
    let traceparent = trace::renew(&mut head.headers, present);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    if head.uri.authority().is_some() {
        let target = head.uri.path_and_query().cloned();
        head.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    Seen {
        method: head.method.clone(),
        host,
        target: head.uri.clone(),
        request_id: request_id.clone(),
        traceparent,
        client,
    }
}

/// An instance's answer, the connection that it came on (none when that has a task of its own), and the request's body.
pub(crate) type Answered = (Response<Incoming>, Option<Link>, Tape);

/// One request on its way.
pub(crate) struct Passage {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) account: Account,
    /// Instances that are not asked again in this round.
    tried: Vec<Arc<Instance>>,
    hold: Option<Hold>,
    /// Whether the route's limit let it pass.
    is_admitted: bool,
}

impl Passage {
    /// Gives the request a place at an instance; waits for one when there is none.
    pub(crate) async fn place(&mut self, headers: &HeaderMap) -> Result<Arc<Instance>, Box<Refusal>> {
        // Whoever waits is in flight nowhere: an instance that failed it may be stopped.
        self.account.ticket = None;
        let host = &self.account.seen.host;
        let path = match self.account.seen.target.path() {
            "*" => "/",
            path => path,
        };
        let client = self.account.seen.client;
        loop {
            let ask = Ask { host: host.name(), path, headers, client };
            match self.gateway.fleet.claim(&ask, &self.tried) {
                Claim::Ticket(ticket) => {
                    admit(&self.gateway, &mut self.is_admitted, &ticket.way, client)?;
                    self.hold = None;
                    if self.account.attempts == 0 {
                        ticket.way.pool.lobby.earn(ticket.way.retry.budget_percent);
                    }
                    self.account.attempts += 1;
                    let instance = Arc::clone(&ticket.instance);
                    self.account.ticket = Some(ticket);
                    return Ok(instance);
                }
                Claim::NoRoute => {
                    let detail = format!("no route covers {path} on host {}", host.name());
                    let hint = "routes are declared in service.yml; see `hob services` for what is deployed";
                    return Err(Problem::new(code::NO_ROUTE, detail).hint(hint).into());
                }
                Claim::Guarded(guard, way) => {
                    admit(&self.gateway, &mut self.is_admitted, &way, client)?;
                    let lobby = &way.pool.lobby;
                    self.account.lobby = Some(Arc::clone(lobby));
                    guard.stop(&self.gateway, lobby, headers).await?;
                }
                Claim::NoInstance(way, epoch) => {
                    admit(&self.gateway, &mut self.is_admitted, &way, client)?;
                    let lobby = Arc::clone(&way.pool.lobby);
                    let hold = match &mut self.hold {
                        Some(hold) => hold,
                        None => {
                            let hold = Hold::begin(&self.gateway, &lobby)?;
                            self.account.lobby = Some(lobby);
                            self.hold.insert(hold)
                        }
                    };
                    hold.wait(epoch, !self.tried.is_empty()).await?;
                    self.tried.clear();
                }
            }
        }
    }

    /// The instance took no connection: others are asked first, here and by other requests.
    pub(crate) fn pass_over(&mut self, instance: Arc<Instance>) {
        instance.skip(self.gateway.limits.skip);
        instance.retried.fetch_add(1, Ordering::Relaxed);
        self.tried.push(instance);
    }

    /// Sends the request until an instance answers.
    async fn exchange(&mut self, head: request::Parts, body: Incoming) -> Result<Answered, Box<Refusal>> {
        let gateway = Arc::clone(&self.gateway);
        let limits = &gateway.limits;
        let is_repeatable = is_idempotent(&head.method);
        let kept_bytes_max = if is_repeatable { limits.replay_bytes_max } else { 0 };
        let tape = Tape::new(body, kept_bytes_max, limits.body_bytes_max);
        let mut head = head;
        let mut sent = 0;
        loop {
            let instance = self.place(&head.headers).await?;
            let (patience, is_repeated) = self.terms(limits);
            let Some((mut link, is_reused)) = self.link(&instance, is_repeatable).await else { continue };
            sent += 1;
            let spare = (is_repeatable && is_repeated && sent < limits.attempts_max).then(|| head.clone());
            let error = match link.send(Request::from_parts(head, tape.play()), &tape, patience).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(bad_instance("the instance switched protocols without being asked").into());
                }
                Ok(response) => return Ok((response, Some(link), tape)),
                Err(error) => error,
            };
            drop(link);
            head = match error {
                SendError::NotSent(request) => {
                    sent -= 1;
                    request.into_parts().0
                }
                SendError::Broken(error) => self.repeat(spare, &tape, &error)?,
                SendError::ClientTooLarge => {
                    gateway.counts.add(None, "body");
                    return Err(check::too_large(limits).into());
                }
                other => return Err(failure(other).into()),
            };
            if is_reused {
                // The others that idle were most likely closed by the same hand.
                instance.drop_links();
            } else {
                self.pass_over(instance);
            }
        }
    }

    /// The route's terms for the request: how long it may take, and whether it may be sent again.
    fn terms(&self, limits: &crate::Limits) -> (Patience, bool) {
        let way = self.account.ticket.as_ref().map(|ticket| &ticket.way);
        let patience = Patience::new(limits, way.and_then(|way| way.timeout));
        (patience, way.is_none_or(|way| way.retry.idempotent))
    }

    /// A connection that idled a short time, else a new one; whether it was used before. None when the instance takes
    /// no connection.
    async fn link(&mut self, instance: &Arc<Instance>, is_repeatable: bool) -> Option<(Link, bool)> {
        let limits = &self.gateway.limits;
        let idle_max = if is_repeatable { limits.reuse_idle } else { limits.reuse_idle_unrepeatable };
        if let Some(link) = instance.take_link(Instant::now(), idle_max) {
            return Some((link, true));
        }
        match Link::connect(instance.address, limits).await {
            Ok(link) => Some((link, false)),
            Err(error) => {
                tracing::debug!(instance = instance.id, %error, "an instance takes no connection");
                self.pass_over(Arc::clone(instance));
                None
            }
        }
    }

    /// The head to send again after an instance died before it answered, or why not.
    fn repeat(
        &self,
        spare: Option<request::Parts>,
        tape: &Tape,
        error: &hyper::Error,
    ) -> Result<request::Parts, Box<Problem>> {
        let is_affordable =
            || self.account.ticket.as_ref().is_some_and(|ticket| ticket.way.pool.lobby.spend());
        match spare {
            Some(head) if tape.can_play_again() && is_affordable() => {
                if let Some(ticket) = &self.account.ticket {
                    self.gateway.fleet.note(&ticket.instance, true);
                    ticket.instance.retried.fetch_add(1, Ordering::Relaxed);
                }
                Ok(head)
            }
            _ => Err(bad_instance(&format!(
                "the instance broke off before it answered ({error}); the request may have been carried out and was \
                 not sent again"
            ))),
        }
    }

    /// Makes an instance's answer the client's.
    async fn pass_on(
        mut self,
        response: Response<Incoming>,
        link: Option<Link>,
        tape: Tape,
        activity: &Arc<Activity>,
    ) -> Response<Answer> {
        let (mut head, incoming) = response.into_parts();
        let present = Present::of(&head.headers);
        headers::strip_hop_by_hop(&mut head.headers, present);
        head.headers.insert(trace::REQUEST_ID, self.account.seen.request_id.clone());
        head.version = Version::HTTP_11;
        self.account.status = head.status.as_u16();
        let mut relay = Box::new(Relay::new(incoming, &head.headers, link, tape, self.account));
        std::future::poll_fn(|cx| {
            relay.end_if_empty(cx);
            std::task::Poll::Ready(())
        })
        .await;
        Response::from_parts(head, Answer::relay(relay, activity))
    }
}

/// Lets a request pass the limit of its route, once.
fn admit(gateway: &Gateway, is_admitted: &mut bool, way: &Way, client: IpAddr) -> Result<(), Box<Refusal>> {
    let Some(limiter) = way.limiter.as_ref().filter(|_| !*is_admitted) else { return Ok(()) };
    if let Err(used_up) = limiter.take(client, Instant::now()) {
        gateway.counts.add(Some(&way.pool.lobby.pool), "rate");
        let detail = "this client has made as many requests as it may for now";
        let mut refusal: Box<Refusal> = Problem::new(code::TOO_MANY_REQUESTS, detail).into();
        refusal.used_up = Some(used_up);
        return Err(refusal);
    }
    *is_admitted = true;
    Ok(())
}

/// Whether carrying a request out twice is the same as once.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

fn failure(error: SendError) -> Box<Problem> {
    match error {
        SendError::Slow => {
            Box::new(Problem::new(code::INSTANCE_TIMEOUT, "the instance did not begin to answer in time"))
        }
        SendError::Nonsense(error) => bad_instance(&format!("the instance's answer is no HTTP: {error}")),
        SendError::Client => Box::new(Problem::new(code::BAD_REQUEST, "the request's body broke off")),
        SendError::ClientSlow => {
            Box::new(Problem::new(code::BAD_REQUEST, "the request's body stood still for too long"))
        }
        SendError::Broken(_) | SendError::NotSent(_) | SendError::ClientTooLarge => {
            bad_instance("the instance broke off")
        }
    }
}

pub(crate) fn bad_instance(detail: &str) -> Box<Problem> {
    Box::new(Problem::new(code::BAD_INSTANCE, detail))
}
