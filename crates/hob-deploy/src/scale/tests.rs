//! The scaler over simulated time.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Scale, Window};
use proptest::prelude::*;

use super::{Decision, Memory, Seen, decide};
use crate::routers::Load;

/// A service whose number follows the scaler at once, looked at once a second.
struct Town {
    memory: Memory,
    terms: Scale,
    seen: Seen,
}

impl Town {
    fn new(terms: Scale, current: u32) -> Self {
        let now = "2026-01-09T12:00:00Z".parse().unwrap();
        let lead = Duration::from_secs(90);
        let seen = Seen { now, current, load: Load::default(), by_hand: None, is_rolling: false, lead };
        Self { memory: Memory::default(), terms, seen }
    }

    fn ask(&mut self, in_flight: u64) {
        self.seen.load.in_flight = in_flight;
        if in_flight > 0 {
            self.seen.load.requested = Some(self.seen.now);
        }
    }

    fn look(&mut self) -> Decision {
        let decision = decide(&mut self.memory, &self.terms, &self.seen);
        self.seen.current = decision.wanted;
        decision
    }

    fn pass(&mut self, seconds: u64) -> u32 {
        for _ in 0..seconds {
            self.seen.now = self.seen.now.plus(Duration::from_secs(1));
            self.ask(self.seen.load.in_flight);
            self.look();
        }
        self.seen.current
    }
}

fn terms(min: u32, max: u32) -> Scale {
    Scale { min, max, in_flight: Some(20.0), ..Scale::default() }
}

#[test]
fn it_rises_at_once_and_falls_one_a_minute_after_five_low_minutes() {
    let mut town = Town::new(terms(2, 10), 2);
    town.ask(100);
    assert_eq!(town.look().wanted, 5);
    town.ask(1000);
    assert_eq!(town.pass(3), 10, "never more than the most");
    town.ask(30);
    assert_eq!(town.pass(299), 10);
    assert_eq!(town.pass(10), 9);
    assert_eq!(town.pass(45), 9);
    assert_eq!(town.pass(10), 8);
    town.ask(200);
    assert_eq!(town.pass(3), 10);
    town.ask(0);
    assert_eq!(town.pass(290), 10, "a rise begins the five minutes anew");
    assert_eq!(town.pass(20), 9);
    assert_eq!(town.pass(3600), 2, "never fewer than the least");
}

#[test]
fn an_order_is_followed_at_once_within_the_limits_and_the_load_may_ask_for_more() {
    let mut town = Town::new(terms(1, 10), 1);
    town.seen.by_hand = Some((6, town.seen.now));
    assert_eq!(town.look().wanted, 6);
    town.seen.by_hand = Some((3, town.seen.now.plus(Duration::from_secs(1))));
    assert_eq!(town.look().wanted, 3, "a new order need not wait");
    town.ask(100);
    assert_eq!(town.pass(3), 5);
    town.seen.by_hand = Some((70, town.seen.now));
    assert_eq!(town.look().wanted, 10);
    town.seen.by_hand = None;
    town.ask(0);
    assert_eq!(town.pass(299), 10, "the end of an order is no order");
    assert_eq!(town.pass(3600), 1);
}

#[test]
fn none_goes_while_a_rollout_is_under_way() {
    let mut town = Town::new(terms(1, 10), 6);
    town.seen.is_rolling = true;
    assert_eq!(town.pass(3600), 6);
    town.ask(200);
    assert_eq!(town.pass(3), 10, "they may come");
}

#[test]
fn the_schedule_has_them_ready_when_it_begins() {
    let window = Window {
        cron: "0 16 * * fri".into(),
        until: "0 23 * * fri".into(),
        tz: "Europe/London".into(),
        min: 12,
        ready_by: true,
    };
    let mut town = Town::new(Scale { schedule: vec![window], ..terms(2, 40) }, 2);
    town.seen.now = "2026-01-09T15:58:28Z".parse().unwrap();
    assert_eq!(town.pass(1), 2);
    assert_eq!(town.pass(2), 12);
    let decision = town.look();
    assert!(decision.why.contains("Europe/London"), "{decision:?}");
    assert_eq!(town.pass(7 * 3600), 12);
    assert_eq!(town.pass(3600), 2);
}

#[test]
fn it_goes_to_zero_when_nobody_asks_and_one_request_wakes_it() {
    let idle = Scale { min: 2, max: 4, idle_after_ms: Some(600_000), ..terms(2, 4) };
    let mut town = Town::new(idle, 2);
    town.ask(1);
    town.pass(5);
    town.ask(0);
    assert_eq!(town.pass(598), 2);
    assert_eq!(town.pass(3), 0);
    assert_eq!(town.pass(86_400), 0);
    town.seen.load.held = 1;
    town.seen.load.requested = Some(town.seen.now);
    assert_eq!(town.look().wanted, 2, "at once, and as many as the least");
    town.seen.load.held = 0;
    assert_eq!(town.pass(598), 2);
    assert_eq!(town.pass(3), 0);
    town.seen.is_rolling = true;
    assert_eq!(town.look().wanted, 2, "a release is proven by instances");
    town.seen.is_rolling = false;
    assert_eq!(town.pass(598), 2);
    assert_eq!(town.pass(3), 0);
    town.memory = Memory::default();
    assert_eq!(town.look().wanted, 0, "a start of Hob wakes nobody");
    town.terms.min = 0;
    town.seen.load.held = 1;
    assert_eq!(town.look().wanted, 1, "somebody waits, whatever the least is");
}

#[test]
fn a_start_of_hob_is_no_new_order() {
    let mut town = Town::new(terms(1, 10), 6);
    town.seen.by_hand = Some((2, town.seen.now));
    town.memory = Memory::after_start(Some(town.seen.now));
    assert_eq!(town.look().wanted, 6, "the load had asked for more, and is not known yet");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, the number is within its limits, or zero when it may be; it never falls by more than one
    /// within a minute unless people order it or nobody asks for anything; and what must be enough is.
    #[test]
    fn the_number_keeps_its_limits(
        min in 0_u32..6,
        more in 0_u32..20,
        idle in prop::option::of(10_000_u64..900_000),
        start in 0_u32..40,
        events in prop::collection::vec((0_u8..8, 0_u64..800, 1_u64..400), 1..60),
    ) {
        let max = min + more;
        let mut town = Town::new(Scale { idle_after_ms: idle, ..terms(min, max) }, start.clamp(min, max));
        let mut last_fall: Option<Timestamp> = None;
        for (kind, number, seconds) in events {
            match kind {
                0 => town.seen.by_hand = Some((u32::try_from(number).unwrap() % 30, town.seen.now)),
                1 => town.seen.by_hand = None,
                2 => town.seen.is_rolling = number % 2 == 0,
                3 => town.seen.load.held = number % 3,
                4 => town.ask(0),
                _ => town.ask(number),
            }
            for _ in 0..seconds {
                let (before, ordered) = (town.seen.current, town.memory.obeyed);
                let current = town.pass(1);
                let is_zero = idle.is_some() && current == 0;
                prop_assert!(is_zero || (min..=max.max(1)).contains(&current), "{current} of {min}..{max}");
                prop_assert!(!is_zero || town.seen.load.held + town.seen.load.in_flight == 0);
                let is_order = town.memory.obeyed != ordered;
                if current < before && !is_order && !is_zero {
                    prop_assert_eq!(before - current, 1);
                    prop_assert!(last_fall.is_none_or(|last| town.seen.now.since(last) >= Duration::from_secs(60)));
                    last_fall = Some(town.seen.now);
                }
                prop_assert!(!town.seen.is_rolling || current >= before || is_order, "one went during a rollout");
            }
        }
    }
}
