//! The effect of faults on callers: servers, networks and runtimes that fail, slots that migrate,
//! and calls that are dropped. Most tests print the results and their times; the table "What an
//! outage looks like" of the book is made from them. Faults that are the same for every store are
//! in `fault-tests`.
#![cfg(target_os = "linux")]

mod cancelled;
mod cluster;
mod frozen;
mod network;
mod once;
mod pending_deletes;
mod refused;
mod replicas;
mod resharding;
mod restart;
mod runtimes;
mod sentinel;
mod support;
