//! Writes and reads with many entries: `cache-file` must be as fast as with few entries and without
//! a pause.
//!
//! The calls are batches, in which the switch to a thread counts little. The figures are per entry.

mod full;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;

use self::full::Full;
use super::{
    CACACHE, OURS, by_hand::ByHand, by_hand_name, cacache::Cacache, django, settings::settings,
};
use crate::{
    harness::{Bench, Case, Contest, Side, Unit},
    peers::{self, Peer, PeerCase},
    suites::network::{
        calls::{Call, Client},
        inputs::{Inputs, MANY},
        ours::Ours,
        workers::{Clock, Workers},
    },
};

/// A number of entries.
#[derive(Clone, Copy)]
struct Number {
    entries: usize,
    name: &'static str,
    /// The name of `cache-file` with this number, compared with the smallest number.
    grown: &'static str,
}

const NUMBERS: [Number; 3] = [
    Number { entries: 1_000, name: "1k", grown: OURS },
    Number { entries: 50_000, name: "50k", grown: "at_50k_entries" },
    Number { entries: 500_000, name: "500k", grown: "at_500k_entries" },
];
const SIZE: usize = 100;
/// The size of large values: half a gigabyte for each contender with the middle number.
const LARGE: usize = 10_000;

/// The measured calls: the name, the call, and its name in the peers in Python.
const CALLS: [(&str, Call, &str); 2] =
    [("overwrite", Call::SetMany, "set"), ("get", Call::GetMany, "get")];

impl Number {
    fn case(self, what: &str) -> String {
        format!("at_{}_{what}", self.name)
    }

    /// Whether one of the cases with these names is requested.
    fn is_wanted(self, bench: &Bench<'_>, whats: &[&str]) -> bool {
        whats.iter().any(|what| bench.wants(&self.case(what)))
    }
}

pub(super) fn run(bench: &mut Bench<'_>, directory: &Path) -> Result<()> {
    let quick = bench.effort().quick;
    let workers = Workers::current_thread()?;
    let numbers = if quick { &NUMBERS[..2] } else { &NUMBERS };
    // First, because the deletes of other contenders slow new files down for half a minute.
    let full = Full::of_ours(bench, &workers, numbers, directory)?;

    let is_growing = CALLS.iter().any(|it| bench.wants(&growing(it.0)));
    let mut stores = Vec::new();
    for number in numbers {
        let is_called = number.is_wanted(bench, &CALLS.map(|it| it.0));
        let in_python = is_called || number.is_wanted(bench, &[full::SET, full::LONGEST]);
        if is_growing || in_python {
            let mut store = Store::new(*number, SIZE, &workers, &directory.join(number.name))?;
            if is_called {
                store.add_cacache()?;
            }
            if in_python {
                store.add_python();
            }
            stores.push(store);
        }
    }
    for (what, call, _) in CALLS {
        let case = case(growing(what), SIZE);
        let sides = stores.iter().map(|it| it.side(it.number.grown, call, &it.ours)).collect();
        bench.run(Contest { case, sides })?;
    }
    stores.iter().try_for_each(|it| it.beside_peers(bench))?;
    for it in &stores {
        full.beside_peers(bench, it.number, &it.python)?;
    }

    let middle = NUMBERS[1];
    if !quick && middle.is_wanted(bench, &CALLS.map(|it| it.0)) {
        Store::new(middle, LARGE, &workers, &directory.join("large"))?.beside_peers(bench)?;
    }
    Ok(())
}

/// The contenders with one number of entries.
struct Store<'a> {
    number: Number,
    size: usize,
    workers: &'a Workers,
    directory: PathBuf,
    inputs: Arc<Inputs>,
    ours: Arc<Ours>,
    by_hand: Arc<ByHand>,
    /// Only for the cases that include cacache.
    cacache: Option<Arc<Cacache>>,
    python: Vec<Peer>,
}

impl<'a> Store<'a> {
    /// Creates and fills `cache-file` and the direct use.
    fn new(number: Number, size: usize, workers: &'a Workers, directory: &Path) -> Result<Self> {
        let inputs = Inputs::with_keys(size, number.entries)?;
        // Without eviction.
        let options = format!("max_entries = {}", 2 * number.entries);
        let ours = Ours::new(&settings(&directory.join("ours"), &options), &inputs)?;
        workers.block_on(ours.fill())?;
        let by_hand = ByHand::new(&directory.join("by-hand"), &inputs)?.into();
        let (ours, directory) = (ours.into(), directory.to_owned());
        let (cacache, python) = (None, Vec::new());
        Ok(Self { number, size, workers, directory, inputs, ours, by_hand, cacache, python })
    }

    fn add_cacache(&mut self) -> Result<()> {
        let new = Cacache::new(&self.directory.join("cacache"), &self.inputs)?;
        self.cacache = Some(new.into());
        Ok(())
    }

    fn add_python(&mut self) {
        let entries = self.number.entries;
        // Without eviction until `write_full` fills the cache.
        let caches = django::caches(&self.directory, 2 * entries);
        let caches = caches.map(|it| it.with_entries(entries));
        self.python = peers::django(&caches).unwrap_or_default();
    }

    fn beside_peers(&self, bench: &mut Bench<'_>) -> Result<()> {
        for (what, call, in_python) in CALLS {
            let mut sides = vec![
                self.side(OURS, call, &self.ours),
                self.side(by_hand_name(call), call, &self.by_hand),
            ];
            sides.extend(self.cacache.iter().map(|it| self.side(CACACHE, call, it)));
            // Single calls, which cost no more than batches in the peers.
            let peer_case = PeerCase::new(in_python, self.size);
            sides.extend(self.python.iter().map(|it| it.side(&peer_case)));
            bench.run(Contest { case: case(self.number.case(what), self.size), sides })?;
        }
        Ok(())
    }

    fn side<C: Client>(&self, name: &'static str, call: Call, client: &Arc<C>) -> Side<'a> {
        let mut batches = self.workers.side(name, 1, Clock::Wall, call.of(client));
        in_batches(name, move |made| batches.time(made))
    }
}

/// Turns the time of batches into a contender with the time of single entries.
fn in_batches<'a>(name: &'static str, mut time: impl FnMut(u64) -> Duration + 'a) -> Side<'a> {
    Side::timed(name, move |count| {
        let made = count.div_ceil(MANY as u64);
        time(made).mul_f64(count as f64 / (made * MANY as u64) as f64)
    })
}

fn case(name: String, size: usize) -> Case {
    Case::new(name, Unit::Nanos, size)
}

/// Returns the name of the case that compares `cache-file` with many entries and with few.
fn growing(what: &str) -> String {
    format!("{what}_growing")
}
