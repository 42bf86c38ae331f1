//! The promises of the store, one file per topic, in real directories.
#![cfg(unix)]

mod bounds;
mod clearing;
mod conformance;
mod layout;
#[path = "../place/mod.rs"]
mod place;
#[cfg(target_os = "linux")]
mod reads;
mod settings;
mod traps;
