//! The index against a simple model, through flushes, failed appends, restarts and the loss of its directory.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::positions::Positions;
use crate::rows::EventRow;
use hob_core::Timestamp;
use hob_store::Tag;

const LIMITS: IndexLimits = IndexLimits { ids: 12, entities: 6, events: 30 };

fn tag() -> Tag {
    Tag::new("qa/uk/orders").unwrap()
}

fn row<'a>(id: &'a str, href: &'a str, entityseq: u64) -> EventRow<'a> {
    EventRow {
        recorded: Timestamp::from_micros(1_767_614_400_000_000),
        id,
        service: "orders",
        is_notice: true,
        kind: "update",
        entityseq: Some(entityseq),
        notbefore: None,
        subject: Some(href),
        request_id: None,
        traceparent: None,
        entitytag: None,
        source: None,
        content_type: None,
        data_schema: None,
        extensions: Vec::new(),
        data: None,
    }
}

/// An event of the log: id, href, entityseq.
type Logged = (String, String, u64);

type Sender = watch::Sender<Option<Result<(), AppendError>>>;

struct World {
    directory: tempfile::TempDir,
    index: Arc<Index>,
    /// What is durable; the first has sequence 1.
    log: Vec<Logged>,
    waiting: Vec<(Vec<Logged>, Sender)>,
}

fn open(directory: &Path) -> Arc<Index> {
    let engine = Arc::new(hob_store::Index::open(directory).unwrap());
    Arc::new(Index::with(Keys::new(&[7; 16]), engine, LIMITS))
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let index = open(directory.path());
        Self { directory, index, log: Vec::new(), waiting: Vec::new() }
    }

    fn asked(&self, id: &str, href: &str) -> Asked {
        Asked {
            id: Some(self.index.keys.id("qa/uk", "orders", id)),
            entity: Some(self.index.keys.entity(&tag(), href)),
        }
    }

    /// Publishes like the writer does, and checks each verdict against the log and what is on its way to it.
    async fn publish(&mut self, events: &[(u8, u8)]) {
        let named: Vec<(String, String)> =
            events.iter().map(|(id, href)| (format!("i{id}"), format!("e{href}"))).collect();
        let asked: Vec<Asked> = named.iter().map(|(id, href)| self.asked(id, href)).collect();
        let fetched = self.index.prefetch(&asked).await.unwrap();
        let verdicts = self.index.plan(&asked, &fetched).expect("nothing was flushed in between");
        let mut all: Vec<Logged> = self.log.clone();
        all.extend(self.waiting.iter().flat_map(|(events, _)| events.clone()));
        let first = all.len() as u64 + 1;
        let mut new = Vec::new();
        for ((id, href), verdict) in named.iter().zip(&verdicts) {
            let known = all.iter().position(|(known, _, _)| known == id);
            match (verdict, known) {
                (Verdict::Known(known), Some(at)) => assert_eq!(known.sequence(), at as u64 + 1, "{id}"),
                (Verdict::Repeats(nth), Some(at)) => assert_eq!(first + *nth as u64, at as u64 + 1, "{id}"),
                (Verdict::New(Some(count)), None) => {
                    let before =
                        all.iter().filter(|(_, known, _)| known == href).map(|(_, _, count)| *count).max();
                    assert_eq!(*count, before.unwrap_or(0) + 1, "{href}");
                    all.push((id.clone(), href.clone(), *count));
                    new.push((id.clone(), href.clone(), *count));
                }
                (verdict, known) => panic!("{id}: {verdict:?}, in the model {known:?}"),
            }
        }
        if new.is_empty() {
            return;
        }
        let remembered = new
            .iter()
            .map(|(id, href, count)| Remembered::of(&tag(), &row(id, href, *count), self.asked(id, href)));
        let (sender, outcome) = watch::channel(None);
        self.index.remember(first, remembered.collect(), outcome);
        self.waiting.push((new, sender));
    }

    async fn settle(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (events, _) = self.waiting.remove(0);
        self.log.extend(events);
        if self.index.settle(true) {
            self.flush().await;
        }
    }

    /// A failed append fails everything behind it.
    fn fail(&mut self) {
        self.waiting
            .drain(..)
            .for_each(|_| assert!(!self.index.settle(false) || self.index.memory().is_fresh_full()));
    }

    async fn flush(&self) {
        self.index.flush_now(|| Note::of(Positions::new().snapshot())).await;
    }

    async fn restart(&mut self) {
        self.waiting.clear();
        self.index = open(self.directory.path());
        let watermark = self.index.note().map_or(0, |note| note.watermark);
        assert!(watermark <= self.log.len() as u64, "nothing is indexed before it is durable");
        for (nth, (id, href, count)) in self.log.clone().into_iter().enumerate().skip(watermark as usize) {
            let event = Remembered::of(&tag(), &row(&id, &href, count), self.asked(&id, &href));
            if self.index.recall(nth as u64 + 1, event) {
                self.flush().await;
            }
        }
    }

    async fn check_entities(&self) {
        let mut expect: HashMap<String, (u64, u64)> = HashMap::new();
        for (nth, (_, href, count)) in self.log.iter().enumerate() {
            expect.insert(href.clone(), (nth as u64 + 1, *count));
        }
        let mut found = HashMap::new();
        let prefix = b"qa/uk/orders\0".to_vec();
        let mut after = prefix.clone();
        loop {
            let page = self.index.entities(prefix.clone(), after, 3).await.unwrap();
            for (name, state) in &page {
                let href = String::from_utf8(name[prefix.len()..].to_vec()).unwrap();
                let again = found.insert(href, (state.sequence, state.entityseq));
                assert!(again.is_none(), "no entity is told twice");
            }
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
        }
        assert_eq!(found, expect);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<(u8, u8)>),
    Settle,
    Fail,
    Flush,
    Restart,
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec((0..60_u8, 0..14_u8), 1..8).prop_map(Step::Publish),
        6 => Just(Step::Settle),
        1 => Just(Step::Fail),
        2 => Just(Step::Flush),
        2 => Just(Step::Restart),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn it_knows_what_the_log_knows(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                match step {
                    Step::Publish(events) => world.publish(&events).await,
                    Step::Settle => world.settle().await,
                    Step::Fail => world.fail(),
                    Step::Flush => world.flush().await,
                    Step::Restart => world.restart().await,
                    Step::Lose => {
                        world.index.clear().unwrap();
                        world.restart().await;
                    }
                }
                world.check_entities().await;
            }
        });
    }
}

#[tokio::test]
async fn what_was_fetched_before_a_flush_is_not_believed_after_it() {
    let mut world = World::new();
    let asked = [world.asked("i1", "e1")];
    let fetched = world.index.prefetch(&asked).await.unwrap();
    world.publish(&[(1, 1), (2, 2)]).await;
    world.settle().await;
    world.flush().await;
    // Memory forgets what is hot, as when many other entities came.
    world.index.memory().heat((0..40).map(|n| (world.index.keys.entity(&tag(), &format!("x{n}")).hash, 1)));
    assert!(world.index.plan(&asked, &fetched).is_none());
    let fetched = world.index.prefetch(&asked).await.unwrap();
    let verdicts = world.index.plan(&asked, &fetched).unwrap();
    assert!(matches!(verdicts[..], [Verdict::Known(Known::Durable(1))]));
}

#[tokio::test]
async fn publishing_waits_for_a_flush_when_both_tails_are_full() {
    let mut world = World::new();
    for round in 0..2 {
        for n in 0..6 {
            world.publish(&[(round * 10 + n, n)]).await;
        }
        for (events, _) in std::mem::take(&mut world.waiting) {
            world.log.extend(events);
            world.index.settle(true);
        }
        if round == 0 {
            world.index.memory().seal().unwrap();
        }
    }
    assert!(world.index.memory().is_full());
    let asked = [world.asked("i50", "e1")];
    let mut waiting = Box::pin(world.index.prefetch(&asked));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    world.index.memory().flushed();
    world.index.flushed.notify_waiters();
    waiting.await.unwrap();
}

#[tokio::test]
async fn ids_are_forgotten_with_their_day() {
    let world = World::new();
    let day = |nth: i64| Timestamp::from_micros(1_767_614_400_000_000 + nth * 86_400_000_000);
    for nth in 0..6 {
        let id = format!("i{nth}");
        let told = EventRow { recorded: day(nth), ..row(&id, "e1", nth as u64 + 1) };
        world.index.recall(nth as u64 + 1, Remembered::of(&tag(), &told, world.asked(&id, "e1")));
        world.flush().await;
    }
    let asked: Vec<Asked> = (0..6).map(|nth| world.asked(&format!("i{nth}"), "e1")).collect();
    let fetched = world.index.prefetch(&asked).await.unwrap();
    let verdicts = world.index.plan(&asked, &fetched).unwrap();
    let known: Vec<bool> = verdicts.iter().map(|verdict| matches!(verdict, Verdict::Known(_))).collect();
    assert_eq!(known, [false, false, true, true, true, true]);
}
