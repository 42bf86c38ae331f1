//! Medians, and ratios between contenders.

/// Returns the median of the samples, or 0 without samples.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Returns the median of the rounds' ratios: how many times better ours is. Within a round, both
/// contenders had the same disturbances.
pub(super) fn median_ratio(ours: &[f64], theirs: &[f64], is_better_higher: bool) -> f64 {
    let ratio = |(ours, theirs): (&f64, &f64)| {
        if is_better_higher { over(*ours, *theirs) } else { over(*theirs, *ours) }
    };
    median(&ours.iter().zip(theirs).map(ratio).collect::<Vec<_>>())
}

/// `0 / 0` counts as 1: two calls without allocations are equal.
fn over(one: f64, other: f64) -> f64 {
    if one.total_cmp(&other).is_eq() { 1.0 } else { one / other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn a_median_is_not_moved_by_one_disturbed_round() {
        assert!(is(median(&[5.0, 900.0, 3.0]), 5.0));
        assert!(is(median(&[4.0, 1.0, 3.0, 2.0]), 2.5));
        assert!(is(median(&[7.0]), 7.0));
        assert!(is(median(&[]), 0.0));
    }

    #[test]
    fn above_one_is_always_better_for_us() {
        assert!(is(median_ratio(&[50.0], &[100.0], false), 2.0), "half the time");
        assert!(is(median_ratio(&[50.0], &[100.0], true), 0.5), "half the throughput");
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // In the last two rounds the machine is three times slower.
        let (ours, theirs) = ([10.0, 30.0, 30.0], [20.0, 60.0, 60.0]);
        assert!(is(median_ratio(&ours, &theirs, false), 2.0));
        let (ours, theirs) = ([10.0, 10.0, 30.0], [20.0, 60.0, 60.0]);
        assert!(is(median_ratio(&ours, &theirs, false), 2.0));
    }

    #[test]
    fn nothing_to_nothing_is_a_tie() {
        assert!(is(median_ratio(&[0.0], &[0.0], false), 1.0));
        assert!(is(median_ratio(&[2.0], &[0.0], false), 0.0));
    }
}
