//! The database store by its settings, beside the databases by hand and what Django has: a part for each database.

mod sqlite;

use anyhow::Result;

use crate::harness::Bench;

/// By which it is asked for.
pub const NAME: &str = "db";

const OURS: &str = "cache-db";

/// Measures calls on tables of several lengths, a table at its bound, one in memory, and the longest write.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    sqlite::run(bench)
}
