//! Windows of time with a minimum of their own: five fields of cron, in a time zone with its summer time.

use std::time::Duration;

use chrono::{DateTime, TimeZone as _};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use hob_core::Timestamp;
use hob_wire::Window;

/// A window as it can be asked.
pub(crate) struct Schedule {
    begin: Cron,
    end: Cron,
    zone: Tz,
    window: Window,
}

impl Schedule {
    /// Reads a window, or says what is wrong with it.
    pub(crate) fn new(window: &Window) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parse = |key: &str, text: &str| {
            let cron = parser.parse(text).map_err(|error| format!("{key} {text:?}: {error}"))?;
            match Tz::UTC.timestamp_opt(0, 0).single().map(|epoch| cron.find_next_occurrence(&epoch, true)) {
                Some(Ok(_)) => Ok(cron),
                _ => Err(format!("{key} {text:?} never comes")),
            }
        };
        let zone = window.tz.parse().map_err(|_| {
            format!("tz {:?} is no time zone; write its IANA name, for example Europe/London", window.tz)
        })?;
        let (begin, end) = (parse("cron", &window.cron)?, parse("until", &window.until)?);
        Ok(Self { begin, end, zone, window: window.clone() })
    }

    /// How many instances it asks for now: at least its own minimum while it is open, and with `ready_by` already so
    /// long before it opens as an instance takes to become ready.
    pub(crate) fn minimum(&self, now: Timestamp, lead: Duration) -> Option<u32> {
        let is_open = self.is_open(now) || (self.window.ready_by && self.opens_within(now, lead));
        is_open.then_some(self.window.min)
    }

    /// What it says, for a person.
    pub(crate) fn told(&self) -> String {
        let Window { cron, tz, min, .. } = &self.window;
        format!("schedule {cron} {tz}: at least {min}")
    }

    /// It is open when it last began after it last ended.
    fn is_open(&self, now: Timestamp) -> bool {
        let Some(now) = self.local(now) else { return false };
        let Ok(began) = self.begin.find_previous_occurrence(&now, true) else { return false };
        match self.end.find_previous_occurrence(&now, true) {
            Ok(ended) => began > ended,
            Err(_) => true,
        }
    }

    fn opens_within(&self, now: Timestamp, lead: Duration) -> bool {
        let (Some(now), Some(until)) = (self.local(now), self.local(now.plus(lead))) else { return false };
        self.begin.find_next_occurrence(&now, false).is_ok_and(|begins| begins <= until)
    }

    fn local(&self, time: Timestamp) -> Option<DateTime<Tz>> {
        self.zone.timestamp_micros(time.as_micros()).single()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(cron: &str, until: &str, tz: &str, ready_by: bool) -> Schedule {
        let (cron, until, tz) = (cron.to_owned(), until.to_owned(), tz.to_owned());
        Schedule::new(&Window { cron, until, tz, min: 12, ready_by }).unwrap()
    }

    fn open(schedule: &Schedule, time: &str) -> bool {
        schedule.minimum(time.parse().unwrap(), Duration::from_secs(90)).is_some()
    }

    #[test]
    fn a_window_opens_and_ends_by_the_local_clock_in_winter_and_in_summer() {
        let friday = schedule("0 16 * * fri", "0 23 * * fri", "Europe/London", false);
        assert!(!open(&friday, "2026-01-09T15:59:59Z"));
        assert!(open(&friday, "2026-01-09T16:00:00Z"));
        assert!(open(&friday, "2026-01-09T22:59:59Z"));
        assert!(!open(&friday, "2026-01-09T23:00:00Z"));
        assert!(open(&friday, "2026-07-10T15:00:00Z"), "London is an hour ahead in summer");
        assert!(!open(&friday, "2026-07-10T22:00:00Z"));
        assert!(!open(&friday, "2026-07-11T16:00:00Z"), "it is Saturday");
    }

    #[test]
    fn a_window_over_the_change_of_the_clock_opens_once_and_ends() {
        // On 29 March 2026 London's clock goes from 01:00 to 02:00; on 25 October from 02:00 back to 01:00.
        let night = schedule("30 1 * * *", "30 3 * * *", "Europe/London", false);
        assert!(!open(&night, "2026-03-29T00:59:59Z"));
        assert!(
            open(&night, "2026-03-29T01:00:00Z"),
            "01:30 does not exist; it opens at the first time after"
        );
        assert!(!open(&night, "2026-03-29T02:30:00Z"));
        assert!(open(&night, "2026-10-25T00:30:00Z"), "the first 01:30");
        assert!(open(&night, "2026-10-25T01:30:00Z"), "the second 01:30 does not close it");
        assert!(open(&night, "2026-10-25T03:29:59Z"));
        assert!(!open(&night, "2026-10-25T03:30:00Z"));
    }

    #[test]
    fn a_window_over_midnight_and_one_over_the_year_stay_open() {
        let late = schedule("0 22 * * *", "0 2 * * *", "UTC", false);
        assert!(open(&late, "2026-01-01T01:59:00Z"));
        assert!(!open(&late, "2026-01-01T02:00:00Z"));
        let holidays = schedule("0 0 20 12 *", "0 0 5 1 *", "UTC", false);
        assert!(open(&holidays, "2027-01-01T00:00:00Z"));
        assert!(!open(&holidays, "2027-01-05T00:00:00Z"));
        let leap = schedule("0 0 29 2 *", "0 0 1 3 *", "UTC", false);
        assert!(open(&leap, "2028-02-29T12:00:00Z"));
        assert!(!open(&leap, "2027-02-28T12:00:00Z"));
    }

    #[test]
    fn ready_by_opens_as_much_earlier_as_an_instance_takes() {
        let ready = schedule("0 16 * * fri", "0 23 * * fri", "Europe/London", true);
        assert!(!open(&ready, "2026-01-09T15:58:29Z"));
        assert!(open(&ready, "2026-01-09T15:58:30Z"));
        assert!(!open(&ready, "2026-01-09T23:00:00Z"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |cron: &str, until: &str, tz: &str, words: &str| {
            let window =
                Window { cron: cron.into(), until: until.into(), tz: tz.into(), min: 1, ready_by: false };
            let error = Schedule::new(&window).err().unwrap();
            assert!(error.contains(words), "{error}");
        };
        check("0 25 * * *", "0 1 * * *", "UTC", "0 25 * * *");
        check("* * * * * *", "0 1 * * *", "UTC", "cron");
        check("0 1 * * *", "", "UTC", "until");
        check("0 0 30 2 *", "0 1 * * *", "UTC", "never comes");
        check("0 1 * * *", "0 2 * * *", "Europe/Londn", "IANA");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// A window of some hours every day is open for as many hours of each day, but where the clock changes.
        #[test]
        fn a_daily_window_is_open_as_long_as_it_says(
            from in 0_u32..24, hours in 1_u32..23, day in 0_i64..730, zone in prop::sample::select(vec!["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
        ) {
            let until = (from + hours) % 24;
            let daily = schedule(&format!("0 {from} * * *"), &format!("0 {until} * * *"), zone, false);
            let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let start = start.plus(Duration::from_secs(u64::try_from(day * 86_400).unwrap()));
            let quarters = (0..96).filter(|quarter| daily.is_open(start.plus(Duration::from_secs(quarter * 900)))).count();
            let expected = hours as usize * 4;
            prop_assert!(quarters.abs_diff(expected) <= 4, "{quarters} quarters of an hour, {expected} expected");
        }
    }
}
