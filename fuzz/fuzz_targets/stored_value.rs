//! The target for stored bytes that any program may have written.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::stored_value(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::stored_value);
}
