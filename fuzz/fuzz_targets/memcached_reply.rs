//! The target for the replies of a memcached server.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::memcached_reply(bytes));

#[cfg(not(fuzzing))]
fn main() {
    fuzz::replay(fuzz::memcached_reply);
}
