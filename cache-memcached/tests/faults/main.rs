//! What callers see when servers, networks and runtimes fail. Each test prints it, with the time that it took: the lines of the
//! table "what an outage looks like" of the book. What is the same for every store is in `fault-tests`.
#![cfg(target_os = "linux")]

mod cancelled;
mod ejection;
mod frozen;
mod network;
mod once;
#[path = "../raw/mod.rs"]
mod raw;
mod restart;
mod runtimes;
mod support;
