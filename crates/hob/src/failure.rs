//! How a verb ends when it does not succeed: a message, the way out, and an exit code that scripts can rely on.

use std::process::ExitCode;

use hob_wire::{Flaw, Problem};

/// Exit codes: 0 done, 1 failed, 2 usage, 3 check or budget not met, 4 not found, 5 not allowed, 6 conflict,
/// 7 timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 4,
    NotAllowed = 5,
    Conflict = 6,
    TimedOut = 7,
}

/// Why a verb did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure in words.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// A failure with another exit code.
    pub(crate) fn with(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same with a way out.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// All flaws of files, a line each.
    pub(crate) fn flaws(flaws: &[Flaw]) -> Self {
        let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        Self::new(lines.join("\n")).hint("nothing was changed; mend these places and try again")
    }

    /// Writes the failure to standard error.
    #[expect(clippy::print_stderr, reason = "the one place where failures are told")]
    pub(crate) fn tell(self) -> ExitCode {
        let red = console::Style::new().for_stderr().red().bold();
        eprintln!("{} {}", red.apply_to("error:"), self.message);
        if let Some(hint) = self.hint {
            let cyan = console::Style::new().for_stderr().cyan();
            eprintln!("{} {hint}", cyan.apply_to("hint:"));
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let exit = match problem.status {
            404 | 410 => Exit::NotFound,
            401 | 403 => Exit::NotAllowed,
            409 | 412 => Exit::Conflict,
            408 | 504 => Exit::TimedOut,
            _ => Exit::Failed,
        };
        let hint = problem.hint.clone().unwrap_or_else(|| format!("hob explain {}", problem.code));
        Self { exit, message: problem.to_string(), hint: Some(hint) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
