//! What the cache decides, case by case.

use http::{HeaderMap, HeaderName, header};

use super::*;

pub(super) const HREF: &str = "http://city.test/restaurants/r1";

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn options(bytes_max: usize) -> CacheOptions {
    CacheOptions { bytes_max, ..CacheOptions::default() }
}

pub(super) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// Version `version` of an entity that varies by `Accept`.
pub(super) fn fetched(version: u64, accept: &str) -> Answer {
    let policy = Policy { may_store: true, vary: vec![header::ACCEPT], ..Policy::default() };
    let stored = Stored {
        etag: Some(format!("\"{version}-{accept}\"")),
        body: version.to_string().into(),
        ..Stored::empty(StatusCode::OK)
    };
    Answer { not_modified: false, policy, stored }
}

pub(super) fn not_modified(version: u64, accept: &str) -> Answer {
    let answer = fetched(version, accept);
    let stored = Stored { etag: answer.stored.etag.clone(), ..Stored::empty(StatusCode::NOT_MODIFIED) };
    Answer { not_modified: true, stored, ..answer }
}

pub(super) fn version(stored: &Stored) -> u64 {
    std::str::from_utf8(&stored.body).unwrap().parse().unwrap()
}

pub(super) fn told(change: EventChange, position: u64) -> Told<'static> {
    Told { href: HREF, change, position, tag: None, lag: None }
}

/// A cache with one reader of [`HREF`] who asks by `Accept`.
struct Try {
    state: State,
    now: Duration,
}

impl Try {
    fn new() -> Self {
        let mut state = State::new(options(1 << 20));
        state.reset();
        state.heartbeat(secs(0));
        Self { state, now: secs(0) }
    }

    /// A cache that has version 1 of the entity as `json`, and events flow.
    fn warm() -> Self {
        let mut this = Self::new();
        this.fill("json", fetched(1, "json"));
        assert!(this.hit("json").is_some());
        this
    }

    fn hit(&mut self, accept: &str) -> Option<Served> {
        let headers = headers(&[("accept", accept)]);
        self.state.hit(&Ask::new(HREF, &headers), self.now, self.now)
    }

    fn ticket(&mut self, accept: &str) -> Ticket {
        let headers = headers(&[("accept", accept)]);
        match self.state.look(&Ask::new(HREF, &headers), self.now, self.now) {
            Look::Fetch(ticket) => ticket,
            Look::Fresh(served) => panic!("served {served:?}"),
        }
    }

    fn answer(&mut self, accept: &str, ticket: Ticket, answer: Answer) -> Verdict {
        let headers = headers(&[("accept", accept)]);
        self.state.answered(&Ask::new(HREF, &headers), ticket, answer, self.now)
    }

    /// Fetches, and is answered at once.
    fn fill(&mut self, accept: &str, answer: Answer) -> Verdict {
        let ticket = self.ticket(accept);
        let verdict = self.answer(accept, ticket, answer);
        self.state.unpin(HREF);
        verdict
    }

    fn stale(&mut self, accept: &str) -> Option<Served> {
        let headers = headers(&[("accept", accept)]);
        self.state.stale(&Ask::new(HREF, &headers), self.now)
    }

    fn event(&mut self, change: EventChange, position: u64) {
        self.state.event(told(change, position), self.now);
    }
}

fn source(verdict: &Verdict) -> Option<Source> {
    if let Verdict::Serve(served) = verdict { Some(served.source) } else { None }
}

/// Others' caches keep one mark of freshness for all variants, so that reading one makes the others look fresh.
#[test]
fn an_event_outdates_every_variant_and_not_only_the_one_read_next() {
    let mut this = Try::warm();
    this.fill("text", fetched(1, "text"));
    this.event(EventChange::Update, 1);
    this.fill("json", fetched(2, "json"));
    assert_eq!(version(&this.hit("json").unwrap().stored), 2);
    assert_eq!(this.hit("text"), None);
}

/// Others never ask with the tag that they have.
#[test]
fn what_an_event_outdated_is_asked_for_with_its_tag() {
    let mut this = Try::warm();
    this.event(EventChange::Update, 1);
    let ticket = this.ticket("json");
    assert_eq!(ticket.etag.as_deref(), Some("\"1-json\""));
    let again = this.answer("json", ticket, not_modified(1, "json"));
    let Verdict::AskLater(ticket) = again else { panic!("{again:?}") };
    let ticket = this.state.again(HREF, ticket, this.now);
    let verdict = this.answer("json", ticket, not_modified(1, "json"));
    assert_eq!(source(&verdict), Some(Source::Revalidated));
    this.state.unpin(HREF);
    assert_eq!(version(&this.hit("json").unwrap().stored), 1);
    let figures = this.state.figures(this.now);
    assert_eq!((figures.asked_again, figures.revalidations), (1, 1));
}

/// Others order events by their time, and lose a deletion in the same millisecond as an update.
#[test]
fn a_deletion_right_after_an_update_is_not_lost() {
    let mut this = Try::warm();
    this.event(EventChange::Update, 1);
    this.event(EventChange::Delete, 2);
    assert_eq!(this.hit("json").unwrap().stored.status, StatusCode::GONE);
    // What comes late or twice changes nothing.
    this.event(EventChange::Update, 1);
    this.event(EventChange::Delete, 2);
    assert_eq!(this.hit("text").unwrap().stored.status, StatusCode::GONE);
    this.event(EventChange::Noop, 3);
    assert_eq!(this.hit("json").unwrap().stored.status, StatusCode::GONE);
    this.event(EventChange::Create, 4);
    assert_eq!(this.hit("json"), None);
    assert_eq!(this.state.figures(this.now).tombstones, 0);
}

/// Others serve what they have for months when events stop.
#[test]
fn without_heartbeats_plain_http_caching_decides() {
    let mut this = Try::warm();
    this.now = secs(9);
    assert!(this.hit("json").is_some());
    this.now = secs(10);
    assert_eq!(this.hit("json"), None);
    let mut answer = not_modified(1, "json");
    answer.policy.lifetime = Some(secs(5));
    let answer = Answer { policy: Policy { age: secs(1), ..answer.policy }, ..answer };
    let verdict = this.fill("json", answer);
    assert!(matches!(&verdict, Verdict::Serve(served) if version(&served.stored) == 1));
    assert_eq!(source(&verdict), Some(Source::Revalidated));
    // The 304 said nothing of a lifetime that counts.
    this.now = secs(11);
    assert_eq!(this.hit("json"), None);
}

#[test]
fn a_lifetime_counts_while_no_events_flow_and_ends() {
    let mut this = Try::new();
    this.now = secs(20);
    let mut answer = fetched(1, "json");
    answer.policy.lifetime = Some(secs(5));
    answer.policy.age = secs(1);
    this.fill("json", answer);
    this.now = secs(23);
    assert_eq!(this.hit("json").unwrap().age, secs(4));
    // An event is believed also then.
    this.event(EventChange::Update, 1);
    assert_eq!(this.hit("json"), None);
    this.now = secs(24);
    this.fill("json", fetched(2, "json"));
    assert_eq!(this.hit("json"), None);
}

/// Others share what was fetched with one person's credentials with everybody.
#[test]
fn what_was_fetched_with_credentials_is_for_these_alone() {
    let mut this = Try::new();
    let (ann, bob) =
        (headers(&[("authorization", "Bearer ann")]), headers(&[("authorization", "Bearer bob")]));
    let (ann, bob, nobody) = (Ask::new(HREF, &ann), Ask::new(HREF, &bob), headers(&[]));
    let Look::Fetch(ticket) = this.state.look(&ann, this.now, this.now) else { panic!("known already") };
    this.state.answered(&ann, ticket, fetched(1, "json"), this.now);
    this.state.unpin(HREF);
    assert!(this.state.hit(&ann, this.now, this.now).is_some());
    assert_eq!(this.state.hit(&bob, this.now, this.now), None);
    assert_eq!(this.state.hit(&Ask::new(HREF, &nobody), this.now, this.now), None);
    let Look::Fetch(ticket) = this.state.look(&bob, this.now, this.now) else { panic!("shared") };
    assert_eq!(ticket.etag, None);
}

#[test]
fn an_event_that_tells_the_kept_tag_asks_nobody() {
    let mut this = Try::warm();
    let tag = |tag, position| Told { tag: Some(tag), ..told(EventChange::Update, position) };
    this.state.event(tag("W/\"1-json\"", 1), this.now);
    assert!(this.hit("json").is_some());
    this.state.event(tag("\"2-json\"", 2), this.now);
    assert_eq!(this.hit("json"), None);
    // An answer that carries the told tag is the newest, although its fetch began before.
    let ticket = this.ticket("json");
    this.state.event(tag("\"3-json\"", 3), this.now);
    this.answer("json", ticket, fetched(3, "json"));
    this.state.unpin(HREF);
    assert_eq!(version(&this.hit("json").unwrap().stored), 3);
    assert_eq!(this.state.figures(this.now).spared, 1);
}

#[test]
fn events_of_a_second_topic_count_although_it_numbers_them_itself() {
    let mut this = Try::warm();
    this.event(EventChange::Update, 500);
    this.fill("json", fetched(2, "json"));
    this.event(EventChange::Update, 501);
    assert_eq!(this.hit("json"), None);
}

#[test]
fn noop_makes_nobody_ask_but_who_has_seen_that_it_is_not_there() {
    let mut this = Try::warm();
    this.event(EventChange::Noop, 1);
    assert!(this.hit("json").is_some());
    // A noop that came before an older update does not hide it.
    this.event(EventChange::Noop, 3);
    this.event(EventChange::Update, 2);
    assert_eq!(this.hit("json"), None);

    let mut this = Try::new();
    let absent = Answer { stored: Stored::empty(StatusCode::NOT_FOUND), ..fetched(1, "json") };
    this.fill("json", absent);
    assert_eq!(this.hit("json").unwrap().stored.status, StatusCode::NOT_FOUND);
    this.event(EventChange::Noop, 1);
    assert_eq!(this.hit("json"), None);
}

#[test]
fn what_an_event_overtook_on_its_way_is_not_fresh() {
    let mut this = Try::new();
    let ticket = this.ticket("json");
    this.event(EventChange::Update, 1);
    this.answer("json", ticket, fetched(1, "json"));
    this.state.unpin(HREF);
    assert_eq!(this.hit("json"), None);
    let ticket = this.ticket("json");
    this.state.wrote(HREF);
    this.answer("json", ticket, fetched(2, "json"));
    this.state.unpin(HREF);
    assert_eq!(this.hit("json"), None);
}

#[test]
fn a_confirmation_of_what_is_gone_is_asked_for_anew() {
    let mut this = Try::warm();
    this.now = secs(20);
    let ticket = this.ticket("json");
    this.event(EventChange::Delete, 1);
    this.event(EventChange::Create, 2);
    let Verdict::AskAnew(ticket) = this.answer("json", ticket, not_modified(1, "json")) else {
        panic!("served nothing as something")
    };
    assert_eq!(ticket.etag, None);
    assert_eq!(source(&this.answer("json", ticket, fetched(2, "json"))), Some(Source::Fetched));
    this.state.unpin(HREF);
}

#[test]
fn an_owner_that_is_away_is_stood_in_for_unless_events_or_itself_forbid() {
    let mut this = Try::warm();
    this.event(EventChange::Update, 1);
    assert_eq!(this.stale("json"), None, "an event has outdated it");
    this.state.options.outdated_for = secs(5);
    assert_eq!(this.stale("json").unwrap().source, Source::Stale);
    this.state.options.outdated_for = secs(0);
    this.now = secs(299);
    assert!(this.stale("json").is_some(), "nothing flows, and HTTP allows it");
    this.now = secs(300);
    assert_eq!(this.stale("json"), None);
    this.state.reset();
    let mut answer = fetched(2, "json");
    answer.policy.no_cache = true;
    this.fill("json", answer);
    assert_eq!(this.stale("json"), None);
}

#[test]
fn after_missed_events_everything_is_asked_for_once() {
    let mut this = Try::warm();
    this.state.reset();
    assert_eq!(this.hit("json"), None);
    this.state.heartbeat(this.now);
    assert_eq!(this.hit("json"), None);
    let ticket = this.ticket("json");
    assert_eq!(ticket.etag.as_deref(), Some("\"1-json\""));
    this.answer("json", ticket, not_modified(1, "json"));
    this.state.unpin(HREF);
    assert!(this.hit("json").is_some());
}

#[test]
fn what_must_not_be_kept_is_not_and_drives_out_what_was() {
    let mut this = Try::warm();
    this.event(EventChange::Update, 1);
    let mut answer = fetched(2, "json");
    answer.policy.may_store = false;
    assert_eq!(source(&this.fill("json", answer)), Some(Source::Fetched));
    assert_eq!((this.hit("json"), this.state.figures(this.now).entities), (None, 0));
    assert_eq!(this.state.bytes, 0);
}

#[test]
fn bytes_variants_and_tombstones_are_bounded() {
    let mut state = State::new(options(40_000));
    state.heartbeat(secs(0));
    let none = headers(&[]);
    for number in 0..200_u64 {
        let href = format!("http://city.test/orders/o{number}");
        let ask = Ask::new(&href, &none);
        let Look::Fetch(ticket) = state.look(&ask, secs(0), secs(0)) else { panic!("known already") };
        state.answered(&ask, ticket, fetched(1, "json"), secs(0));
        state.unpin(&href);
        state.event(Told { href: &href, ..told(EventChange::Delete, number + 1) }, secs(0));
        assert!(state.bytes <= 40_000);
    }
    let figures = state.figures(secs(0));
    assert!(figures.evictions > 50 && figures.tombstones == figures.entities, "{figures:?}");

    let ask = Ask::new(HREF, &none);
    let Look::Fetch(ticket) = state.look(&ask, secs(0), secs(0)) else { panic!("known already") };
    let mut large = fetched(1, "json");
    large.stored.body = vec![b'x'; 5_001].into();
    state.answered(&ask, ticket, large, secs(0));
    state.unpin(HREF);
    assert_eq!(state.hit(&ask, secs(0), secs(0)), None, "one of more than an eighth is not kept");

    let mut state = State::new(options(1 << 20));
    state.heartbeat(secs(0));
    for number in 0..100 {
        let headers = headers(&[("accept", &number.to_string())]);
        let ask = Ask::new(HREF, &headers);
        let Look::Fetch(ticket) = state.look(&ask, secs(number), secs(number)) else { panic!("known") };
        state.answered(&ask, ticket, fetched(1, "json"), secs(number));
        state.unpin(HREF);
    }
    assert_eq!(state.entities[HREF].variants.len(), VARIANTS_MAX);
    state.forget(HREF);
    assert_eq!(state.bytes, 0);
}

#[test]
fn what_is_being_fetched_is_not_forgotten() {
    let mut state = State::new(options(0));
    state.heartbeat(secs(0));
    let none = headers(&[]);
    let ask = Ask::new(HREF, &none);
    let Look::Fetch(ticket) = state.look(&ask, secs(0), secs(0)) else { panic!("known already") };
    state.evict();
    state.event(told(EventChange::Update, 1), secs(0));
    state.options.bytes_max = 1 << 20;
    state.answered(&ask, ticket, fetched(1, "json"), secs(0));
    state.unpin(HREF);
    assert_eq!(state.hit(&ask, secs(0), secs(0)), None);
}
