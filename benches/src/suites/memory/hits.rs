//! The hit rate with room for a hundredth or a tenth of the keys.

use anyhow::Result;

use super::stores::{Engine, Moka, Ours, Store, key};
use crate::{
    harness::{Bench, Case, Unit},
    random::zipf,
};

const KEYS: usize = 200_000;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    for (exponent, name) in [(0.8, "08"), (0.9, "09"), (1.0, "10")] {
        let tenth = format!("hits_zipf{name}_10%");
        let hundredth = format!("hits_zipf{name}_1%");
        if !bench.wants(&tenth) && !bench.wants(&hundredth) {
            continue;
        }
        let trace = zipf(KEYS, exponent, bench.effort().requests);
        for (room, case) in [(KEYS / 100, hundredth), (KEYS / 10, tenth)] {
            if !bench.wants(&case) {
                continue;
            }
            let names = [Ours::NAME, Moka::NAME, Engine::NAME];
            let samples = [
                vec![percent::<Ours>(room, &keys, &trace)],
                vec![percent::<Moka>(room, &keys, &trace)],
                vec![percent::<Engine>(room, &keys, &trace)],
            ];
            let case = Case::new(case, Unit::PercentHits, 1).on_threads(1);
            bench.tell(&case, &names, &samples)?;
        }
    }
    Ok(())
}

/// Returns the hit rate in percent. A miss sets the key.
fn percent<S: Store>(room: usize, keys: &[String], trace: &[usize]) -> f64 {
    let store = S::new(room, None);
    let mut hits = 0_u64;
    for (n, place) in trace.iter().enumerate() {
        let key = &keys[*place];
        if store.get(key).is_some() {
            hits += 1;
        } else {
            store.set(key, "x".into());
        }
        // Some contenders defer work until they are idle, which never happens here.
        if n % 1000 == 0 {
            store.settle();
        }
    }
    hits as f64 * 100.0 / trace.len() as f64
}
