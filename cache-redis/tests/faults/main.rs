//! What callers see when servers, networks and runtimes fail, slots move, and calls are dropped. Most tests print it, with the time
//! that it took: from these lines is the table "What an outage looks like" of the book. What is the
//! same for every store is in `fault-tests`.
#![cfg(target_os = "linux")]

mod cancelled;
mod cluster;
mod frozen;
mod network;
mod once;
mod refused;
mod replicas;
mod resharding;
mod restart;
mod runtimes;
mod sentinel;
mod support;
