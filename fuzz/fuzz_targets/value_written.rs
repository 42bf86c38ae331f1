//! The target for values of recursive types that are written and read.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::value_written(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::value_written);
}
