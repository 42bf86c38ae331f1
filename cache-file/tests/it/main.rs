//! What the store promises, by the file; all of it in real directories.
#![cfg(unix)]

mod bounds;
mod clearing;
mod conformance;
mod layout;
#[path = "../place/mod.rs"]
mod place;
mod settings;
