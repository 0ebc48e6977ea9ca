//! Events of the log as inputs of the engine.

use std::collections::BTreeSet;

use hob_bus::hob_topics;
use hob_core::{Digest, TopicName};
use hob_wire::Event;

use crate::command::{Command, Verb};
use crate::engine::{Input, What};
use crate::model::Rules;
use crate::rows::{CommandRow, ScopeClock};

/// A command's name on `hob.commands`: a rule costs too much.
pub(crate) const OVERRUN: &str = "overrun";
/// A command's name on `hob.commands`.
pub(crate) const RULES: &str = "rules";

/// What an event is to the engine.
#[derive(Debug)]
pub(crate) enum Taken {
    Input(Box<Input>),
    /// Other rules, and what is the scope's clock with them, are to be loaded and put in force.
    Rules {
        input: Box<Input>,
        digest: Digest,
        clock: ScopeClock,
    },
    /// Nothing that the engine understands.
    Nothing,
}

/// One of Hob's own topics.
pub(crate) fn hob_topic(name: &str) -> TopicName {
    name.parse().expect("Hob's own topics have sound names")
}

/// The topics that an engine with these rules reads.
pub(crate) fn topics(rules: &Rules, clock: &ScopeClock) -> Vec<TopicName> {
    let mut topics: BTreeSet<TopicName> = rules.topics();
    topics.extend(rules.streams());
    topics.extend([hob_topics::OBSERVATIONS, hob_topics::COMMANDS].map(hob_topic));
    match clock {
        ScopeClock::Unset => {}
        ScopeClock::Wall => drop(topics.insert(hob_topic(hob_topics::CLOCK))),
        ScopeClock::Topic(topic) => drop(topics.insert(topic.clone())),
    }
    topics.into_iter().collect()
}

/// Makes an input of an event. Where the scope is on the wall clock every record moves it, else only the records of the
/// clock topic do.
pub(crate) fn take(event: Event, clock: &ScopeClock) -> Taken {
    let is_tick = match clock {
        ScopeClock::Topic(topic) => event.topic == *topic,
        ScopeClock::Wall | ScopeClock::Unset => event.topic.as_str() == hob_topics::CLOCK,
    };
    let (sequence, recorded) = (event.position(), event.recordedtime);
    let moved = match clock {
        ScopeClock::Unset => None,
        ScopeClock::Wall => Some(recorded),
        ScopeClock::Topic(_) => is_tick.then_some(event.time),
    };
    let input = |what| Box::new(Input { sequence, recorded, clock: moved, what });
    match event.topic.as_str() {
        _ if is_tick => Taken::Input(input(What::Clock)),
        hob_topics::OBSERVATIONS => match event.data.map(serde_json::from_value) {
            Some(Ok(observation)) => Taken::Input(input(What::Observed(Box::new(observation)))),
            _ => Taken::Nothing,
        },
        hob_topics::COMMANDS => {
            let row: CommandRow = match event.data.map(serde_json::from_value) {
                Some(Ok(row)) => row,
                _ => return Taken::Nothing,
            };
            if let (OVERRUN, Some(rule)) = (event.kind.as_str(), row.rule) {
                return Taken::Input(input(What::Overrun { rule, reason: row.reason }));
            }
            match (event.kind.as_str(), row.issue, row.rules) {
                (RULES, _, Some(digest)) => {
                    let clock = ScopeClock::from(row.clock_topic);
                    // The rules' own clock counts from their record on, not the one before.
                    let moved = (clock == ScopeClock::Wall).then_some(recorded);
                    let input = Box::new(Input { sequence, recorded, clock: moved, what: What::Clock });
                    Taken::Rules { input, digest, clock }
                }
                (name, issue, _) => match row.verb.or_else(|| plain(name)) {
                    Some(verb) => {
                        let (actor, reason, revision) = (row.actor, row.reason, row.revision);
                        let issue = issue.unwrap_or_default();
                        let command = Command { verb, issue, actor, reason, revision };
                        Taken::Input(input(What::Command(command)))
                    }
                    None => Taken::Nothing,
                },
            }
        }
        _ => Taken::Input(input(What::Event(Box::new(event)))),
    }
}

/// Commands whose names say all.
fn plain(name: &str) -> Option<Verb> {
    match name {
        "acknowledge" => Some(Verb::Acknowledge { held: None }),
        "resolve" => Some(Verb::Resolve { how: None }),
        _ => None,
    }
}
