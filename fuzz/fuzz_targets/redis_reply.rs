//! The target for the decoder of the replies of Redis.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::redis_reply(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::redis_reply);
}
