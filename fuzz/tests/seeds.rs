//! Runs the seeds of all targets, also on machines without libFuzzer.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The targets measure the memory of the whole process, so they run one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a target with every file of a folder, relative to the root of the workspace.
fn all_of(folder: &str, target: fn(&[u8])) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(seeds.len() > 10, "{seeds:?}");
    for seed in seeds {
        println!("{}", seed.display());
        target(&fs::read(seed).unwrap());
    }
}

#[cfg(unix)]
#[test]
fn file_is_an_entry_only_if_it_is_complete_and_intact() {
    all_of("cache-file/tests/corpus", fuzz::file_entry);
}

#[test]
fn header_is_accepted_only_if_it_is_correct() {
    all_of("cache-file/tests/corpus", fuzz::file_header);
}

#[test]
fn replies_of_memcached_do_not_depend_on_the_pieces_in_which_they_arrive() {
    all_of("fuzz/corpus/memcached_reply", fuzz::memcached_reply);
}

#[test]
fn replies_of_redis_do_not_depend_on_the_pieces_in_which_they_arrive() {
    all_of("fuzz/corpus/redis_reply", fuzz::redis_reply);
}

#[test]
fn error_of_wrong_settings_shows_no_password() {
    all_of("fuzz/corpus/settings", fuzz::settings);
}

#[test]
fn stored_bytes_are_read_as_their_header_says() {
    all_of("fuzz/corpus/stored_value", fuzz::stored_value);
}

#[test]
fn stored_recursive_value_does_not_overflow_the_stack() {
    all_of("fuzz/corpus/value_read", fuzz::value_read);
}

#[test]
fn written_recursive_value_is_refused_or_read_back() {
    all_of("fuzz/corpus/value_written", fuzz::value_written);
}
