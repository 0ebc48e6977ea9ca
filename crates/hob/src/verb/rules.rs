//! `hob rules`.

use hob_wire::Rule;

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};

/// Rows of one list.
const ROWS_MAX: usize = 10_000;

pub(crate) async fn rules(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let rules: Vec<Rule> = remote.list(remote.path("/v1/rules", &[]), ROWS_MAX).await?;
    if global.json {
        screen::json(&rules);
        return Ok(());
    }
    let rows = rules.iter().map(|r| {
        vec![
            Cell::bold(&r.name),
            Cell::state(&r.state),
            Cell::plain(&r.about),
            Cell::plain(r.open),
            Cell::plain(r.opened_total),
            Cell::dim(&r.file),
            Cell::dim(r.reason.clone().unwrap_or_default()),
        ]
    });
    let head = ["rule", "state", "about", "open", "ever", "file", "why"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "no rules are declared");
    Ok(())
}
