//! Random numbers with a fixed seed, so that all contenders and all runs get the same requests.

/// A small generator (`SplitMix64`), which suffices here.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns a number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).unwrap_or_default()
    }
}

/// Returns requests for `keys` keys. The frequency of the n-th most popular key is proportional to
/// `1 / n^exponent`; the exponent 0 is uniform. Popular keys are spread among the keys: neighbours
/// would share cache lines.
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
