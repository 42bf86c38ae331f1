//! What the store promises on PostgreSQL, by the file; all of it against real servers that the tests start.
#![cfg(target_os = "linux")]

mod conformance;
mod counters;
mod support;
