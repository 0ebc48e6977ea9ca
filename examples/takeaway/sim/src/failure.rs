//! How the simulator ends when it does not succeed: a message, the way out, an exit code that scripts can rely on.

use std::process::ExitCode;

use hob_wire::Flaw;
use takeaway_world::{DayError, Illegal};

/// Why nothing was simulated.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// It did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: 1, message: message.into(), hint: None }
    }

    /// What was asked makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: 2, message: message.into(), hint: None }
    }

    /// What was named is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { exit: 4, message: message.into(), hint: None }
    }

    /// All flaws of rule files, a line each.
    pub(crate) fn flaws(flaws: &[Flaw]) -> Self {
        let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        Self::failed(lines.join("\n")).hint("mend these places and try again")
    }

    /// The same with a way out.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
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
        ExitCode::from(self.exit)
    }
}

impl From<DayError> for Failure {
    fn from(error: DayError) -> Self {
        Self::failed(format!("failed to {error}"))
    }
}

impl From<Illegal> for Failure {
    fn from(error: Illegal) -> Self {
        Self::failed(format!("failed to {error}"))
            .hint("this is a flaw of the simulated city: please report the day and the seed")
    }
}
