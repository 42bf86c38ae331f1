//! The effect of faults on callers: servers, networks and runtimes that fail. Each test prints the
//! results and their times, for the table "What an outage looks like" of the book. Faults that are
//! the same for every store are in `fault-tests`.
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
