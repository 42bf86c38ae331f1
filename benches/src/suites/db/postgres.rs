//! PostgreSQL: `cache-db`, compared with direct use of the crate `tokio-postgres` and with the
//! database cache of Django.
//!
//! Direct use means a table with the same columns and statements that are prepared once. All tasks
//! share one client, which pipelines their statements (`tokio-postgres`), or as many clients as
//! `cache-db` has connections by default (`tokio-postgres_x2`). The server is another process on
//! the same machine, and does not wait for its disk.

mod by_hand;
mod connections;

use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;
use test_servers::{Postgres, Server as _};

use self::by_hand::ByHand;
use super::{LONG, OURS, TABLES, ours::Ours, rows::Rows};
use crate::{
    harness::{Bench, Case, Contest, Side, Unit},
    peers::{self, DjangoCache, Peer, PeerCase},
    suites::network::{
        BUSY, SIZES, THREADS,
        calls::{CALLS, Call},
        workers::{Clock, Job, Workers},
    },
};

/// The number of rows of the peers in Python.
const PEERS: usize = 1_000;
/// The default number of connections of `cache-db`.
const DEFAULT: usize = 2;
/// A bound that no case reaches.
const OPTIONS: &str = "max_bytes = \"16GiB\"";
/// The number of calls before a measurement, which connect and prepare statements.
const WARM: u64 = 256;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let flavours = [Workers::current_thread()?, Workers::multi_thread()?];
    for size in SIZES {
        for (count, suffix) in TABLES {
            let is_long = count > LONG || (count == LONG && size > SIZES[0]);
            if (count > LONG && size > SIZES[0]) || (bench.effort().quick && is_long) {
                continue;
            }
            if !cases(size, suffix).any(|it| bench.wants(&it)) {
                continue;
            }
            // A new server for each table, because autovacuum would still clean up the table
            // before.
            let server = Postgres::start_with(&["shared_buffers=256MB"])?;
            let peers = if count == PEERS { peers(&server) } else { Vec::new() };
            let rows = Rows::new(count, size)?;
            let url = server.url();
            let ours = Ours::new(&url, OPTIONS, &rows)?;
            ours.fill()?;
            by_hand::copy(&url)?;
            for workers in &flavours {
                let connect = |clients| ByHand::connect(&url, clients, &rows);
                let one = workers.block_on(connect(1))?;
                let several = workers.block_on(connect(DEFAULT))?;
                let ours = Arc::clone(&ours);
                let suite =
                    Suite { workers, ours, one, several, rows: &rows, suffix, peers: &peers };
                calls(size).try_for_each(|it| suite.call(bench, it))?;
                if count == LONG || bench.effort().quick {
                    connections::run(bench, &suite, &url)?;
                }
            }
        }
    }
    Ok(())
}

/// The contenders of one runtime and one table.
struct Suite<'a> {
    workers: &'a Workers,
    ours: Arc<Ours>,
    one: Arc<ByHand>,
    several: Arc<ByHand>,
    rows: &'a Arc<Rows>,
    suffix: &'static str,
    peers: &'a [Peer],
}

impl Suite<'_> {
    fn call(&self, bench: &mut Bench<'_>, call: Call) -> Result<()> {
        let name = self.name(call.name());
        let contest = |unit, tasks, peers: bool| {
            let mut sides = self.sides(call, tasks);
            if peers {
                sides.extend(self.peers(call, tasks));
            }
            Contest { case: self.case(&name, call, unit, tasks), sides }
        };
        bench.run(contest(Unit::Nanos, 1, self.workers.is_current_thread()))?;
        if !self.workers.is_current_thread() && !self.peers.is_empty() {
            bench.run(contest(Unit::PerSecond, THREADS, true))?;
        }
        bench.run(contest(Unit::PerSecond, BUSY, false))
    }

    fn sides(&self, call: Call, tasks: usize) -> Vec<Side<'_>> {
        vec![
            self.side(OURS, tasks, call.of(&self.ours)),
            self.side("tokio-postgres", tasks, call.of(&self.one)),
            self.side("tokio-postgres_x2", tasks, call.of(&self.several)),
        ]
    }

    /// Returns a contender that is connected and has prepared its statements, which takes as long
    /// as many calls.
    fn side(&self, name: &'static str, tasks: usize, job: Job) -> Side<'_> {
        let mut side = self.workers.side(name, tasks, Clock::Wall, job);
        side.time(WARM);
        side
    }

    fn peers(&self, call: Call, threads: usize) -> impl Iterator<Item = Side<'_>> {
        let case = PeerCase::new(call.name(), self.rows.size).on_threads(threads);
        self.peers.iter().map(move |it| it.side(&case))
    }

    fn name(&self, call: &str) -> String {
        named(call, self.suffix)
    }

    fn case(&self, name: &str, call: Call, unit: Unit, tasks: usize) -> Case {
        // The size of a counter does not depend on the values.
        let size = if call == Call::Incr { 8 } else { self.rows.size };
        Case::new(name, unit, size).on_runtime(self.workers.flavour(), tasks)
    }
}

fn calls(size: usize) -> impl Iterator<Item = Call> {
    let is_there = move |it: &Call| match it {
        Call::GetBytes => false,
        Call::Incr => size == SIZES[0],
        _ => true,
    };
    CALLS.into_iter().filter(is_there)
}

fn cases(size: usize, suffix: &'static str) -> impl Iterator<Item = String> {
    let names = calls(size).map(Call::name).chain(connections::CASES.map(|it| it.1));
    names.map(move |it| named(it, suffix))
}

fn named(call: &str, suffix: &str) -> String {
    format!("pg_{call}{suffix}")
}

/// Returns the database cache of Django on the same server.
fn peers(server: &Postgres) -> Vec<Peer> {
    let (host, port) = (server.address().ip().to_string(), server.address().port());
    let database: Value = serde_json::json!({
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host, "PORT": port,
    });
    peers::django(&[DjangoCache::postgres(&database)]).unwrap_or_default()
}
