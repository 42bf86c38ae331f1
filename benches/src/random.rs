//! Random numbers, the same in every run, so that all contenders and all runs meet the same requests.

/// A small generator (`SplitMix64`). Nothing here needs a better one.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and less than 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap_or_default()
    }
}

/// So many requests for `keys` keys, the n-th most popular of which is asked for in proportion to `1 / n^exponent`; 0 is
/// uniform. The popular ones are anywhere among the keys: side by side they would share cache lines.
pub fn zipf(keys: usize, exponent: f64, requests: usize) -> Vec<usize> {
    let mut random = Random::new(7);
    let mut names: Vec<usize> = (0..keys).collect();
    for last in (1..keys).rev() {
        names.swap(last, random.below(last + 1));
    }
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|n| {
            sum += (n as f64).powf(-exponent);
            sum
        })
        .collect();
    let mut draw = || {
        let at = random.fraction() * sum;
        names[sums.partition_point(|it| *it <= at).min(keys - 1)]
    };
    (0..requests).map(|_| draw()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_falls_as_asked() {
        let mut counts = vec![0_u32; 1000];
        for key in zipf(1000, 1.0, 100_000) {
            counts[key] += 1;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // The harmonic number of 1000 is 7.49.
        let share = |n: u32| f64::from(counts[n as usize - 1]) / 100_000.0 * 7.49 * f64::from(n);
        assert!((0.9..1.1).contains(&share(1)), "{counts:?}");
        assert!((0.8..1.2).contains(&share(10)), "{counts:?}");
        assert_eq!(counts.iter().sum::<u32>(), 100_000);
    }

    #[test]
    fn a_uniform_trace_asks_for_every_key() {
        let mut seen = vec![false; 100];
        for key in zipf(100, 0.0, 10_000) {
            seen[key] = true;
        }
        assert!(seen.into_iter().all(|it| it));
    }
}
