//! Builds a service with its own command, and packs what came of it.

use std::process::{Command, Stdio};

use hob_core::code;
use hob_deploy::Packed;

use super::ServiceFolder;
use crate::failure::Failure;

/// Lines of a failed build that are shown.
const LINES_SHOWN: usize = 40;

/// Runs the service's build command in its folder. Its output is kept and shown when it fails.
pub(crate) fn build(folder: &ServiceFolder) -> Result<(), Failure> {
    let Some(command) = &folder.service.build else { return Ok(()) };
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(&folder.folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("{}: failed to run /bin/sh: {error}", code::TOOL.name())))?;
    if output.status.success() {
        return Ok(());
    }
    let name = &folder.service.service;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
    let missing = output.status.code() == Some(127);
    let code = if missing { code::TOOL } else { code::BUILD };
    let message =
        format!("{}: the build of {name} failed ({}): {command}\n{tail}", code.name(), output.status);
    let hint = if missing {
        "a program that the command calls is missing; install it, then try again"
    } else {
        "run the command in the service's folder to see it fail; nothing was deployed"
    };
    Err(Failure::new(message).hint(hint))
}

/// Packs a built service.
pub(crate) fn pack(folder: &ServiceFolder) -> Result<Packed, Failure> {
    hob_deploy::pack(&folder.folder, &folder.service, &folder.text, None)
        .map_err(|error| Failure::new(format!("{}: {}", code::PACKAGE.name(), hob_api::chain(&error))))
}
