//! `hob hold` and `hob maintenance`: what routers hold back, or answer themselves. Both return when every live router
//! goes by what was ordered.

use std::time::Duration;

use hob_core::{Clock, Digest, parse_duration};
use hob_sdk::Request;
use hob_wire::{Hal, NewShield, ShieldKind, ShieldState};

use super::list::optional;
use crate::cli::{Global, Hold, HoldVerb, MaintenanceVerb, Shielded};
use crate::failure::{Exit, Failure};
use crate::remote::{Remote, read};
use crate::screen::{self, Cell};

/// Shields that are listed.
const LIST_MAX: usize = 1000;
/// How long a verb waits for the routers.
const WAIT: &str = "15s";
/// Letters of the readable part of an id.
const ID_CHARS_MAX: usize = 50;

/// Which of the two kinds a verb is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hold,
    Maintenance,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Maintenance => "maintenance",
        }
    }

    fn of(kind: &ShieldKind) -> Self {
        match kind {
            ShieldKind::Hold { .. } => Self::Hold,
            ShieldKind::Maintenance { .. } => Self::Maintenance,
        }
    }
}

pub(crate) async fn hold(remote: &Remote, global: &Global, arguments: Hold) -> Result<(), Failure> {
    if let Some(HoldVerb::Off { about }) = arguments.verb {
        return lift(remote, global, Kind::Hold, &about).await;
    }
    let about = arguments.about;
    if about.service.is_none() && !about.all {
        return list(remote, global, Kind::Hold).await;
    }
    let max_ms = u64::try_from(duration(&arguments.length)?.as_millis()).unwrap_or(u64::MAX);
    order(remote, global, &about, ShieldKind::Hold { max_ms }).await
}

pub(crate) async fn maintenance(
    remote: &Remote,
    global: &Global,
    verb: Option<MaintenanceVerb>,
) -> Result<(), Failure> {
    match verb {
        None => list(remote, global, Kind::Maintenance).await,
        Some(MaintenanceVerb::Off { about }) => lift(remote, global, Kind::Maintenance, &about).await,
        Some(MaintenanceVerb::On { about, message, retry_after }) => {
            if about.service.is_none() && !about.all {
                let failure = Failure::with(Exit::Usage, "no service is named");
                return Err(failure.hint("name one, or say --all"));
            }
            let retry_after = u32::try_from(duration(&retry_after)?.as_secs()).unwrap_or(u32::MAX);
            order(remote, global, &about, ShieldKind::Maintenance { message, retry_after }).await
        }
    }
}

async fn order(remote: &Remote, global: &Global, about: &Shielded, kind: ShieldKind) -> Result<(), Failure> {
    let new = NewShield {
        service: about.service.clone(),
        environment: global.environment.clone(),
        tenant: global.tenant.clone(),
        path: about.path.clone(),
        kind,
    };
    let path = format!("/v1/shields/{}?wait={WAIT}", id_of(&new));
    let state: Hal<ShieldState> = read(remote.send(Request::put(path).json(&new)).await?)?;
    told(global, &[state.body], "is in force")
}

/// Lifts every shield of a kind that is about what was named, or about less.
async fn lift(remote: &Remote, global: &Global, kind: Kind, about: &Shielded) -> Result<(), Failure> {
    let is_meant = |state: &&ShieldState| {
        let shield = &state.shield;
        Kind::of(&shield.kind) == kind
            && (about.service.is_none() || about.service == shield.service)
            && (about.path.is_none() || about.path == shield.path)
            && (global.tenant.is_none() || global.tenant == shield.tenant)
            && (global.environment.is_none() || global.environment == shield.environment)
    };
    let all = all(remote).await?;
    let mut lifted = Vec::new();
    for state in all.iter().filter(is_meant) {
        let path = format!("/v1/shields/{}?wait={WAIT}", state.shield.id);
        let state: Hal<ShieldState> = read(remote.send(Request::delete(path)).await?)?;
        lifted.push(state.body);
    }
    if lifted.is_empty() {
        screen::say(format!("no {} is in force there", kind.word()));
    }
    told(global, &lifted, "is lifted")
}

async fn all(remote: &Remote) -> Result<Vec<ShieldState>, Failure> {
    remote.list("/v1/shields".to_owned(), LIST_MAX).await
}

async fn list(remote: &Remote, global: &Global, kind: Kind) -> Result<(), Failure> {
    let mut shields = all(remote).await?;
    shields.retain(|state| Kind::of(&state.shield.kind) == kind);
    if global.json {
        screen::json(&shields);
        return Ok(());
    }
    let now = Clock::system().now();
    let rows = shields.iter().map(|state| {
        let shield = &state.shield;
        let every =
            |word: Option<&hob_core::Name>| word.map_or_else(|| "every".to_owned(), ToString::to_string);
        let what = match &shield.kind {
            ShieldKind::Hold { max_ms } => {
                format!("waits {}", hob_core::format_duration(Duration::from_millis(*max_ms)))
            }
            ShieldKind::Maintenance { message, .. } => message.chars().take(40).collect(),
        };
        let waiting: Vec<String> = state.waiting.iter().map(ToString::to_string).collect();
        vec![
            Cell::bold(&shield.id),
            Cell::plain(every(shield.service.as_ref())),
            Cell::plain(optional(shield.path.as_ref())),
            Cell::plain(every(shield.tenant.as_ref())),
            Cell::plain(every(shield.environment.as_ref())),
            Cell::plain(state.held),
            Cell::plain(what),
            Cell::plain(format!("{} ago", screen::ago(shield.since, now))),
            Cell::dim(&shield.by),
            Cell::dim(screen::listed(&waiting)),
        ]
    });
    let head =
        ["shield", "service", "path", "tenant", "environment", "held", "what", "since", "by", "not yet"];
    screen::table(&head, &rows.collect::<Vec<_>>(), &format!("no {} is in force", kind.word()));
    Ok(())
}

/// Says what is in force or lifted, and fails when a router has not taken it in.
fn told(global: &Global, states: &[ShieldState], what: &str) -> Result<(), Failure> {
    if global.json {
        screen::json(&states);
    }
    for state in states {
        if !state.waiting.is_empty() {
            let names: Vec<String> = state.waiting.iter().map(ToString::to_string).collect();
            let message = format!("{} {what}, yet not at {} after {WAIT}", state.shield.id, names.join(", "));
            return Err(Failure::with(Exit::TimedOut, message).hint("see `hob routers`"));
        }
        if !global.json {
            screen::say(format!("{} {what} at every router", state.shield.id));
        }
    }
    Ok(())
}

/// The same words give the same id, so that the same order again replaces the first.
fn id_of(new: &NewShield) -> String {
    let mut words = vec![Kind::of(&new.kind).word().to_owned()];
    words.extend(new.service.as_ref().map(ToString::to_string));
    words.extend(new.tenant.as_ref().map(ToString::to_string));
    words.extend(new.environment.as_ref().map(ToString::to_string));
    let readable: String = words.join("-").chars().take(ID_CHARS_MAX).collect();
    let readable = readable.trim_end_matches('-');
    let exact = format!("{:?} {:?} {:?} {:?}", new.service, new.tenant, new.environment, new.path);
    match (&new.path, readable.len() < ID_CHARS_MAX) {
        (None, true) => readable.to_owned(),
        _ => format!("{readable}-{}", &Digest::of(exact.as_bytes()).hex()[..8]),
    }
}

fn duration(text: &str) -> Result<Duration, Failure> {
    parse_duration(text).map_err(|error| Failure::with(Exit::Usage, format!("failed to {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(service: Option<&str>, tenant: Option<&str>, path: Option<&str>) -> String {
        id_of(&NewShield {
            service: service.map(|name| name.parse().unwrap()),
            environment: None,
            tenant: tenant.map(|name| name.parse().unwrap()),
            path: path.map(str::to_owned),
            kind: ShieldKind::Hold { max_ms: 1 },
        })
    }

    #[test]
    fn ids_are_names_that_tell_orders_apart() {
        assert_eq!(id(Some("orders"), None, None), "hold-orders");
        assert_eq!(id(None, Some("uk"), None), "hold-uk");
        let path = id(Some("orders"), None, Some("/orders/history"));
        assert!(path.starts_with("hold-orders-") && path != id(Some("orders"), None, Some("/x")), "{path}");
        let long = id(Some(&"x".repeat(63)), None, None);
        assert!(long.parse::<hob_core::Name>().is_ok(), "{long}");
        assert_ne!(long, id(Some(&format!("{}y", "x".repeat(62))), None, None));
    }
}
