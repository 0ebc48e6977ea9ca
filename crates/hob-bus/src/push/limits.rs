//! How far a subscription may go in what it asks of pushes.

use std::ops::RangeInclusive;

use hob_wire::DeliverySpec;

use crate::model::limits::PULL_EVENTS_MAX;

/// Requests in flight.
const CONCURRENCY: RangeInclusive<u64> = 1..=64;
/// Milliseconds for which events wait for company.
const DEADLINE_MS: RangeInclusive<u64> = 0..=60_000;
/// Milliseconds that an endpoint has to answer.
const TIMEOUT_MS: RangeInclusive<u64> = 100..=120_000;
/// Attempts before an event becomes a dead letter.
const ATTEMPTS: RangeInclusive<u64> = 1..=1_000;
/// Pauses that are told apart.
const PAUSES: RangeInclusive<u64> = 1..=20;
/// Milliseconds of a pause between attempts.
const PAUSE_MS: RangeInclusive<u64> = 10..=86_400_000;

/// Says what is beyond a limit, and what the limit is.
pub(crate) fn check_delivery(delivery: &DeliverySpec) -> Result<(), String> {
    let within = |member: &str, value: u64, range: RangeInclusive<u64>| {
        let problem = || format!("delivery.{member} is {value}; use {} to {}", range.start(), range.end());
        if range.contains(&value) { Ok(()) } else { Err(problem()) }
    };
    within("max", u64::from(delivery.max), 1..=PULL_EVENTS_MAX as u64)?;
    within("concurrency", u64::from(delivery.concurrency), CONCURRENCY)?;
    within("deadline_ms", delivery.deadline_ms, DEADLINE_MS)?;
    within("timeout_ms", delivery.timeout_ms, TIMEOUT_MS)?;
    within("attempts", u64::from(delivery.attempts), ATTEMPTS)?;
    if !PAUSES.contains(&(delivery.backoff_ms.len() as u64)) {
        return Err(format!(
            "delivery.backoff_ms has {} pauses; name 1 to {}",
            delivery.backoff_ms.len(),
            PAUSES.end()
        ));
    }
    delivery.backoff_ms.iter().try_for_each(|pause| within("backoff_ms", *pause, PAUSE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_limit_is_told_with_the_limit() {
        let good = DeliverySpec::default();
        assert_eq!(check_delivery(&good), Ok(()));
        for (delivery, told) in [
            (DeliverySpec { max: 0, ..good.clone() }, "delivery.max is 0; use 1 to 1000"),
            (DeliverySpec { max: 1_001, ..good.clone() }, "delivery.max is 1001; use 1 to 1000"),
            (DeliverySpec { concurrency: 65, ..good.clone() }, "delivery.concurrency is 65; use 1 to 64"),
            (
                DeliverySpec { deadline_ms: 60_001, ..good.clone() },
                "delivery.deadline_ms is 60001; use 0 to 60000",
            ),
            (DeliverySpec { timeout_ms: 99, ..good.clone() }, "delivery.timeout_ms is 99; use 100 to 120000"),
            (DeliverySpec { attempts: 0, ..good.clone() }, "delivery.attempts is 0; use 1 to 1000"),
            (
                DeliverySpec { backoff_ms: vec![], ..good.clone() },
                "delivery.backoff_ms has 0 pauses; name 1 to 20",
            ),
            (DeliverySpec { backoff_ms: vec![1], ..good }, "delivery.backoff_ms is 1; use 10 to 86400000"),
        ] {
            assert_eq!(check_delivery(&delivery).unwrap_err(), told);
        }
    }
}
