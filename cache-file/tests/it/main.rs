//! The promises of the store, one file per topic, in real directories.
#![cfg(unix)]

mod bounds;
mod clearing;
mod conformance;
mod layout;
#[path = "../place/mod.rs"]
mod place;
mod settings;
