//! A thousand callers at once of a key that is missing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{runtime::Builder, task::JoinSet};

use super::{
    super::rounds::{Rounds, percentiles},
    contenders::{Contender, contenders, take_loads},
};
use crate::harness::{Bench, Case, Unit};

const CALLERS: usize = 1_000;
const CASES: [(&str, Unit); 3] = [
    ("cold_1000_loads", Unit::Count("loads")),
    ("cold_1000_p50", Unit::Nanos),
    ("cold_1000_p99", Unit::Nanos),
];
const VALUE_BYTES: usize = 100;

/// Counts the loads, and measures how long the callers wait, the load of 10 ms included.
pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !CASES.iter().any(|(name, _)| bench.wants(name)) {
        return Ok(());
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let contenders: Vec<Arc<Contender>> = contenders(&runtime).into_iter().map(Arc::new).collect();
    let case = |(name, unit)| Case::new(name, unit, VALUE_BYTES);
    let cases = CASES.map(|it| case(it).on_runtime("multi_thread", CALLERS)).to_vec();
    let mut rounds = Rounds::new(contenders.iter().map(|it| it.name).collect(), cases);
    for round in 0..=bench.effort().rounds {
        for (place, contender) in contenders.iter().enumerate() {
            take_loads();
            let times = runtime.block_on(at_once(contender, &format!("key-{round:06}")))?;
            let loads = take_loads() as f64;
            // The first round warms up.
            if round > 0 {
                let [p50, p99] = percentiles(times, [50, 99]);
                rounds.add(place, [loads, p50, p99]);
            }
        }
    }
    rounds.tell(bench)
}

/// Returns how long each caller waited.
async fn at_once(contender: &Arc<Contender>, key: &str) -> Result<Vec<Duration>> {
    let mut running = JoinSet::new();
    for _ in 0..CALLERS {
        let (contender, key) = (Arc::clone(contender), key.to_owned());
        running.spawn(async move {
            let start = Instant::now();
            let value = (contender.get)(key).await;
            (start.elapsed(), value.len())
        });
    }
    let mut times = Vec::with_capacity(CALLERS);
    while let Some(done) = running.join_next().await {
        let (time, len) = done?;
        ensure!(len == VALUE_BYTES, "{}: a value of {len} bytes", contender.name);
        times.push(time);
    }
    Ok(times)
}
