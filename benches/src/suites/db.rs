//! The database store by its settings, beside the databases by hand and what Django has: a part for each database.

mod ours;
mod postgres;
mod rows;
mod sqlite;

use anyhow::Result;

use crate::harness::Bench;

/// By which it is asked for.
pub const NAME: &str = "db";

const OURS: &str = "cache-db";
/// How many rows, and what is said of that in a case's name.
const TABLES: [(usize, &str); 3] = [(1_000, "_1k"), (100_000, ""), (1_000_000, "_1m")];
/// Beyond this there are short values only, and only in long runs.
const LONG: usize = 100_000;

/// Measures calls on tables of several lengths; of SQLite also a table at its bound, one in memory, and the longest write; of
/// PostgreSQL, whose cases begin with `pg_`, also how many connections are worth it.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    sqlite::run(bench)?;
    postgres::run(bench)
}
