//! What the store promises, by the file; all of it against real servers that the tests start.
#![cfg(target_os = "linux")]

mod conformance;
mod counters;
mod generations;
mod lifetimes;
mod limits;
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
