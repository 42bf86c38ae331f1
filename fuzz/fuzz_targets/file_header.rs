//! The target for the decoder of the header of `cache-file`'s files.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::file_header(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::file_header);
}
