//! The promises of the store on PostgreSQL, one topic per file, against real servers that the tests
//! start.
#![cfg(target_os = "linux")]

mod batches;
mod bounds;
mod bus;
#[path = "../faults/child.rs"]
#[allow(dead_code, reason = "shared with the faults of SQLite")]
mod child;
mod conformance;
mod counters;
mod full;
mod handles;
mod hosts;
mod large;
mod late;
mod listening;
mod locks;
mod outages;
mod overtaken;
mod processes;
mod refused;
mod schema;
mod settings;
mod support;
#[cfg(feature = "postgres-tls")]
mod tls;
mod unusual;
