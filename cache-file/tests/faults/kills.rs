//! Processes that are killed at any point: the old value, the new one or a miss is left, never garbage and never an error.

use std::{sync::mpsc, thread, time::Duration};

use cache_core::{Cache, secs};

use crate::{
    child::{Child, is_pattern},
    place::{Place, cache},
};

const KILLS: u64 = 40;

/// Starts the task again and again, and kills it after some steps and a time that differs.
fn kill_often(place: &Place, task: &str, options: &str, mut after: impl FnMut(Vec<String>)) {
    for n in 0..KILLS {
        let mut child = Child::start(task, &place.path, options);
        let mut told: Vec<_> = (0..n % 5).filter_map(|_| child.line()).collect();
        // sleeps: a kill at any point of time is what this is about
        thread::sleep(Duration::from_micros(n * 137 % 1900));
        told.extend(child.kill());
        assert!(told.iter().all(|it| !it.contains("error")), "{told:?}");
        after(told);
    }
}

async fn check_patterns(cache: &Cache) {
    for key in ["small", "page", "large"] {
        let value = cache.get_bytes(key).await.unwrap();
        assert!(value.is_none_or(|it| is_pattern(&it)), "{key}");
    }
}

#[test]
fn kills_during_set_and_touch_leave_the_old_or_the_new_or_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    for task in ["write", "touch"] {
        kill_often(&place, task, "", |_| {
            runtime.block_on(async {
                let cache = cache(&place.path, "");
                check_patterns(&cache).await;
                // And it can be written again.
                for key in ["small", "page", "large"] {
                    let pattern = crate::child::pattern(7, 5000);
                    let present = cache.has_key(key).await.unwrap();
                    let added = cache.add(key, &0, secs(600)).await.unwrap();
                    assert_eq!(added, !present, "{key}");
                    cache.set_bytes(key, pattern, secs(600)).await.unwrap();
                }
            });
        });
    }
}

/// In the very middle of a value: the signal that a limit of file sizes sends kills a process there, each time.
#[test]
fn a_kill_in_the_middle_of_a_large_value_is_a_miss_and_no_error() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    runtime.block_on(async {
        for is_new in [true, false] {
            let cache = cache(&place.path, "");
            for look in ["get", "has", "add", "touch", "delete", "incr"] {
                if !is_new {
                    cache
                        .set_bytes("l:0", crate::child::pattern(9, 100_000), secs(600))
                        .await
                        .unwrap();
                }
                let mut child = Child::start_in("ulimit -f 60", "large 1", &place.path, "");
                assert_eq!(child.line(), None, "it was killed");
                let found = match look {
                    "get" => cache.get_bytes("l:0").await.unwrap().is_some(),
                    "has" => cache.has_key("l:0").await.unwrap(),
                    "add" => !cache.add("l:0", &1, secs(600)).await.unwrap(),
                    "touch" => cache.touch("l:0", secs(600)).await.unwrap(),
                    "delete" => cache.delete("l:0").await.unwrap(),
                    _ => cache.incr_or("l:0", 1, 0, secs(600)).await.unwrap() != 1,
                };
                assert!(!found, "{look}");
                cache.clear_store().await.unwrap();
            }
        }
    });
}

/// A counter fits a page, and a kill does not divide its write: what was told is never lost.
#[test]
fn kills_during_incr_lose_no_count() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let mut last = 0;
    kill_often(&place, "incr", "", |told| {
        let numbers: Vec<i64> =
            told.iter().map(|it| it.trim_start_matches("> ").parse().unwrap()).collect();
        let told = numbers.last().copied().unwrap_or(last);
        let found = runtime.block_on(async {
            cache(&place.path, "").get::<i64>("counter").await.unwrap().unwrap_or(0)
        });
        // Between the step and the telling of it is room for one.
        assert!(found == told || found == told + 1, "told {told}, found {found}");
        assert!(found >= last);
        last = found;
    });
    assert!(last > 0);
}

#[test]
fn kills_during_culling_leave_a_store_that_is_within_its_bounds() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    kill_often(&place, "fill", "max_entries = 200", |_| {});
    runtime.block_on(async {
        let cache = cache(&place.path, "max_entries = 200");
        for n in 0..5000 {
            cache.get::<u64>(&format!("fill:{n}")).await.unwrap();
            cache.set(&format!("fill:{n}"), &n, secs(600)).await.unwrap();
        }
    });
    // A kill between a file and its count is counted again in time; few are hit.
    assert!(place.files().len() <= 200 + 40, "{}", place.files().len());
}

#[test]
fn kills_while_files_change_hands_show_no_key_the_value_of_another() {
    let place = Place::new();
    kill_often(&place, "churn", "max_entries = 100", |_| {});
    let told = Child::start("churn 2000", &place.path, "max_entries = 100").all();
    assert!(told.iter().all(|it| !it.contains("error")), "{told:?}");
}

#[test]
fn kills_during_clear_leave_entries_or_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    kill_often(&place, "set_and_clear", "", |_| {
        runtime.block_on(async {
            let cache = cache(&place.path, "");
            for n in 0..100 {
                cache.get::<u64>(&format!("c:{n}")).await.unwrap();
            }
        });
    });
    runtime.block_on(async { cache(&place.path, "").clear_store().await.unwrap() });
    assert!(place.files().is_empty());
}

/// The kernel lets go of a dead process's locks.
#[test]
fn who_is_killed_holds_no_lock() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let (told, tells) = mpsc::channel();
    kill_often(&place, "incr", "", |_| {
        let cache = cache(&place.path, "");
        let began = std::time::Instant::now();
        runtime.block_on(async { cache.incr_or("counter", 1, 0, secs(600)).await.unwrap() });
        told.send(began.elapsed()).unwrap();
    });
    drop(told);
    assert!(tells.iter().all(|it| it < Duration::from_secs(5)));
}
