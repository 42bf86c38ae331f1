//! The store in a SQLite file, or in memory.

mod database;
mod error;
mod fork_guard;
mod maintenance;
#[cfg(unix)]
mod permissions;
mod queue;
mod schema;
mod session;
mod statements;
mod store;
mod writer;

pub(crate) use self::{schema::sql, store::SqliteStore};
