//! The cost of a write at the server while near tiers hear of it.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use test_servers::Redis;

use super::tier::{VALUE_BYTES, far_settings, near};
use crate::{
    harness::{Bench, Case, Unit},
    suites::network::{
        BUSY,
        inputs::Inputs,
        ours::{self, LIFETIME},
        workers::{Job, Workers},
    },
};

const NAME: &str = "server_set";
/// The near tiers that hear of the writes: those of so many processes.
const CLIENTS: [(usize, &str); 3] = [(0, "untracked"), (10, "10_clients"), (100, "100_clients")];

/// Measures the CPU time of the server for a write.
pub(super) fn run(bench: &mut Bench<'_>, workers: &Workers, server: &Redis) -> Result<()> {
    if !bench.wants(NAME) {
        return Ok(());
    }
    let inputs = Inputs::new(VALUE_BYTES)?;
    let cache = workers.block_on(async { ours::cache(&far_settings(&server.url())) })?;
    let sets: Job = Arc::new(move |range| {
        let (cache, inputs) = (cache.clone(), Arc::clone(&inputs));
        Box::pin(async move {
            for n in range {
                cache.set(inputs.name(n), &inputs.value, LIFETIME).await?;
            }
            Ok(())
        })
    });
    let writes: u64 = if bench.effort().quick { 2_000 } else { 20_000 };
    let (mut tiers, mut samples) = (Vec::new(), Vec::new());
    for (count, name) in CLIENTS {
        while tiers.len() < count {
            tiers.push(workers.block_on(near(&server.url(), 1_000))?);
        }
        let mut costs = Vec::new();
        for _ in 0..bench.effort().rounds {
            let before = processor_seconds(server)?;
            workers.side(name, BUSY, Arc::clone(&sets)).time(writes);
            costs.push((processor_seconds(server)? - before) * 1e9 / writes as f64);
        }
        samples.push(costs);
    }
    let case = Case::new(NAME, Unit::Nanos, VALUE_BYTES).on_runtime(workers.flavour(), BUSY);
    bench.tell(&case, &CLIENTS.map(|it| it.1), &samples)
}

/// Returns the CPU time of the server so far.
fn processor_seconds(server: &Redis) -> Result<f64> {
    let info = server.command(&["INFO", "cpu"])?.text();
    let field = |name: &str| {
        let line = info.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
        let seconds: f64 = line.context("a field of INFO")?.trim().parse()?;
        anyhow::Ok(seconds)
    };
    Ok(field("used_cpu_user")? + field("used_cpu_sys")?)
}
