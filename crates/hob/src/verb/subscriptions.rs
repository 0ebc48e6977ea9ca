//! `hob subscriptions`: how each does, why it waits, and what can be done about it.

use std::time::Duration;

use console::Style;
use hob_core::{Clock, Timestamp, parse_duration};
use hob_sdk::Request;
use hob_wire::{
    DeadLetter, DeadLetterChoice, Seek, SubscriptionPatch, SubscriptionState, Touched, WantedState,
};
use http::Method;

use crate::cli::{Global, LetterChoice, SubscriptionVerb, Subscriptions};
use crate::failure::{Exit, Failure};
use crate::remote::{Remote, escape, read};
use crate::screen::{self, Cell};

/// Subscriptions that are listed.
const LIST_MAX: usize = 10_000;
/// How wide the bar of the lag is.
const BAR_CELLS: usize = 9;
/// What stands above it.
const BAR_HEAD: &str = "behind";
/// From when on a subscription counts as behind.
const BEHIND_SECONDS: f64 = 10.0;
/// From when on it counts as far behind.
const FAR_BEHIND_SECONDS: f64 = 300.0;

pub(crate) async fn subscriptions(
    remote: &Remote,
    global: &Global,
    arguments: Subscriptions,
) -> Result<(), Failure> {
    let Some(verb) = arguments.verb else { return list(remote, global).await };
    let target = Target::find(remote, verb.name()).await?;
    match verb {
        SubscriptionVerb::Show { .. } => show(remote, global, &target).await,
        SubscriptionVerb::Pause { until, length, .. } => {
            let until = match (until, length) {
                (Some(time), _) => Some(time),
                (None, Some(text)) => Some(now().plus(duration(&text)?)),
                (None, None) => None,
            };
            patch(remote, global, &target, SubscriptionPatch { state: WantedState::Paused, until }).await
        }
        SubscriptionVerb::Resume { .. } => {
            patch(remote, global, &target, SubscriptionPatch { state: WantedState::Active, until: None })
                .await
        }
        SubscriptionVerb::Seek { at, .. } => {
            let request = Request::put(target.path(remote, "/cursor")).json(&Seek { at });
            told(global, read(remote.send(request).await?)?)
        }
        SubscriptionVerb::DeadLetters { .. } => dead_letters(remote, global, &target).await,
        SubscriptionVerb::Replay { choice, .. } => {
            touch(remote, global, target.path(remote, "/dead-letters/replay"), choice, "on their way").await
        }
        SubscriptionVerb::Drop { choice, .. } => {
            touch(remote, global, target.path(remote, "/dead-letters/drop"), choice, "dropped").await
        }
        SubscriptionVerb::Snapshot { .. } => {
            let touched: Touched =
                remote.post(target.path(remote, "/snapshot"), &serde_json::json!({})).await?;
            count(global, &touched, "entities are told");
            Ok(())
        }
        SubscriptionVerb::Delete { .. } => {
            remote.send(Request::delete(target.path(remote, ""))).await?;
            screen::say(format!("{}/{} is deleted", target.service, target.name));
            Ok(())
        }
    }
}

/// One subscription, by service and name.
struct Target {
    service: String,
    name: String,
}

impl Target {
    /// Finds `service/name`, or a name that only one service has.
    async fn find(remote: &Remote, text: &str) -> Result<Self, Failure> {
        if let Some((service, name)) = text.split_once('/') {
            return Ok(Self { service: service.to_owned(), name: name.to_owned() });
        }
        let all = all(remote).await?;
        let mut named = all.iter().filter(|state| state.name.as_str() == text);
        match (named.next(), named.next()) {
            (Some(state), None) => {
                Ok(Self { service: state.service.to_string(), name: state.name.to_string() })
            }
            (Some(_), Some(_)) => {
                let failure =
                    Failure::with(Exit::Usage, format!("several services have a subscription {text}"));
                let names = all.iter().filter(|state| state.name.as_str() == text);
                let names: Vec<String> = names.map(|state| format!("{}/{text}", state.service)).collect();
                Err(failure.hint(format!("name one: {}", names.join(", "))))
            }
            (None, _) => {
                let failure = Failure::with(Exit::NotFound, format!("there is no subscription {text}"));
                let near = hob_core::nearest(text, all.iter().map(|state| state.name.as_str()));
                Err(failure.hint(match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => "`hob subscriptions` lists them".to_owned(),
                }))
            }
        }
    }

    fn path(&self, remote: &Remote, rest: &str) -> String {
        let path = format!("/v1/subscriptions/{}{rest}", escape(&self.name));
        remote.path(&path, &[("service", Some(self.service.clone()))])
    }
}

async fn all(remote: &Remote) -> Result<Vec<SubscriptionState>, Failure> {
    remote.list(remote.path("/v1/subscriptions", &[]), LIST_MAX).await
}

async fn list(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let all = all(remote).await?;
    if global.json {
        screen::json(&all);
        return Ok(());
    }
    let on_screen = screen::is_terminal();
    let why = |s: &SubscriptionState| s.stall_reason.clone().unwrap_or_default();
    let rows = all.iter().map(|s| {
        let topics: Vec<&str> = s.topics.iter().map(|topic| topic.as_str()).collect();
        let mut row = vec![Cell::bold(&s.name), Cell::plain(&s.service), Cell::state(&s.state)];
        row.extend([Cell::number(s.lag_events), Cell::number(screen::lasting(s.lag_seconds))]);
        if on_screen {
            row.push(Cell::styled(screen::bar(lag_part(s.lag_seconds), BAR_CELLS), lag_colour(s)));
        }
        row.extend([
            Cell::worry(s.dead_letters, Style::new().red()),
            Cell::worry(s.parked_keys, Style::new().yellow()),
            Cell::number(s.in_flight),
            Cell::dim(topics.join(", ")),
        ]);
        if !on_screen {
            row.push(Cell::plain(why(s)));
        }
        row
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let mut head = vec!["subscription", "service", "state", "lag", "oldest"];
    head.extend(on_screen.then_some(BAR_HEAD));
    head.extend(["dead", "parked", "in flight", "topics"]);
    head.extend((!on_screen).then_some("why"));
    let notes = all.iter().filter(|_| on_screen).map(|s| Cell::styled(why(s), lag_colour(s)));
    screen::noted_table(&head, &rows, &notes.collect::<Vec<_>>(), "nobody subscribes to anything yet");
    Ok(())
}

/// How much of the bar is filled: each third stands for sixty times as long, from a second to two and a half days.
fn lag_part(seconds: f64) -> f64 {
    seconds.max(1.0).log(60.0) / 3.0
}

/// Green keeps up, yellow is behind, red is far behind or does not go on, dim is left alone on purpose.
fn lag_colour(state: &SubscriptionState) -> Style {
    match state.lag_seconds {
        _ if state.state == "stalled" => Style::new().red(),
        _ if state.state == "paused" => Style::new().dim(),
        seconds if seconds < BEHIND_SECONDS => Style::new().green(),
        seconds if seconds < FAR_BEHIND_SECONDS => Style::new().yellow(),
        _ => Style::new().red(),
    }
}

async fn show(remote: &Remote, global: &Global, target: &Target) -> Result<(), Failure> {
    told(global, remote.get(target.path(remote, "")).await?)
}

async fn patch(
    remote: &Remote,
    global: &Global,
    target: &Target,
    patch: SubscriptionPatch,
) -> Result<(), Failure> {
    let request = Request::new(Method::PATCH, target.path(remote, "")).json(&patch);
    told(global, read(remote.send(request).await?)?)
}

/// How a subscription is, line by line.
fn told(global: &Global, state: SubscriptionState) -> Result<(), Failure> {
    if global.json {
        screen::json(&state);
        return Ok(());
    }
    let topics: Vec<&str> = state.topics.iter().map(|topic| topic.as_str()).collect();
    let optional = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let error = state.last_error.as_ref().map(|error| {
        let status = error.status.map(|status| format!("{status} ")).unwrap_or_default();
        format!("{status}{} ({})", error.detail, screen::ago(error.time, now()))
    });
    let lines = [
        ("subscription", format!("{}/{}", state.service, state.name)),
        ("topics", topics.join(", ")),
        ("sink", optional(state.sink.clone())),
        ("state", state.state.clone()),
        ("why", optional(state.stall_reason.clone())),
        ("lag", format!("{} events, {}", state.lag_events, screen::lasting(state.lag_seconds))),
        ("cursor", state.cursor.trim_start_matches('0').to_owned()),
        ("in flight", state.in_flight.to_string()),
        ("parked", state.parked_keys.to_string()),
        ("dead letters", state.dead_letters.to_string()),
        ("delivered", format!("{}, {} failed attempts", state.delivered, state.failed)),
        ("collapsed", state.collapsed.to_string()),
        ("damaged", state.damaged.to_string()),
        ("last error", optional(error)),
        ("next attempt", optional(state.next_attempt.map(|time| time.to_string()))),
        ("paused until", optional(state.paused_until.map(|time| time.to_string()))),
    ];
    let bold = console::Style::new().bold();
    for (name, value) in lines {
        screen::line(format!("{:<14} {value}", bold.apply_to(name)));
    }
    Ok(())
}

async fn dead_letters(remote: &Remote, global: &Global, target: &Target) -> Result<(), Failure> {
    let letters: Vec<DeadLetter> = remote.list(target.path(remote, "/dead-letters"), LIST_MAX).await?;
    if global.json {
        screen::json(&letters);
        return Ok(());
    }
    let rows = letters.iter().map(|letter| {
        vec![
            Cell::bold(letter.id.trim_start_matches('0')),
            Cell::plain(letter.subject.clone().unwrap_or_default()),
            Cell::plain(letter.attempts),
            Cell::plain(screen::ago(letter.last_failed, now())),
            Cell::plain(if letter.replaying { "on its way" } else { "" }),
            Cell::dim(&letter.last_error.detail),
        ]
    });
    let head = ["sequence", "about", "attempts", "last failed", "", "error"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "it has no dead letters");
    Ok(())
}

async fn touch(
    remote: &Remote,
    global: &Global,
    path: String,
    choice: LetterChoice,
    what: &str,
) -> Result<(), Failure> {
    let id = |text: &String| if text.len() < 20 { format!("{text:0>20}") } else { text.clone() };
    let ids = choice.ids.iter().map(id).collect();
    let touched: Touched = remote.post(path, &DeadLetterChoice { ids, subject: choice.subject }).await?;
    count(global, &touched, &format!("dead letters are {what}"));
    Ok(())
}

fn count(global: &Global, touched: &Touched, what: &str) {
    if global.json { screen::json(touched) } else { screen::say(format!("{} {what}", touched.count)) }
}

fn now() -> Timestamp {
    Clock::system().now()
}

fn duration(text: &str) -> Result<Duration, Failure> {
    parse_duration(text).map_err(|error| Failure::with(Exit::Usage, format!("failed to {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_filled_by_a_third_for_each_sixtyfold() {
        let filled = [0.0, 1.0, 60.0, 3_600.0, 1e9].map(|seconds| screen::bar(lag_part(seconds), BAR_CELLS));
        let widths = filled.map(|bar| bar.chars().count());
        assert_eq!(widths, [0, 0, 3, 6, BAR_CELLS]);
    }
}
