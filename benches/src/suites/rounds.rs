//! Several figures of each round: a run of a contender gives a number of loads and many waiting
//! times.

use std::time::Duration;

use anyhow::Result;

use crate::harness::{Bench, Case};

/// The figures of all contenders and rounds.
pub(in crate::suites) struct Rounds {
    names: Vec<&'static str>,
    cases: Vec<Case>,
    /// By case, then by contender.
    samples: Vec<Vec<Vec<f64>>>,
}

impl Rounds {
    /// Creates a table for these contenders, of which the first is ours.
    pub(in crate::suites) fn new(names: Vec<&'static str>, cases: Vec<Case>) -> Self {
        let samples = vec![vec![Vec::new(); names.len()]; cases.len()];
        Self { names, cases, samples }
    }

    /// Adds the figures of one round of a contender, in the order of the cases.
    pub(in crate::suites) fn add(
        &mut self,
        contender: usize,
        figures: impl IntoIterator<Item = f64>,
    ) {
        for (samples, figure) in self.samples.iter_mut().zip(figures) {
            samples[contender].push(figure);
        }
    }

    /// Reports all cases.
    pub(in crate::suites) fn tell(&self, bench: &mut Bench<'_>) -> Result<()> {
        let cases = self.cases.iter().zip(&self.samples);
        cases.into_iter().try_for_each(|(case, samples)| bench.tell(case, &self.names, samples))
    }
}

/// Returns the waiting times that these percentages of callers did not exceed, in nanoseconds.
pub(in crate::suites) fn percentiles<const N: usize>(
    mut times: Vec<Duration>,
    percentages: [usize; N],
) -> [f64; N] {
    times.sort_unstable();
    percentages.map(|it| percentile(&times, it).as_secs_f64() * 1e9)
}

fn percentile(sorted: &[Duration], percentage: usize) -> Duration {
    let place = (sorted.len() * percentage).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_time_that_so_many_callers_did_not_exceed() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        let at = |percentage| percentile(&times, percentage).as_micros();
        assert_eq!([at(50), at(99), at(100)], [100, 198, 200]);
        assert_eq!(percentile(&times[..1], 99).as_micros(), 1);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
