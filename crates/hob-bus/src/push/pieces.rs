//! Decides how many events go into one request: pure.
//!
//! Events that are tried for the first time go together. A request that fails because of one event must not drag its
//! companions along for ever, so at each further attempt they go in smaller groups, until each is alone. An endpoint
//! that refuses a request gets it in halves. And one that finds requests too large gets smaller ones from then on,
//! which grow again as they are taken.

use hob_wire::DeliveryOrder;

use super::message::Parcel;

/// Bytes of one request's body, but that a single event always goes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Requests that must be taken at the size learned before it doubles.
const GROW_AFTER: u32 = 32;

/// Cuts events into requests, in their order: none has more than `max` events or [`BODY_BYTES_MAX`] bytes, and those
/// that have failed before go in smaller groups.
pub(crate) fn cut(parcels: Vec<Parcel>, max: usize) -> Vec<Vec<Parcel>> {
    let mut pieces: Vec<Vec<Parcel>> = Vec::new();
    let (mut bytes, mut attempt) = (0, 0);
    for parcel in parcels {
        let room = group_max(parcel.attempt, max);
        let fits = |piece: &Vec<Parcel>| {
            attempt == parcel.attempt && piece.len() < room && bytes + parcel.bytes() <= BODY_BYTES_MAX
        };
        match pieces.last_mut().filter(|piece| fits(piece)) {
            Some(piece) => {
                bytes += parcel.bytes();
                piece.push(parcel);
            }
            None => {
                (bytes, attempt) = (parcel.bytes(), parcel.attempt);
                pieces.push(vec![parcel]);
            }
        }
    }
    pieces
}

/// How many events may go together at their n-th attempt: a quarter at each further one.
fn group_max(attempt: u32, max: usize) -> usize {
    let shift = attempt.saturating_sub(1).saturating_mul(2).min(usize::BITS - 1);
    (max >> shift).max(1)
}

/// Two halves of a request; the first is sent first.
pub(crate) fn halve(mut piece: Vec<Parcel>) -> (Vec<Parcel>, Vec<Parcel>) {
    let second = piece.split_off(piece.len().div_ceil(2));
    (piece, second)
}

/// Whether an event may not be sent now, since one that comes before it has failed.
pub(crate) fn is_behind(order: DeliveryOrder, failed: &Parcel, later: &Parcel) -> bool {
    match order {
        DeliveryOrder::Strict => true,
        DeliveryOrder::Entity => failed.topic == later.topic && failed.subject == later.subject,
        DeliveryOrder::None => false,
    }
}

/// How many events an endpoint takes in one request, as far as it has been learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Size {
    /// Not more than this.
    limit: Option<usize>,
    /// Requests taken since at that size.
    taken: u32,
}

impl Size {
    /// The most for one request.
    pub(crate) fn max(&self, asked: usize) -> usize {
        self.limit.map_or(asked, |limit| limit.min(asked)).max(1)
    }

    /// A request with so many events was too large.
    pub(crate) fn too_large(&mut self, events: usize) {
        let limit = (events / 2).max(1);
        *self = Self { limit: Some(self.limit.map_or(limit, |known| known.min(limit))), taken: 0 };
    }

    /// A request with so many events was taken.
    pub(crate) fn taken(&mut self, events: usize) {
        let Some(limit) = self.limit.filter(|limit| events >= *limit) else { return };
        self.taken += 1;
        if self.taken >= GROW_AFTER {
            *self = Self { limit: limit.checked_mul(2), taken: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::parcel as about;
    use super::*;

    fn parcel(sequence: u64, attempt: u32) -> Parcel {
        about(sequence, "http://t/orders/7", attempt)
    }

    fn sizes(attempts: &[u32], max: usize) -> Vec<usize> {
        let parcels = attempts.iter().enumerate().map(|(n, attempt)| parcel(n as u64, *attempt)).collect();
        let pieces = cut(parcels, max);
        let sequences: Vec<u64> = pieces.iter().flatten().map(|parcel| parcel.sequence).collect();
        assert!(sequences.is_sorted() && sequences.len() == attempts.len());
        pieces.iter().map(Vec::len).collect()
    }

    #[test]
    fn events_that_failed_before_go_in_ever_smaller_groups() {
        assert_eq!(sizes(&[1; 100], 100), [100]);
        assert_eq!(sizes(&[2; 100], 100), [25; 4]);
        assert_eq!(sizes(&[3; 12], 100), [6, 6]);
        assert_eq!(sizes(&[4; 3], 100), [1; 3]);
        assert_eq!(sizes(&[99; 3], 1_000), [1; 3]);
        assert_eq!(sizes(&[4, 4, 1, 1, 1], 100), [1, 1, 3]);
        assert_eq!(sizes(&[1; 5], 2), [2, 2, 1]);
        assert_eq!(sizes(&[], 2), [0; 0]);
    }

    #[test]
    fn bodies_have_a_limit_and_a_large_event_goes_alone() {
        let large = "x".repeat(BODY_BYTES_MAX / 2);
        let parcels = (0..3).map(|n| about(n, &large, 1)).collect();
        assert_eq!(cut(parcels, 100).len(), 3);
        let huge = "x".repeat(BODY_BYTES_MAX + 1);
        assert_eq!(cut(vec![about(0, &huge, 1)], 100).len(), 1);
    }

    #[test]
    fn halves_keep_the_order_and_find_one_event_in_few_requests() {
        for poison in 0..100 {
            let mut left = vec![(0..100).map(|n| parcel(n, 1)).collect::<Vec<_>>()];
            let (mut requests, mut taken, mut found) = (0, Vec::new(), None);
            while let Some(piece) = left.pop() {
                requests += 1;
                if piece.iter().all(|parcel| parcel.sequence != poison) {
                    taken.extend(piece.iter().map(|parcel| parcel.sequence));
                } else if piece.len() == 1 {
                    found = Some(piece[0].sequence);
                } else {
                    let (first, second) = halve(piece);
                    left.extend([second, first]);
                }
            }
            assert_eq!(found, Some(poison));
            assert!(taken.is_sorted() && taken.len() == 99);
            // Twice the logarithm of 100, rounded up, and the first one.
            assert!(requests <= 15, "{requests} requests for event {poison}");
        }
    }

    #[test]
    fn only_what_comes_after_a_failure_of_its_own_waits() {
        let other = about(2, "http://t/orders/8", 1);
        for (order, same, others) in [
            (DeliveryOrder::Entity, true, false),
            (DeliveryOrder::Strict, true, true),
            (DeliveryOrder::None, false, false),
        ] {
            assert_eq!(is_behind(order, &parcel(1, 1), &parcel(2, 1)), same, "{order:?}");
            assert_eq!(is_behind(order, &parcel(1, 1), &other), others, "{order:?}");
        }
    }

    #[test]
    fn the_size_that_an_endpoint_takes_is_learned() {
        let mut size = Size::default();
        assert_eq!(size.max(100), 100);
        size.too_large(100);
        assert_eq!(size.max(100), 50);
        size.too_large(50);
        size.too_large(25);
        assert_eq!((size.max(100), size.max(5)), (12, 5));
        (0..GROW_AFTER - 1).for_each(|_| size.taken(12));
        size.taken(3);
        assert_eq!(size.max(100), 12);
        size.taken(12);
        assert_eq!(size.max(100), 24);
        size.too_large(1);
        assert_eq!(size.max(100), 1);
    }
}
