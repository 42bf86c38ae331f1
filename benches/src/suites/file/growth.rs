//! Writes and reads with many entries: `cache-file` must be as fast as with few entries and without
//! a pause.
//!
//! The calls are batches, in which the switch to a thread counts little. The figures are per entry.

mod cases;
mod full;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;

use self::{
    cases::{NUMBERS, Number, SIZE, case, growing, in_batches},
    full::Full,
};
use super::{
    by_hand::{self, ByHand},
    cacache::{CACACHE, Cacache},
    django,
    settings::{OURS, settings},
};
use crate::{
    harness::{Bench, Contest, Side},
    peers::{self, Peer, PeerCase},
    suites::network::{
        calls::{Call, Client},
        inputs::Inputs,
        ours::Ours,
        workers::Workers,
    },
};

/// The size of large values: half a gigabyte for each contender with the middle number.
const LARGE: usize = 10_000;

/// The measured calls: the name, the call, and its name in the peers in Python.
const CALLS: [(&str, Call, &str); 2] =
    [("overwrite", Call::SetMany, "set"), ("get", Call::GetMany, "get")];

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
                self.side(by_hand::name_of(call), call, &self.by_hand),
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
        let mut batches = self.workers.side(name, 1, call.of(client));
        in_batches(name, move |made| batches.time(made))
    }
}
