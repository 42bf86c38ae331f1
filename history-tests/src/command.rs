//! `cargo xtask histories`: runs of each store, one after the other, until the time is over.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use history_tests::{NearCounts, Options, Store, check::Staleness, fault::Fault};

/// The time of one run. A new run has new keys, a new server and another seed.
const ROUND: u64 = 15;

/// The options of the command line.
struct Asked {
    stores: Vec<Store>,
    seconds: u64,
    seed: u64,
}

/// Runs the histories, and prints a line for each store.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let asked = Asked::parse(args)?;
    let mut failed = 0;
    for store in &asked.stores {
        failed += asked.run(*store)?;
    }
    ensure!(failed == 0, "{failed} violations");
    Ok(())
}

impl Asked {
    fn parse(args: &[&str]) -> Result<Self> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut res = Self { stores: Vec::new(), seconds: 60, seed: since_1970.as_secs() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            let number = || value.parse().with_context(|| format!("{arg} needs a number"));
            match *arg {
                "--store" => res.stores.push(Store::named(value)?),
                "--seconds" => res.seconds = number()?,
                "--seed" => res.seed = number()?,
                _ => bail!("unknown option {arg}: --store NAME, --seconds N, --seed S"),
            }
        }
        if res.stores.is_empty() {
            res.stores = Store::ALL.to_vec();
        }
        Ok(res)
    }

    /// Runs one store. Returns the number of violations.
    fn run(&self, store: Store) -> Result<usize> {
        let began = Instant::now();
        let (mut calls, mut failed, mut undecided, mut violations) = (0, 0, 0, 0);
        let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
        let (mut near, mut staleness) = (NearCounts::default(), Staleness::default());
        for seed in self.seed.. {
            let left = self.seconds.saturating_sub(began.elapsed().as_secs());
            if left == 0 && seed > self.seed {
                break;
            }
            let seconds = left.clamp(5, ROUND);
            let again = format!(
                "cargo xtask histories --store {} --seconds {seconds} --seed {seed}",
                store.name()
            );
            let options = Options {
                program: std::env::current_exe()?,
                store,
                seed,
                time: Duration::from_secs(seconds),
                calls: u64::MAX,
                faults: true,
                bug: None,
            };
            let outcome = history_tests::run(&options).with_context(|| again.clone())?;
            for it in &outcome.report.violations {
                println!("\n{}: {it}  again: {again}\n", store.name());
            }
            calls += outcome.calls;
            failed += outcome.failed;
            undecided += outcome.report.undecided;
            violations += outcome.report.violations.len();
            near.add(&outcome.near);
            staleness.add(outcome.report.staleness);
            for (fault, count) in outcome.faults {
                *faults.entry(fault).or_default() += count;
            }
        }
        let faults: Vec<_> = faults.iter().map(|it| format!("{:?} {}", it.0, it.1)).collect();
        println!(
            "{}: {calls} calls, of which {failed} failed; faults: {}; {undecided} keys undecided; \
             {violations} violations; seeds from {}",
            store.name(),
            faults.join(", "),
            self.seed
        );
        if let Some(bound) = store.near_bound() {
            println!("  {}", near_line(&near, &staleness, bound));
        }
        Ok(violations)
    }
}

/// Returns what the near tiers did, and how old their values were, beside the bound.
fn near_line(near: &NearCounts, staleness: &Staleness, bound: u64) -> String {
    let NearCounts { hits, misses, bypassed, invalidations, resets } = near;
    let millis = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1000.0;
    let share = |share: f64, only_calm: bool| millis(staleness.percentile(share, only_calm));
    format!(
        "near: {hits} hits, {misses} misses, {bypassed} bypassed, {invalidations} changes reported, \
         {resets} resets\n  \
         of {} reads, the oldest value that the own process had replaced: {:.1} ms (bound 0); \
         others: {} stale, without a fault p50 {:.2} ms, p99 {:.2} ms, at most {:.1} ms; in all at \
         most {:.1} ms (bound {bound} ms)",
        staleness.reads,
        millis(staleness.own),
        staleness.others.len(),
        share(0.5, true),
        share(0.99, true),
        share(1.0, true),
        millis(staleness.longest()),
    )
}
