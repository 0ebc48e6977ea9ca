//! `hob apply`: check the platform's files, show what would change, store them.

use hob_sdk::Request;
use hob_wire::{Applied, Declarations, Hal};

use crate::cli::{Apply, Global};
use crate::failure::Failure;
use crate::project::Project;
use crate::remote::{Remote, read};
use crate::screen::{self, Cell};

pub(crate) async fn apply(remote: &Remote, global: &Global, arguments: &Apply) -> Result<(), Failure> {
    let project = Project::read(arguments.dir.as_deref())?;
    let applied = put(remote, &project.declarations, arguments.dry_run).await?;
    if global.json {
        screen::json(&applied);
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> =
        applied.changes.iter().map(|c| vec![Cell::state(&c.change), Cell::plain(&c.what)]).collect();
    screen::table(&["change", "what"], &rows, "nothing differs from what is declared");
    match arguments.dry_run {
        true => screen::say("nothing was stored: this was a dry run"),
        false => {
            screen::say(format!("declared, revision {}; deploy with hob deploy SERVICE", applied.revision))
        }
    }
    Ok(())
}

/// Stores declarations, or only asks what that would change.
pub(crate) async fn put(
    remote: &Remote,
    declarations: &Declarations,
    dry_run: bool,
) -> Result<Applied, Failure> {
    let path = format!("/v1/declarations?dry_run={dry_run}");
    let answer: Hal<Applied> = read(remote.send(Request::put(path).json(declarations)).await?)?;
    Ok(answer.body)
}
