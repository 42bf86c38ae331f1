//! The database store, compared with direct use of the database and with caches of Django. Each
//! database has its own part.

mod ours;
mod postgres;
mod rows;
mod sqlite;

use anyhow::Result;

use crate::harness::Bench;

/// The name of the suite on the command line.
pub const NAME: &str = "db";

/// Measures calls on tables of several lengths. SQLite also has a full table, a table in memory and
/// the longest write. PostgreSQL, whose cases begin with `pg_`, also has several numbers of
/// connections.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    sqlite::run(bench)?;
    postgres::run(bench)
}
