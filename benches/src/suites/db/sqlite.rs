//! SQLite: `cache-db`, compared with direct use of the crate `rusqlite` and with two caches for
//! Django.
//!
//! Direct use means a simple table (no counters, no bound), prepared statements, the same pragmas
//! as `cache-db`, and open connections: on the caller's thread (`rusqlite`), and in
//! `spawn_blocking` (`rusqlite_blocking`).

mod bounded;
mod calls;
mod raw;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use self::{calls::Call, raw::Raw};
use super::{
    ours::{OURS, Ours},
    rows::{LONG, Rows, TABLES},
};
use crate::{
    harness::{Bench, Case, Contest, Side, Unit},
    peers::{self, DjangoCache, Peer, PeerCase},
    suites::network::{BUSY, SIZES, THREADS, workers::Workers},
};

/// The number of rows of the peers in Python.
const PEERS: usize = 1_000;
const OURS_FILE: &str = "ours.db";

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let quick = bench.effort().quick;
    let flavours = [Workers::current_thread()?, Workers::multi_thread()?];
    for size in SIZES {
        for (count, suffix) in TABLES {
            if (count > LONG && (quick || size > SIZES[0]))
                || (quick && count == LONG && size > SIZES[0])
            {
                continue;
            }
            let calls: Vec<Call> = calls::CALLS.into_iter().filter(|it| it.has(size)).collect();
            if !calls.iter().any(|it| bench.wants_size(&it.case(suffix), size)) {
                continue;
            }
            let table = Table::new(Rows::new(count, size)?)?;
            let peers = if count == PEERS { peers(table.folder.path()) } else { Vec::new() };
            for workers in &flavours {
                let suite = Suite { workers, table: &table, suffix, peers: &peers };
                calls.iter().try_for_each(|it| suite.call(bench, *it))?;
            }
        }
    }
    for workers in &flavours {
        bounded::run(bench, workers)?;
        memory(bench, workers)?;
    }
    bounded::longest(bench, &flavours[0])
}

/// The same rows in a file of `cache-db` and in a file for direct use.
struct Table {
    ours: Arc<Ours>,
    direct: Arc<Ours>,
    raw: Arc<Raw>,
    rows: Arc<Rows>,
    folder: TempDir,
}

impl Table {
    fn new(rows: Arc<Rows>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (file, by_hand) = (folder.path().join(OURS_FILE), folder.path().join("raw.db"));
        let location = file.display().to_string();
        let ours = Ours::new(&location, "max_bytes = \"16GiB\"", &rows)?;
        let options = "max_bytes = \"16GiB\"\ndirect_reads = true";
        let direct = Ours::new(&location, options, &rows)?;
        ours.fill()?;
        let raw = Raw::open(Some(&by_hand), &rows)?;
        raw.fill()?;
        Ok(Self { ours, direct, raw, rows, folder })
    }

    /// Removes the new rows from both tables.
    fn remove_new(&self) -> Result<()> {
        raw::remove_new(&Connection::open(self.folder.path().join(OURS_FILE))?)?;
        self.raw.remove_new()
    }
}

/// The contenders of one runtime and one table.
struct Suite<'a> {
    workers: &'a Workers,
    table: &'a Table,
    suffix: &'static str,
    peers: &'a [Peer],
}

impl Suite<'_> {
    fn call(&self, bench: &mut Bench<'_>, call: Call) -> Result<()> {
        let name = call.case(self.suffix);
        if !bench.wants(&name) {
            return Ok(());
        }
        let case = |unit, tasks| {
            Case::new(&name, unit, call.value_bytes(self.table.rows.size))
                .on_runtime(self.workers.flavour(), tasks)
                .with_cpu()
        };
        let mut sides = self.sides(call, 1);
        if self.workers.is_current_thread() {
            sides.extend(self.peers(call, 1));
        }
        bench.run(Contest { case: case(Unit::Nanos, 1), sides })?;
        if !self.workers.is_current_thread() && !self.peers.is_empty() && call.in_python().is_some()
        {
            let mut sides = self.sides(call, THREADS);
            sides.extend(self.peers(call, THREADS));
            bench.run(Contest { case: case(Unit::PerSecond, THREADS), sides })?;
        }
        let sides = self.sides(call, BUSY);
        bench.run(Contest { case: case(Unit::PerSecond, BUSY), sides })?;
        if call.adds() {
            self.table.remove_new()?;
        }
        Ok(())
    }

    fn sides(&self, call: Call, tasks: usize) -> Vec<Side<'_>> {
        let Table { ours, direct, raw, .. } = self.table;
        let ours = if call == Call::GetDirect { direct } else { ours };
        let side = |name, job| self.workers.side(name, tasks, job);
        vec![
            side(OURS, call.of(ours)),
            side("rusqlite", raw::inline(raw, call.by_hand())),
            side("rusqlite_blocking", raw::blocking(raw, call.by_hand())),
        ]
    }

    fn peers(&self, call: Call, threads: usize) -> Vec<Side<'_>> {
        let Some(name) = call.in_python() else { return Vec::new() };
        let case = PeerCase::new(name, self.table.rows.size).on_threads(threads);
        self.peers.iter().map(|it| it.side(&case)).collect()
    }
}

/// Returns the database cache of Django with the pragmas of `cache-db`, and the package diskcache.
fn peers(folder: &Path) -> Vec<Peer> {
    let django = DjangoCache::sqlite(&folder.join("django.db"));
    let location = json!({
        "BACKEND": "diskcache.DjangoCache", "LOCATION": folder.join("diskcache"),
    });
    let diskcache = DjangoCache::diskcache(location);
    peers::django(&[django, diskcache]).unwrap_or_default()
}

/// Measures tables in memory.
fn memory(bench: &mut Bench<'_>, workers: &Workers) -> Result<()> {
    let calls = [(Call::Get, "get_memory"), (Call::Set, "set_memory")];
    if !calls.iter().any(|it| bench.wants(it.1)) {
        return Ok(());
    }
    let rows = Rows::new(LONG, SIZES[0])?;
    let (ours, raw) = (Ours::new(":memory:", "", &rows)?, Raw::open(None, &rows)?);
    ours.fill()?;
    raw.fill()?;
    for (call, name) in calls {
        for (tasks, unit) in [(1, Unit::Nanos), (BUSY, Unit::PerSecond)] {
            let sides = vec![
                workers.side(OURS, tasks, call.of(&ours)),
                workers.side("rusqlite", tasks, raw::inline(&raw, call.by_hand())),
            ];
            let case = Case::new(name, unit, SIZES[0]).on_runtime(workers.flavour(), tasks);
            bench.run(Contest { case, sides })?;
        }
    }
    Ok(())
}
