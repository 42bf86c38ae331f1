//! What was found worth a seed stays good, on machines without libFuzzer too.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The targets count what the whole process allocates.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs every file of a folder, which is named from the workspace's root.
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
fn files_are_entries_only_if_they_are_whole() {
    all_of("cache-file/tests/corpus", fuzz::file_entry);
}

#[test]
fn headers_are_taken_only_if_they_are_right() {
    all_of("cache-file/tests/corpus", fuzz::file_header);
}

#[test]
fn settings_that_are_wrong_show_no_password() {
    all_of("fuzz/corpus/settings", fuzz::settings);
}

#[test]
fn stored_bytes_are_what_their_header_says() {
    all_of("fuzz/corpus/stored_value", fuzz::stored_value);
}

#[test]
fn stored_values_that_contain_themselves_end_no_stack() {
    all_of("fuzz/corpus/value_read", fuzz::value_read);
}

#[test]
fn written_values_that_contain_themselves_are_refused_or_come_back() {
    all_of("fuzz/corpus/value_written", fuzz::value_written);
}
