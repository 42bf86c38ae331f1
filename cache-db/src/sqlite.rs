//! The store in a SQLite file, or in memory.

mod batch;
mod clear;
mod connection;
mod counter;
mod database;
mod entry;
mod error;
mod eviction;
mod file;
mod fork_guard;
mod maintenance;
#[cfg(unix)]
mod permissions;
mod pool;
mod queue;
mod schema;
mod session;
mod statements;
mod store;
mod value;
mod writer;
mod writer_thread;

pub(crate) use self::{schema::sql, store::SqliteStore};
