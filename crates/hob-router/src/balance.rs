//! Which of several instances takes a request: the less busy of two chosen at random (M. Mitzenmacher, "The power of two
//! choices in randomized load balancing", 2001). It evens load out nearly as well as looking at all of them, and many
//! requests that choose at the same moment do not all fall upon the same one.

/// Chooses one of `count` candidates that `is_eligible`, by the least `load` of two, from 64 random bits.
pub(crate) fn choose(
    count: usize,
    is_eligible: impl Fn(usize) -> bool,
    load: impl Fn(usize) -> u64,
    random: u64,
) -> Option<usize> {
    if count == 0 {
        return None;
    }
    let (one, other) = two_of(count, random);
    match (is_eligible(one), is_eligible(other)) {
        (true, true) => Some(if load(other) < load(one) { other } else { one }),
        (true, false) => Some(one),
        (false, true) => Some(other),
        // Rare: some instances refuse connections. Then the least busy of the rest, from a random start.
        (false, false) => {
            (0..count).map(|step| (one + step) % count).filter(|i| is_eligible(*i)).min_by_key(|i| load(*i))
        }
    }
}

/// Two different places below `count`; the same twice when there is only one.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let (high, low) = ((random >> 32) as usize, (random & 0xffff_ffff) as usize);
    let one = high % count;
    if count == 1 {
        return (one, one);
    }
    (one, (one + 1 + low % (count - 1)) % count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn none_of_none() {
        assert_eq!(choose(0, |_| true, |_| 0, 7), None);
        assert_eq!(choose(3, |_| false, |_| 0, 7), None);
    }

    #[test]
    fn load_evens_out() {
        let mut loads = [0_u64; 8];
        for _ in 0..8000 {
            let chosen = choose(8, |_| true, |i| loads[i], crate::random::bits()).unwrap();
            loads[chosen] += 1;
        }
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least < 20, "{loads:?}");
    }

    proptest! {
        #[test]
        fn the_chosen_is_eligible_and_never_the_busiest_of_distinct_loads(
            eligible in prop::collection::vec(any::<bool>(), 1..12), random in any::<u64>(),
        ) {
            let chosen = choose(eligible.len(), |i| eligible[i], |i| i as u64, random);
            match chosen {
                None => prop_assert!(eligible.iter().all(|e| !e)),
                Some(i) => prop_assert!(eligible[i]),
            }
            if eligible.len() > 1 && eligible.iter().all(|e| *e) {
                prop_assert!(chosen.unwrap() < eligible.len() - 1);
            }
        }
    }
}
