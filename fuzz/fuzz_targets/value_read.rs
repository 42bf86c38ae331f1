//! The target for stored bytes that are read as recursive types.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::value_read(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::value_read);
}
