//! What libFuzzer is let loose on: whatever reads bytes that others may have written.
//!
//! Each target is a function that takes any bytes and panics if a promise is broken. Its program in `fuzz_targets` is libFuzzer's with
//! `--cfg fuzzing`, and runs the files that are named without. The seeds are in `corpus/<target>`.

mod allocations;
mod file_entry;
mod file_header;
mod layout;
mod recursive;
mod settings;
mod stored_value;

use std::{env, fs};

pub use self::{
    file_entry::file_entry,
    file_header::file_header,
    recursive::{value_read, value_written},
    settings::settings,
    stored_value::stored_value,
};

/// What a program does without libFuzzer: gives the target each of the files that are named.
///
/// # Panics
/// If the target does, or a file cannot be read.
pub fn replay(target: fn(&[u8])) {
    for path in env::args().skip(1) {
        println!("{path}");
        target(&fs::read(&path).unwrap());
    }
}
