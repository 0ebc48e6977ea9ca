//! The state machine of one rule and one entity: how long a condition has held, and what follows.

use std::time::Duration;

use hob_core::Timestamp;

use crate::rows::{CellRow, Verdict};

/// What a rule's condition says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Since when the condition is true, when the entity itself says so.
    pub(crate) begun: Option<Timestamp>,
    /// When it must be judged again although nothing changes.
    pub(crate) recheck: Option<Timestamp>,
    /// Why it is unknown.
    pub(crate) reason: Option<String>,
}

impl Judgement {
    pub(crate) fn plain(verdict: Verdict) -> Self {
        Self { verdict, begun: None, recheck: None, reason: None }
    }

    pub(crate) fn unknown(reason: String) -> Self {
        Self { reason: Some(reason), ..Self::plain(Verdict::Unknown) }
    }
}

/// What a cell asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    /// The condition has held for long enough: open an issue, if the gate lets it.
    Open,
    /// The condition has been false for long enough.
    Resolve,
}

/// Takes a judgement, sets when to look again, and says what is wished for.
///
/// Unknown stops the count of how long the condition held and of how long it was false, and changes nothing else.
pub(crate) fn advance(
    cell: &mut CellRow,
    judgement: &Judgement,
    held_for: Duration,
    keep: Duration,
    now: Timestamp,
) -> Wish {
    cell.verdict = judgement.verdict;
    cell.reason.clone_from(&judgement.reason);
    cell.due = judgement.recheck;
    match judgement.verdict {
        Verdict::True => advance_true(cell, judgement, held_for, now),
        Verdict::False => advance_false(cell, keep, now),
        Verdict::Unknown => {
            if let Some(since) = cell.since.take() {
                cell.before = cell.before.saturating_add(now.since(since));
            }
            cell.false_since = None;
            Wish::Nothing
        }
    }
}

fn advance_true(cell: &mut CellRow, judgement: &Judgement, held_for: Duration, now: Timestamp) -> Wish {
    cell.false_since = None;
    let since = *cell.since.get_or_insert(now);
    if let Some(begun) = judgement.begun {
        cell.since = Some(begun);
    }
    if cell.issue.is_some() || cell.is_suppressed {
        return Wish::Nothing;
    }
    let open_at = since.plus(held_for.saturating_sub(cell.before));
    if open_at <= now {
        return Wish::Open;
    }
    look_again(cell, open_at);
    Wish::Nothing
}

fn advance_false(cell: &mut CellRow, keep: Duration, now: Timestamp) -> Wish {
    cell.since = None;
    cell.before = Duration::ZERO;
    cell.is_suppressed = false;
    if cell.issue.is_none() {
        cell.false_since = None;
        return Wish::Nothing;
    }
    let since = *cell.false_since.get_or_insert(now);
    let resolve_at = since.plus(keep);
    if resolve_at <= now {
        cell.false_since = None;
        return Wish::Resolve;
    }
    look_again(cell, resolve_at);
    Wish::Nothing
}

/// Since when something is waited for that needs something else to be so, and was last seen then: unknown stops the wait,
/// and false ends it. Nothing while it is not waited for.
pub(crate) fn armed_since(
    cell: &mut CellRow,
    during: Verdict,
    last: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    match during {
        Verdict::True => {
            let armed = cell.armed.unwrap_or(now).max(last.min(now));
            let paused = cell.paused.take().map(|paused| now.since(paused.max(armed)));
            let armed = armed.plus(paused.unwrap_or_default());
            cell.armed = Some(armed);
            Some(armed)
        }
        Verdict::False => {
            (cell.armed, cell.paused) = (None, None);
            None
        }
        Verdict::Unknown => {
            if cell.armed.is_some() {
                cell.paused.get_or_insert(now);
            }
            None
        }
    }
}

/// Looks again at `at`, or earlier when that is wished already.
pub(crate) fn look_again(cell: &mut CellRow, at: Timestamp) {
    cell.due = Some(cell.due.map_or(at, |due| due.min(at)));
}

/// How long the condition has held.
pub(crate) fn held(cell: &CellRow, now: Timestamp) -> Duration {
    cell.before.saturating_add(cell.since.map_or(Duration::ZERO, |since| now.since(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// Plays verdicts (`t`, `f`, `u`), a second each, and writes what is wished: `.`, `O` or `R`.
    fn check(verdicts: &str, held_for: u64, keep: u64, expect: &str) {
        let mut cell = CellRow::default();
        let mut wishes = String::new();
        for (second, verdict) in verdicts.chars().enumerate() {
            let verdict = match verdict {
                't' => Verdict::True,
                'f' => Verdict::False,
                _ => Verdict::Unknown,
            };
            let seconds = Duration::from_secs;
            let now = at(second as i64);
            let wish = advance(&mut cell, &Judgement::plain(verdict), seconds(held_for), seconds(keep), now);
            wishes.push(match wish {
                Wish::Nothing => '.',
                Wish::Open => 'O',
                Wish::Resolve => 'R',
            });
            match wish {
                Wish::Open => cell.issue = Some("i".to_owned()),
                Wish::Resolve => cell.issue = None,
                Wish::Nothing => {}
            }
        }
        assert_eq!(wishes, expect, "{verdicts} for {held_for} keep {keep}");
    }

    #[test]
    fn a_condition_must_hold_and_unknown_only_pauses() {
        check("ttt", 0, 0, "O..");
        check("tttt", 2, 0, "..O.");
        check("ttfttt", 2, 0, ".....O");
        check("tutt", 2, 0, "...O");
        check("uuuu", 0, 0, "....");
    }

    #[test]
    fn an_issue_resolves_when_false_for_long_enough_and_never_when_unknown() {
        check("tfff", 0, 0, "OR..");
        check("tffff", 0, 2, "O..R.");
        check("tftff", 0, 2, "O....");
        check("tuuuu", 0, 0, "O....");
        check("tfuff", 0, 2, "O....");
        check("tfufff", 0, 2, "O....R");
    }

    #[test]
    fn a_suppressed_cell_stays_silent_until_it_was_false_once() {
        let mut cell = CellRow { is_suppressed: true, ..CellRow::default() };
        let mut play =
            |verdict| advance(&mut cell, &Judgement::plain(verdict), Duration::ZERO, Duration::ZERO, at(1));
        assert_eq!(play(Verdict::True), Wish::Nothing);
        assert_eq!(play(Verdict::Unknown), Wish::Nothing);
        assert_eq!(play(Verdict::False), Wish::Nothing);
        assert_eq!(play(Verdict::True), Wish::Open);
    }
}
