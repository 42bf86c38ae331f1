//! The decoder of what a file of `cache-file` begins with.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::file_header(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::file_header);
}
