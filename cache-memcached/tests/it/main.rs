//! The promises of the store, a file for each topic, against real servers.
#![cfg(target_os = "linux")]

mod conflicts;
mod conformance;
mod connections;
mod counters;
mod generations;
mod leases;
mod lifetimes;
mod limits;
mod login;
mod outage;
mod polling;
#[path = "../raw/mod.rs"]
mod raw;
mod refusals;
mod servers;
mod settings;
mod support;
mod values;
mod waiting;
