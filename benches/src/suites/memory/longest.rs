//! The longest single write compared with the median: it shows a pause for eviction.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::stores::{Engine, Map, Moka, Ours, Store, VALUE_LEN, key, value};
use crate::harness::{Bench, Case, Unit, processor_time};

const WRITES: usize = 200_000;
/// So short that most entries expire during the writes.
const SHORT: Duration = Duration::from_millis(20);

/// The durations of one round of writes in nanoseconds.
struct Times {
    median: f64,
    /// One write of ten thousand takes longer.
    rare: f64,
    longest: f64,
}

/// The name and the measurement of a contender.
type Side = (&'static str, fn() -> Times);

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    contest(
        bench,
        "below",
        &[
            (Ours::NAME, below::<Ours>),
            (Engine::NAME, below::<Engine>),
            (Moka::NAME, below::<Moka>),
            (Map::NAME, below::<Map>),
        ],
    )?;
    contest(
        bench,
        "full",
        &[
            (Ours::NAME, full::<Ours>),
            (Engine::NAME, full::<Engine>),
            (Moka::NAME, full::<Moka>),
            // Eviction must cost almost nothing.
            ("below_capacity", below::<Ours>),
        ],
    )?;
    contest(bench, "expiring", &[(Ours::NAME, expiring::<Ours>), (Moka::NAME, expiring::<Moka>)])
}

fn contest(bench: &mut Bench<'_>, name: &str, sides: &[Side]) -> Result<()> {
    let cases = ["median", "p9999", "longest"].map(|it| format!("{it}_set_{name}"));
    if !cases.iter().any(|it| bench.wants(it)) {
        return Ok(());
    }
    let mut samples = vec![vec![Vec::new(); sides.len()]; cases.len()];
    for _ in 0..bench.effort().rounds {
        for (place, (_, measure)) in sides.iter().enumerate() {
            let Times { median, rare, longest } = measure();
            for (samples, figure) in samples.iter_mut().zip([median, rare, longest]) {
                samples[place].push(figure);
            }
        }
    }
    let names: Vec<&str> = sides.iter().map(|it| it.0).collect();
    for (case, samples) in cases.iter().zip(&samples) {
        bench.tell(&Case::new(case, Unit::Nanos, VALUE_LEN).on_threads(1), &names, samples)?;
    }
    Ok(())
}

/// Measures new keys with room for all.
fn below<S: Store>() -> Times {
    twice(|| S::new(2 * WRITES, None))
}

/// Measures new keys, each of which evicts another key.
fn full<S: Store>() -> Times {
    twice(|| {
        let store = S::new(WRITES / 2, None);
        (WRITES..2 * WRITES).for_each(|n| store.set(&key(n), value()));
        store.settle();
        store
    })
}

/// Measures new keys while older keys expire.
fn expiring<S: Store>() -> Times {
    twice(|| S::new(2 * WRITES, Some(SHORT)))
}

/// Measures the median with the wall clock, which is cheap to read, and the long writes in CPU
/// time, because another program can take the processor for longer than any write.
fn twice<S: Store>(make: impl Fn() -> S) -> Times {
    let start = Instant::now();
    let by_clock = writes(&make(), || start.elapsed());
    let by_processor = writes(&make(), processor_time);
    Times {
        median: by_clock[WRITES / 2],
        rare: by_processor[WRITES - WRITES / 10_000],
        longest: by_processor[WRITES - 1],
    }
}

/// Returns the durations of the writes in nanoseconds, the shortest first.
fn writes<S: Store>(store: &S, clock: impl Fn() -> Duration) -> Vec<f64> {
    let keys: Vec<String> = (0..WRITES).map(key).collect();
    let mut times = Vec::with_capacity(WRITES);
    for key in &keys {
        let value = value();
        let start = clock();
        store.set(key, value);
        times.push(clock().saturating_sub(start).as_nanos() as f64);
    }
    times.sort_by(f64::total_cmp);
    times
}
