//! What becomes of writes and reads when there are many entries: as fast as with few, and no pause.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use cache_core::Cache;

use super::ours::{LIFETIME, cache};
use crate::harness::{Bench, Case, Unit};

/// How many entries there are. Of Django's 50 thousand take 45 minutes to write.
const ENTRIES: [(usize, &str); 3] =
    [(1_000, "at_1k_entries"), (50_000, "at_50k_entries"), (500_000, "at_500k_entries")];
/// How many calls a round has.
const CALLS: usize = 4_000;
const BATCH: usize = 100;
const SIZE: usize = 100;

/// What is measured in one round, in nanoseconds per operation.
#[derive(Clone, Copy)]
enum What {
    /// Batches, in which the way to a thread counts little.
    Overwrite,
    Get,
    /// New keys, each of which drives another one out.
    Full,
    /// The longest of them, one at a time.
    Longest,
}

const WHATS: [(What, &str); 4] = [
    (What::Overwrite, "overwrite_growing"),
    (What::Get, "get_growing"),
    (What::Full, "set_full_growing"),
    (What::Longest, "longest_set_full"),
];

pub(super) fn run(bench: &mut Bench<'_>, directory: &Path) -> Result<()> {
    if !WHATS.iter().any(|(_, name)| bench.wants(name)) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = if bench.effort().quick { 2 } else { ENTRIES.len() };
    let mut stores = Vec::new();
    for (entries, name) in &ENTRIES[..count] {
        let options = format!("max_entries = {entries}");
        let mut store =
            Grown { cache: cache(&directory.join(name), &options)?, next: 0, entries: *entries };
        runtime.block_on(store.fill())?;
        stores.push(store);
    }
    for (what, case) in WHATS.into_iter().filter(|it| bench.wants(it.1)).collect::<Vec<_>>() {
        let mut samples = vec![Vec::new(); stores.len()];
        let mut medians = samples.clone();
        for _ in 0..bench.effort().rounds {
            for (n, store) in stores.iter_mut().enumerate() {
                let mut times = runtime.block_on(store.round(what))?;
                times.sort_by(f64::total_cmp);
                let median = times[times.len() / 2];
                let longest = times[times.len() - 1];
                samples[n].push(if matches!(what, What::Longest) { longest } else { median });
                medians[n].push(median);
            }
        }
        let case = Case::new(case, Unit::Nanos, SIZE).on_runtime("current_thread", 1);
        let mut names: Vec<_> = ENTRIES.iter().map(|it| it.1).take(count).collect();
        if matches!(what, What::Longest) {
            // The longest beside the usual one.
            for (n, name) in names.iter().enumerate() {
                let shown = [samples[n].clone(), medians[n].clone()];
                bench.tell(&case, &[name, &format!("median_{name}")], &shown)?;
            }
        } else {
            names[0] = "cache-file";
            bench.tell(&case, &names, &samples)?;
        }
    }
    Ok(())
}

/// A store that is full.
struct Grown {
    cache: Cache,
    next: usize,
    entries: usize,
}

impl Grown {
    async fn fill(&mut self) -> Result<()> {
        while self.next < self.entries {
            self.batch(self.next).await?;
            self.next += BATCH;
        }
        Ok(())
    }

    async fn batch(&self, from: usize) -> Result<()> {
        let value = "x".repeat(SIZE - 2);
        let items = (from..from + BATCH).map(|it| (it.to_string(), &value));
        let failed = self.cache.set_many(items, LIFETIME).await?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(())
    }

    async fn round(&mut self, what: What) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        let (per_call, calls) = match what {
            What::Longest => (1, CALLS),
            _ => (BATCH, CALLS / BATCH),
        };
        for call in 0..calls {
            // Those that are surely there: the newest.
            let newest = self.next - BATCH - call % 4 * BATCH;
            let keys: Vec<String> = (newest..newest + BATCH).map(|it| it.to_string()).collect();
            let value = "x".repeat(SIZE - 2);
            let began = Instant::now();
            match what {
                What::Overwrite => self.batch(newest).await?,
                What::Get => {
                    let found = self.cache.get_many::<String, _>(&keys).await?;
                    ensure!(found.len() * 2 > BATCH, "{} of {BATCH}", found.len());
                }
                What::Full => self.batch(self.next).await?,
                What::Longest => self.cache.set(&self.next.to_string(), &value, LIFETIME).await?,
            }
            times.push(per(began.elapsed(), per_call));
            if matches!(what, What::Full | What::Longest) {
                self.next += per_call;
            }
        }
        times.last().context("no calls")?;
        Ok(times)
    }
}

fn per(took: Duration, operations: usize) -> f64 {
    took.as_nanos() as f64 / operations as f64
}
