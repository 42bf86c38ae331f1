//! Fuzz targets for the code that reads bytes that other programs may have written.
//!
//! Each target is a function that takes any bytes and panics if a promise is broken. Its program in
//! `fuzz_targets` runs under libFuzzer with `--cfg fuzzing`; without it, the program runs the files
//! in its arguments. The seeds are in `corpus/<target>`.

mod allocations;
mod file_entry;
mod file_header;
mod layout;
mod memcached_reply;
mod recursive;
mod redis_reply;
mod settings;
mod stored_value;
mod value_header;

use std::{env, fs};

pub use self::{
    file_entry::file_entry,
    file_header::file_header,
    memcached_reply::memcached_reply,
    recursive::{value_read, value_written},
    redis_reply::redis_reply,
    settings::settings,
    stored_value::stored_value,
};

/// Runs a target with each file in the arguments of the program.
///
/// # Panics
/// If the target panics, or a file cannot be read.
pub fn replay(target: fn(&[u8])) {
    for path in env::args().skip(1) {
        println!("{path}");
        target(&fs::read(&path).unwrap());
    }
}
