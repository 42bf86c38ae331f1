//! What the store promises, by the file; all of it in real directories.
#![cfg(unix)]

mod conformance;
mod support;
