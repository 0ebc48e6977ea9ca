//! Publishers and consumers that work until the core is gone, and tell the checker everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::core::{CONSUMER, Caller, TOPIC, stored};
use crate::history::{History, Sent};

/// Entities of one publisher.
const ENTITIES: u64 = 5;
/// Events of one publish, at most.
const BATCH_MAX: u64 = 8;

/// A small generator of numbers that one seed fixes.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, of: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ of.wrapping_mul(0xD1B5_4A32_D192_ED03) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// What everybody shares.
pub(crate) type Shared = Arc<Mutex<History>>;

/// One publisher, with what it has not been told about yet.
pub(crate) struct Publisher {
    nth: u64,
    random: Random,
    numbers: [u64; ENTITIES as usize],
    made: u64,
    unanswered: Option<(Value, Vec<String>)>,
}

impl Publisher {
    pub(crate) fn new(nth: u64, seed: u64) -> Self {
        let random = Random::new(seed, 100 + nth);
        Self { nth, random, numbers: [0; ENTITIES as usize], made: 0, unanswered: None }
    }

    /// Publishes until the core no longer answers, and counts what is acknowledged.
    pub(crate) async fn run(&mut self, caller: &Caller, shared: &Shared, acknowledged: &watch::Sender<u64>) {
        loop {
            let (body, ids) = match self.unanswered.take() {
                // Most ask again for what they were not told about, as a relay does; some give up.
                Some(again) if self.random.below(4) > 0 => again,
                _ => self.batch(shared),
            };
            let path = format!("/v1/topics/{TOPIC}/events");
            let Some(answer) = caller.call("POST", &path, Some(&body)).await else {
                self.unanswered = Some((body, ids));
                return;
            };
            assert_eq!(answer.status, 201, "a publish was refused: {}", answer.body);
            ids.iter().for_each(|id| shared.lock().unwrap().acknowledges(id));
            acknowledged.send_modify(|count| *count += 1);
        }
    }

    fn batch(&mut self, shared: &Shared) -> (Value, Vec<String>) {
        let (mut body, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..=self.random.below(BATCH_MAX) {
            let of = self.random.below(ENTITIES) as usize;
            self.numbers[of] += 1;
            self.made += 1;
            let (id, entity) =
                (format!("p{}-{}", self.nth, self.made), format!("http://t/{}/{of}", self.nth));
            let tag = format!("v{}", self.numbers[of]);
            body.push(json!({"type": "update", "href": entity, "id": id, "entitytag": tag}));
            shared.lock().unwrap().sends(&id, Sent { entity, number: self.numbers[of] });
            ids.push(id);
        }
        (Value::Array(body), ids)
    }
}

/// How a subscription is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Leases and acknowledges up to the last.
    Whole,
    /// Acknowledges some of a lease by id, and gives the others back.
    Piecemeal,
    /// Follows the live stream, and acknowledges now and then.
    Stream,
}

/// The subscriptions and their habits.
pub(crate) const SUBSCRIPTIONS: [(&str, Habit); 3] =
    [("whole", Habit::Whole), ("piecemeal", Habit::Piecemeal), ("stream", Habit::Stream)];

/// Consumes until the core no longer answers, or until nothing is left when `to_the_end`.
pub(crate) async fn consume(caller: &Caller, shared: &Shared, name: &str, habit: Habit, random: &mut Random) {
    match habit {
        Habit::Stream => follow(caller, shared, name).await,
        _ => while pull(caller, shared, name, habit, random, "1s").await.is_some() {},
    }
}

/// One lease with its acknowledgement: how many events it had; none when the core did not answer.
pub(crate) async fn pull(
    caller: &Caller,
    shared: &Shared,
    name: &str,
    habit: Habit,
    random: &mut Random,
    wait: &str,
) -> Option<usize> {
    let max = 1 + random.below(100);
    let path = format!("/v1/subscriptions/{name}/events?service={CONSUMER}&max={max}&wait={wait}");
    let answer = caller.call("GET", &path, None).await?;
    if answer.status == 204 {
        return Some(0);
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    let events: Vec<_> = answer.body["events"].as_array().unwrap().iter().map(stored).collect();
    let lease = answer.body["lease"].as_str().unwrap();
    let mut ack = json!({"lease": lease, "upto": format!("{:020}", events.last().unwrap().sequence)});
    {
        let mut history = shared.lock().unwrap();
        events.iter().for_each(|event| history.gives(name, event.sequence, &event.id));
        if habit == Habit::Piecemeal {
            let (taken, back): (Vec<_>, Vec<_>) = events.iter().partition(|_| random.below(3) > 0);
            let back: Vec<Value> = back.iter().map(|event| json!({"id": event.id, "delay_ms": 0})).collect();
            let ids: Vec<&str> = taken.iter().map(|event| event.id.as_str()).collect();
            ack = json!({"lease": lease, "ack": ids, "nack": back});
            taken.iter().for_each(|event| history.takes(name, event.sequence));
        } else {
            events.iter().for_each(|event| history.takes(name, event.sequence));
        }
    }
    let path = format!("/v1/subscriptions/{name}/acks?service={CONSUMER}");
    let answer = caller.call("POST", &path, Some(&ack)).await?;
    assert!(answer.status == 204, "{ack}: {} {}", answer.status, answer.body);
    Some(events.len())
}

/// Follows the stream until it ends, and acknowledges every twentieth event with all before it.
async fn follow(caller: &Caller, shared: &Shared, name: &str) {
    let path = format!("/v1/subscriptions/{name}/events?service={CONSUMER}&progress=acknowledged");
    let url = format!("{}{path}", caller.url);
    let request = caller.http.get(url).bearer_auth(&caller.token).header("accept", "text/event-stream");
    let Ok(mut response) = request.send().await else { return };
    let (mut text, mut waiting) = (String::new(), VecDeque::new());
    while let Ok(Some(piece)) = response.chunk().await {
        text.push_str(std::str::from_utf8(&piece).unwrap());
        while let Some(end) = text.find("\n\n") {
            let frame: String = text.drain(..end + 2).collect();
            let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
            let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
            if event.get("id").is_none() {
                continue;
            }
            let event = stored(&event);
            shared.lock().unwrap().gives(name, event.sequence, &event.id);
            waiting.push_back(event.sequence);
        }
        if waiting.len() >= 20 {
            let upto = *waiting.back().unwrap();
            waiting.drain(..).for_each(|sequence| shared.lock().unwrap().takes(name, sequence));
            let ack = json!({"lease": "stream", "upto": format!("{upto:020}")});
            let path = format!("/v1/subscriptions/{name}/acks?service={CONSUMER}");
            if caller.call("POST", &path, Some(&ack)).await.is_none() {
                return;
            }
        }
    }
}
