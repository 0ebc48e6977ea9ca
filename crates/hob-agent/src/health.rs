//! Whether an instance is ready, from what its probes say.

/// Failures in a row after which an instance that was ready is so no more.
const FALL: u32 = 3;

/// What is known of one process.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_ready: bool,
    failures: u32,
    last_failure: Option<String>,
}

impl Health {
    /// A process that nobody probes is ready once it runs.
    pub(crate) fn unprobed() -> Self {
        Self { is_ready: true, ..Self::default() }
    }

    /// Takes in a probe's result, and says whether readiness changed.
    pub(crate) fn probed(&mut self, result: Result<(), String>) -> bool {
        let before = self.is_ready;
        match result {
            Ok(()) => *self = Self::unprobed(),
            Err(why) => {
                self.failures += 1;
                self.last_failure = Some(why);
                self.is_ready &= self.failures < FALL;
            }
        }
        before != self.is_ready
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What the last probe said, when it failed.
    pub(crate) fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_success_makes_ready_and_three_failures_end_it() {
        let mut health = Health::default();
        let fail = || Err("status 503".to_owned());
        assert!(!health.probed(fail()));
        assert_eq!(health.last_failure(), Some("status 503"));
        assert!(health.probed(Ok(())) && health.is_ready());
        assert!(!health.probed(fail()) && !health.probed(fail()) && health.is_ready());
        assert!(!health.probed(Ok(())), "the count begins anew");
        assert!(!health.probed(fail()) && !health.probed(fail()));
        assert!(health.probed(fail()) && !health.is_ready());
    }
}
