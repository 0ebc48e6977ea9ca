//! The Mann–Whitney test over binned histograms: whether values of one are greater than values of the other, with no
//! word on how either is distributed. H. B. Mann and D. R. Whitney, "On a Test of Whether one of Two Random Variables
//! is Stochastically Larger than the Other", Annals of Mathematical Statistics 18 (1947), doi:10.1214/aoms/1177730491.
//! Values of one bin are ties: each pair of them counts half, and the variance is lessened for them as in E. L.
//! Lehmann, "Nonparametrics: Statistical Methods Based on Ranks" (1975), chapter 1, section 4.

use std::collections::BTreeMap;

/// How likely it is to see values of `one` so much greater than those of `other` when in truth they are not: the
/// one-sided p, by the normal approximation with a correction for continuity. Nothing when either is empty.
pub(super) fn greater_by_chance(one: &BTreeMap<i32, u64>, other: &BTreeMap<i32, u64>) -> Option<f64> {
    let (n1, n2) = (total(one), total(other));
    if n1 == 0.0 || n2 == 0.0 {
        return None;
    }
    let (u, ties) = statistic(one, other);
    let n = n1 + n2;
    let variance = n1 * n2 / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)).max(1.0));
    if variance <= 0.0 {
        return Some(1.0); // All values are in one bin: nothing is greater than anything.
    }
    let z = (u - n1 * n2 / 2.0 - 0.5) / variance.sqrt();
    Some(upper_tail(z))
}

/// U of `one`: pairs in which its value is the greater, ties as halves; and the sum of t³ − t over groups of ties.
fn statistic(one: &BTreeMap<i32, u64>, other: &BTreeMap<i32, u64>) -> (f64, f64) {
    let (mut u, mut ties, mut below) = (0.0, 0.0, 0.0);
    let mut bins: Vec<i32> = one.keys().chain(other.keys()).copied().collect();
    bins.sort_unstable();
    bins.dedup();
    for bin in bins {
        let a = one.get(&bin).copied().unwrap_or(0) as f64;
        let b = other.get(&bin).copied().unwrap_or(0) as f64;
        u += a * (below + b / 2.0);
        below += b;
        let t = a + b;
        ties += t * t * t - t;
    }
    (u, ties)
}

fn total(bins: &BTreeMap<i32, u64>) -> f64 {
    bins.values().sum::<u64>() as f64
}

/// The share of the standard normal distribution above `z`, by formula 7.1.26 of Abramowitz and Stegun, "Handbook of
/// Mathematical Functions" (1964): off by at most 1.5e-7.
fn upper_tail(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = ((((1.061_405_429 * t - 1.453_152_027) * t + 1.421_413_741) * t - 0.284_496_736) * t
        + 0.254_829_592)
        * t;
    let tail = series * (-x * x).exp() / 2.0;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bins(values: &[i32]) -> BTreeMap<i32, u64> {
        values.iter().fold(BTreeMap::new(), |mut bins, value| {
            *bins.entry(*value).or_default() += 1;
            bins
        })
    }

    /// U by ranks: equal values share the mean of their ranks, and R − n(n+1)/2 is U.
    fn by_ranks(one: &[i32], other: &[i32]) -> (f64, f64) {
        let mut all: Vec<i32> = one.iter().chain(other).copied().collect();
        all.sort_unstable();
        let rank = |value: i32| {
            let places = all.iter().enumerate().filter(|(_, other)| **other == value).map(|(i, _)| i + 1);
            let places: Vec<usize> = places.collect();
            places.iter().sum::<usize>() as f64 / places.len() as f64
        };
        let n = one.len() as f64;
        let sum: f64 = one.iter().map(|value| rank(*value)).sum();
        let groups = bins(&all);
        let ties = groups.values().map(|t| (*t as f64).powi(3) - *t as f64).sum();
        (sum - n * (n + 1.0) / 2.0, ties)
    }

    #[test]
    fn the_normal_tail_is_the_books() {
        for (z, tail) in
            [(0.0, 0.5), (1.0, 0.158_655_3), (1.959_964, 0.025), (-1.0, 0.841_344_7), (3.0, 0.001_349_9)]
        {
            assert!((upper_tail(z) - tail).abs() < 1e-6, "{z}");
        }
    }

    #[test]
    fn the_same_is_not_greater_and_a_shift_is() {
        let low: Vec<i32> = (0..400).map(|i| i % 20).collect();
        let high: Vec<i32> = low.iter().map(|value| value + 3).collect();
        assert!(greater_by_chance(&bins(&low), &bins(&low)).unwrap() > 0.4);
        assert!(greater_by_chance(&bins(&high), &bins(&low)).unwrap() < 1e-6);
        assert!(greater_by_chance(&bins(&low), &bins(&high)).unwrap() > 0.999);
        assert_eq!(greater_by_chance(&bins(&[7; 50]), &bins(&[7; 50])), Some(1.0));
        assert_eq!(greater_by_chance(&bins(&[]), &bins(&[1])), None);
    }

    proptest! {
        #[test]
        fn u_is_what_ranks_say(
            one in prop::collection::vec(-4_i32..5, 1..40),
            other in prop::collection::vec(-4_i32..5, 1..40),
        ) {
            let (u, ties) = statistic(&bins(&one), &bins(&other));
            let (ranked, groups) = by_ranks(&one, &other);
            prop_assert!((u - ranked).abs() < 1e-6, "{u} is not {ranked}");
            prop_assert!((ties - groups).abs() < 1e-6);
            let (back, _) = statistic(&bins(&other), &bins(&one));
            prop_assert!((u + back - (one.len() * other.len()) as f64).abs() < 1e-6);
            let p = greater_by_chance(&bins(&one), &bins(&other)).unwrap();
            prop_assert!((0.0..=1.0).contains(&p));
        }
    }
}
