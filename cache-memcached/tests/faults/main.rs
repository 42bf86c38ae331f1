//! What callers see when servers, networks and runtimes fail. Each test prints it, with the time that it took: the lines of the
//! table "what an outage looks like" of the book.
#![cfg(target_os = "linux")]

mod cancelled;
mod ejection;
mod frozen;
// The same tasks for every store: what they see is what is compared.
#[path = "../../../cache-redis/tests/faults/load.rs"]
mod load;
mod network;
mod once;
#[path = "../raw/mod.rs"]
mod raw;
mod restart;
mod runtimes;
mod support;
