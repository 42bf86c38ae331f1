//! PostgreSQL: `cache-db`, compared with direct use of the crate `tokio-postgres` and with the
//! database cache of Django.
//!
//! Direct use means a table with the same columns and statements that are prepared once. All tasks
//! share one client, which pipelines their statements (`tokio-postgres`), or as many clients as
//! `cache-db` has connections by default (`tokio-postgres_x2`). The server is another process on
//! the same machine, and does not wait for its disk.

mod by_hand;
mod connections;
mod suite;

use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;
use test_servers::{Postgres, Server as _};

use self::{
    by_hand::ByHand,
    suite::{OPTIONS, Suite, named},
};
use super::{
    ours::Ours,
    rows::{LONG, Rows, TABLES},
};
use crate::{
    harness::Bench,
    peers::{self, DjangoCache, Peer},
    suites::network::{
        SIZES,
        calls::{CALLS, Call},
        workers::Workers,
    },
};

/// The number of rows of the peers in Python.
const PEERS: usize = 1_000;
/// The default number of connections of `cache-db`.
const DEFAULT: usize = 2;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let flavours = [Workers::current_thread()?, Workers::multi_thread()?];
    for size in SIZES {
        for (count, suffix) in TABLES {
            let is_long = count > LONG || (count == LONG && size > SIZES[0]);
            if (count > LONG && size > SIZES[0]) || (bench.effort().quick && is_long) {
                continue;
            }
            if !cases(size, suffix).any(|it| bench.wants_size(&it, size)) {
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

/// Returns the database cache of Django on the same server.
fn peers(server: &Postgres) -> Vec<Peer> {
    let (host, port) = (server.address().ip().to_string(), server.address().port());
    let database: Value = serde_json::json!({
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host, "PORT": port,
    });
    peers::django(&[DjangoCache::postgres(&database)]).unwrap_or_default()
}
