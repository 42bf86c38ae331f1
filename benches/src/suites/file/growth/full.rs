//! New keys in a full store, each of which evicts another key: the longest write compared with the
//! median.

use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use cache_core::Cache;

use super::cases::{Number, SIZE, case, growing, in_batches};
use crate::{
    harness::{Bench, Contest, Side},
    peers::Peer,
    suites::{
        file::settings::{OURS, settings},
        network::{
            inputs::MANY,
            ours::{LIFETIME, cache},
            workers::Workers,
        },
    },
};

pub(super) const SET: &str = "set_full";
pub(super) const LONGEST: &str = "set_longest";
/// The number of writes of a round.
const WRITES: usize = 4_000;
/// A peer whose round takes longer than these seconds has one round only.
const PATIENCE: f64 = 1.0;

/// The durations of single writes for each requested number of entries.
#[derive(Default)]
pub(super) struct Full {
    ours: Vec<(Number, Times)>,
}

/// The durations in nanoseconds, one of each round.
#[derive(Default)]
struct Times {
    medians: Vec<f64>,
    longest: Vec<f64>,
}

impl Full {
    /// Measures `cache-file`.
    pub(super) fn of_ours(
        bench: &mut Bench<'_>,
        workers: &Workers,
        numbers: &[Number],
        directory: &Path,
    ) -> Result<Self> {
        let is_growing = bench.wants(&growing(SET));
        let mut stores = Vec::new();
        for number in numbers {
            if is_growing || number.is_wanted(bench, &[SET, LONGEST]) {
                let at = directory.join(format!("full-{}", number.name));
                stores.push(FullStore::new(*number, workers, &at)?);
            }
        }
        let sides = stores.iter().map(FullStore::side).collect();
        bench.run(Contest { case: case(growing(SET), SIZE), sides })?;
        let mut res = Self::default();
        for store in stores.iter().filter(|it| it.number.is_wanted(bench, &[SET, LONGEST])) {
            let mut times = Times::default();
            for _ in 0..bench.effort().rounds {
                let mut round = store.singles()?;
                round.sort_by(f64::total_cmp);
                times.add(round[round.len() / 2], round[round.len() - 1]);
            }
            res.ours.push((store.number, times));
        }
        Ok(res)
    }

    /// Measures the peers that have a bound, and reports all contenders with this number of
    /// entries. The peers run one after the other, because the mass deletes of Django slow the
    /// others down.
    pub(super) fn beside_peers(
        &self,
        bench: &mut Bench<'_>,
        number: Number,
        peers: &[Peer],
    ) -> Result<()> {
        let wanted = |it: &&(Number, Times)| it.0.entries == number.entries;
        let Some((_, ours)) = self.ours.iter().find(wanted) else { return Ok(()) };
        let mut names = vec![OURS];
        let (mut medians, mut longest) = (vec![ours.medians.clone()], vec![ours.longest.clone()]);
        for peer in peers {
            let times = Times::of_peer(peer, bench.effort().rounds)?;
            names.push(peer.name());
            medians.push(times.medians);
            longest.push(times.longest);
        }
        bench.tell(&case(number.case(SET), SIZE), &names, &medians)?;
        names.insert(1, "median");
        longest.insert(1, ours.medians.clone());
        bench.tell(&case(number.case(LONGEST), SIZE), &names, &longest)
    }
}

impl Times {
    fn of_peer(peer: &Peer, rounds: usize) -> Result<Self> {
        let mut res = Self::default();
        for _ in 0..rounds {
            let round = peer.write_full(SIZE, WRITES)?;
            res.add(round.median * 1e9, round.longest * 1e9);
            if round.seconds > PATIENCE {
                break;
            }
        }
        Ok(res)
    }

    fn add(&mut self, median: f64, longest: f64) {
        self.medians.push(median);
        self.longest.push(longest);
    }
}

/// A full store of `cache-file`.
struct FullStore<'a> {
    number: Number,
    workers: &'a Workers,
    cache: Cache,
    next: Cell<usize>,
}

impl<'a> FullStore<'a> {
    fn new(number: Number, workers: &'a Workers, directory: &Path) -> Result<Self> {
        let cache = cache(&settings(directory, &format!("max_entries = {}", number.entries)))?;
        let res = Self { number, workers, cache, next: Cell::new(0) };
        while res.next.get() < number.entries {
            res.batch()?;
        }
        Ok(res)
    }

    /// Returns a contender that writes batches of new keys.
    fn side(&self) -> Side<'_> {
        let name = self.number.grown;
        in_batches(name, move |made| {
            let took = (0..made).map(|_| self.batch()).sum::<Result<Duration>>();
            took.unwrap_or_else(|err| panic!("{name}: {err:#}"))
        })
    }

    fn batch(&self) -> Result<Duration> {
        let value = value();
        let items: Vec<_> = (0..MANY).map(|_| (self.new_key(), &value)).collect();
        let began = Instant::now();
        let failed = self.workers.block_on(self.cache.set_many(items, LIFETIME))?;
        ensure!(failed.is_empty(), "{failed:?}");
        Ok(began.elapsed())
    }

    /// Writes new keys one by one. Returns the durations in nanoseconds.
    fn singles(&self) -> Result<Vec<f64>> {
        let value = value();
        let one = || async {
            let key = self.new_key();
            let began = Instant::now();
            self.cache.set(&key, &value, LIFETIME).await?;
            Ok(began.elapsed().as_nanos() as f64)
        };
        (0..WRITES).map(|_| self.workers.block_on(one())).collect()
    }

    fn new_key(&self) -> String {
        let n = self.next.get();
        self.next.set(n + 1);
        n.to_string()
    }
}

fn value() -> String {
    "x".repeat(SIZE - 2)
}
