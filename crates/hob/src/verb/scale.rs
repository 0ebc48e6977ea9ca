//! `hob scale`: how many instances a service has, and how many people want.

use std::collections::BTreeMap;

use hob_core::Name;
use hob_sdk::Request;
use hob_wire::{Hal, ScaleOrder, ScaleState};

use super::list::optional;
use crate::cli::{Global, Scale};
use crate::failure::{Exit, Failure};
use crate::remote::{Remote, read};
use crate::screen::{self, Cell};

pub(crate) async fn scale(remote: &Remote, global: &Global, arguments: &Scale) -> Result<(), Failure> {
    let path = remote.path(&format!("/v1/services/{}/scale", arguments.service), &[]);
    let words: Vec<&str> = arguments.numbers.iter().map(String::as_str).collect();
    let state: Hal<ScaleState> = match words.as_slice() {
        [] => remote.get(path).await?,
        ["auto"] => read(remote.send(Request::delete(path)).await?)?,
        words => read(remote.send(Request::put(path).json(&ScaleOrder(numbers(words)?))).await?)?,
    };
    told(global, &state.body);
    Ok(())
}

fn numbers(words: &[&str]) -> Result<BTreeMap<Name, u32>, Failure> {
    let number = |word: &&str| {
        let (process, number) = word.split_once('=')?;
        Some((process.parse().ok()?, number.parse().ok()?))
    };
    let read = |word: &&str| {
        number(word).ok_or_else(|| {
            Failure::with(Exit::Usage, format!("{word:?} is no number of instances"))
                .hint("write it as web=3, or `auto` to leave the numbers to Hob")
        })
    };
    words.iter().map(read).collect()
}

fn told(global: &Global, state: &ScaleState) {
    if global.json {
        screen::json(state);
        return;
    }
    let rows = state.processes.iter().map(|(process, scale)| {
        let by_hand = scale.by_hand.map(|number| match &scale.by {
            Some(by) => format!("{number} ({by})"),
            None => number.to_string(),
        });
        vec![
            Cell::bold(process),
            Cell::plain(format!("{}/{}", scale.ready, scale.wanted)),
            Cell::plain(optional(by_hand)),
            Cell::dim(&scale.why),
        ]
    });
    screen::table(&["process", "ready", "by hand", "why"], &rows.collect::<Vec<_>>(), "it has no processes");
    if let Some(p95) = state.start_p95_ms {
        screen::say(format!("an instance of web takes {p95} ms to become ready (95th percentile)"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_process() {
        let read = numbers(&["web=3", "worker=0"]).unwrap();
        assert_eq!(read, BTreeMap::from([("web".parse().unwrap(), 3), ("worker".parse().unwrap(), 0)]));
        for wrong in ["web", "web=", "web=-1", "=3", "auto"] {
            assert_eq!(numbers(&["web=1", wrong]).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }
}
