//! The target for files of `cache-file` with any content.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::file_entry(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::file_entry);
}
