//! Processes that are killed at any point leave the old value, the new value or a miss, and neither
//! garbage nor an error.

use std::{sync::mpsc, thread, time::Duration};

use cache_core::{Cache, secs};

use crate::{
    child::{Child, is_pattern},
    place::{Place, cache},
};

const KILLS: u64 = 40;

/// Starts a task again and again, and kills it after some steps and a short time that varies. Calls
/// `after` with the answers of each process.
fn kill_often(place: &Place, task: &str, options: &str, mut after: impl FnMut(Vec<String>)) {
    for n in 0..KILLS {
        let mut child = Child::start(task, &place.path, options);
        let mut answers: Vec<_> = (0..n % 5).filter_map(|_| child.line()).collect();
        // sleeps: the kill must come at any point of a step
        thread::sleep(Duration::from_micros(n * 137 % 1900));
        answers.extend(child.kill());
        assert!(answers.iter().all(|it| !it.contains("error")), "{answers:?}");
        after(answers);
    }
}

async fn check_patterns(cache: &Cache) {
    for key in ["small", "page", "large"] {
        let value = cache.bytes().get(key).await.unwrap();
        assert!(value.is_none_or(|it| is_pattern(&it)), "{key}");
    }
}

#[test]
fn kill_during_set_or_touch_leaves_the_old_or_the_new_value_or_a_miss() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    for task in ["write", "touch"] {
        kill_often(&place, task, "", |_| {
            runtime.block_on(async {
                let cache = cache(&place.path, "");
                check_patterns(&cache).await;
                // The keys can be written again.
                for key in ["small", "page", "large"] {
                    let pattern = crate::child::pattern(7, 5000);
                    let present = cache.has_key(key).await.unwrap();
                    let added = cache.add(key, &0, secs(600)).await.unwrap();
                    assert_eq!(added, !present, "{key}");
                    cache.bytes().set(key, &pattern, secs(600)).await.unwrap();
                }
            });
        });
    }
}

/// The signal for a file that exceeds its size limit kills the process in the middle of the value.
#[test]
fn kill_in_the_middle_of_a_large_value_leaves_a_miss() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    runtime.block_on(async {
        for is_new in [true, false] {
            let cache = cache(&place.path, "");
            for call in ["get", "has", "add", "touch", "delete", "incr"] {
                if !is_new {
                    cache
                        .bytes()
                        .set("l:0", &crate::child::pattern(9, 100_000), secs(600))
                        .await
                        .unwrap();
                }
                let mut child = Child::start_in("ulimit -f 60", "large 1", &place.path, "");
                assert_eq!(child.line(), None, "it was killed");
                let found = match call {
                    "get" => cache.bytes().get("l:0").await.unwrap().is_some(),
                    "has" => cache.has_key("l:0").await.unwrap(),
                    "add" => !cache.add("l:0", &1, secs(600)).await.unwrap(),
                    "touch" => cache.touch("l:0", secs(600)).await.unwrap(),
                    "delete" => cache.delete("l:0").await.unwrap(),
                    _ => cache.incr_or("l:0", 1, 0, secs(600)).await.unwrap() != 1,
                };
                assert!(!found, "{call}");
                cache.clear_store().await.unwrap();
            }
        }
    });
}

/// A counter fits one page, and a kill does not divide its write.
#[test]
fn kill_during_incr_loses_no_acknowledged_increment() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let mut last = 0;
    kill_often(&place, "incr", "", |answers| {
        let numbers: Vec<i64> =
            answers.iter().map(|it| it.trim_start_matches("> ").parse().unwrap()).collect();
        let answered = numbers.last().copied().unwrap_or(last);
        let found = runtime.block_on(async {
            cache(&place.path, "").get::<i64>("counter").await.unwrap().unwrap_or(0)
        });
        // The kill may come between an increment and its answer.
        let is_right = found == answered || found == answered + 1;
        assert!(is_right, "answered {answered}, found {found}");
        assert!(found >= last);
        last = found;
    });
    assert!(last > 0);
}

#[test]
fn store_stays_within_its_bounds_after_kills_during_eviction() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    kill_often(&place, "fill", "max_entries = 200", |_| {});
    runtime.block_on(async {
        let cache = cache(&place.path, "max_entries = 200");
        for n in 0..1500 {
            cache.get::<u64>(&format!("fill:{n}")).await.unwrap();
            cache.set(&format!("fill:{n}"), &n, secs(600)).await.unwrap();
        }
    });
    // A file whose process was killed before counting it is counted later. Few are hit.
    assert!(place.files().len() <= 200 + 40, "{}", place.files().len());
}

#[test]
fn key_never_has_the_value_of_another_after_kills() {
    let place = Place::new();
    kill_often(&place, "churn", "max_entries = 100", |_| {});
    let answers = Child::start("churn 2000", &place.path, "max_entries = 100").all();
    assert!(answers.iter().all(|it| !it.contains("error")), "{answers:?}");
}

#[test]
fn entries_are_intact_or_absent_after_kills_during_clear() {
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

/// The kernel releases the locks of a dead process.
#[test]
fn killed_process_holds_no_lock() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = Place::new();
    let (sender, waits) = mpsc::channel();
    kill_often(&place, "incr", "", |_| {
        let cache = cache(&place.path, "");
        let began = std::time::Instant::now();
        runtime.block_on(async { cache.incr_or("counter", 1, 0, secs(600)).await.unwrap() });
        sender.send(began.elapsed()).unwrap();
    });
    drop(sender);
    // A call waits longer for a lock that is held.
    assert!(waits.iter().all(|it| it < Duration::from_secs(15)));
}
