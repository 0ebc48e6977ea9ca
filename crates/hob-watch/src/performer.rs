//! The loop that does what the engine wants done: notes that a call begins, makes it, notes what came of it.
//!
//! Each action is called at most once, whenever the process dies. The call is preceded by a record, `begun`; after a
//! restart an action without one is called, and one with a beginning but no end is told to have failed, because nobody
//! knows whether it was done. Nothing is called before everything that was in the log at the start is taken, so that a
//! replay calls nobody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_bus::{Bus, hob_topics};
use hob_wire::{Action, Notice};
use tokio::task::JoinSet;

use crate::act::{Act, Acted};
use crate::command::Verb;
use crate::inputs::hob_topic;
use crate::rows::CommandRow;
use crate::view::View;

/// Calls under way at once in a scope.
const CALLS_MAX: usize = 16;
/// The pause after the bus failed.
const PAUSE: Duration = Duration::from_secs(1);

/// What the loop needs.
pub(crate) struct Performer {
    pub(crate) bus: Bus,
    pub(crate) view: Arc<View>,
    pub(crate) act: Arc<dyn Act>,
}

impl Performer {
    /// Runs until the task is aborted or the bus is closed.
    pub(crate) async fn run(self) {
        self.view.rules_when_restored().await;
        self.view.wait_for(self.bus.head()).await;
        let (mut seen, adrift) = {
            let engine = self.view.engine();
            (engine.sequence(), engine.under_way())
        };
        for action in adrift {
            let error = "Hob stopped while it was called; whether it was done is not known";
            let verb = Verb::Acted { action: action.id, status: 0, error: Some(error.to_owned()) };
            self.tell_until_told(verb).await;
        }
        // Actions of this process by their ids: they are never called twice, even if the engine starts over.
        let mut mine: BTreeSet<String> = BTreeSet::new();
        let mut calls: JoinSet<(String, Acted)> = JoinSet::new();
        let mut changes = self.view.changes();
        loop {
            let room = CALLS_MAX.saturating_sub(calls.len());
            let wanted = self.wanted(&mut seen).into_iter().filter(|action| !mine.contains(&action.id));
            for action in wanted.take(room).collect::<Vec<_>>() {
                let begun = Verb::Begun { action: action.id.clone() };
                match self.tell(begun).await {
                    Ok(()) => {}
                    Err(hob_bus::Error::Closed) => return,
                    Err(error) => {
                        tracing::error!(scope = %self.view.scope, %error, "actions stand still: failed to {error}");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                }
                mine.insert(action.id.clone());
                let act = Arc::clone(&self.act);
                calls.spawn(async move {
                    let acted = act.act(&action).await;
                    (action.id, acted)
                });
            }
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(done) = calls.join_next(), if !calls.is_empty() => {
                    // A call that panicked is our bug; the next start tells that nothing is known of it.
                    let Ok((action, Acted { status, error })) = done else { continue };
                    self.tell_until_told(Verb::Acted { action, status, error }).await;
                }
            }
        }
    }

    /// What is to be called now. While the engine starts over and is behind where it was, that is nothing.
    fn wanted(&self, seen: &mut u64) -> Vec<Action> {
        let engine = self.view.engine();
        if engine.sequence() < *seen {
            return Vec::new();
        }
        *seen = engine.sequence();
        engine.to_do()
    }

    async fn tell(&self, verb: Verb) -> Result<(), hob_bus::Error> {
        let name = verb.name();
        let row = CommandRow { verb: Some(verb), actor: "hob".to_owned(), ..CommandRow::default() };
        let notice = Notice { data: serde_json::to_value(row).ok(), ..Notice::new(name) };
        let topic = hob_topic(hob_topics::COMMANDS);
        self.bus.publish_as_hob(&self.view.scope, &topic, vec![notice]).await.map(drop)
    }

    async fn tell_until_told(&self, verb: Verb) {
        while let Err(error) = self.tell(verb.clone()).await {
            if matches!(error, hob_bus::Error::Closed) {
                return;
            }
            tracing::error!(scope = %self.view.scope, %error, "what became of an action is not told: failed to {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
