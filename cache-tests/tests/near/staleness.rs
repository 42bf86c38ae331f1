//! The bound of the age of a value that another client has replaced.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::{
    far::Far,
    support::{Standstill, near, visible},
};

/// A raw client writes numbers. A read that begins after a number was acknowledged may find an
/// older one only until its message has arrived: the age of each such read is measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn staleness_of_reads_is_bounded() {
    for far in Far::all() {
        // A slow server may interrupt the stream of a run, but not of each run.
        let mut runs = 1;
        while staleness_is_bounded(&far).await > 1 {
            runs += 1;
            assert!(runs <= 5, "{far:?}: the stream of each run was interrupted");
        }
    }
}

/// Returns how often the stream began.
async fn staleness_is_bounded(far: &Far) -> u64 {
    const ROUNDS: i64 = 5_000;
    let reader = far.hasty_reader().await;
    // Older than all numbers, also than those of an earlier run.
    far.write(-1).await;
    // When each number was acknowledged.
    let acknowledged = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (acknowledged, is_done) = (Arc::clone(&acknowledged), Arc::clone(&is_done));
        let mut writer = far.writer().await;
        async move {
            for round in 0..ROUNDS {
                writer.write(round).await;
                acknowledged.lock().unwrap().push(Instant::now());
                if round % 8 == 0 {
                    // sleeps: readers need time in which the key is near
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
            }
            is_done.store(true, SeqCst);
        }
    });
    let standstill = Standstill::measure(&reader);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, acknowledged) = (reader.strict(), Arc::clone(&acknowledged));
            let is_done = Arc::clone(&is_done);
            tokio::spawn(async move {
                let (mut reads, mut stale, mut oldest) = (0_u64, 0_u64, Duration::ZERO);
                while !is_done.load(SeqCst) {
                    tokio::task::yield_now().await;
                    let began = Instant::now();
                    // A call that timed out has read nothing.
                    let Ok(found) = reader.get::<i64>("k").await else { continue };
                    reads += 1;
                    let next = usize::try_from(found.unwrap_or(-1) + 1).unwrap();
                    // The number after the one found was acknowledged before the read began.
                    let missed = acknowledged.lock().unwrap().get(next).copied();
                    if let Some(missed) = missed.filter(|it| *it < began) {
                        stale += 1;
                        oldest = oldest.max(began - missed);
                    }
                }
                (reads, stale, oldest)
            })
        })
        .collect();
    writer.await.unwrap();
    let (mut reads, mut stale, mut oldest) = (0, 0, Duration::ZERO);
    for it in readers {
        let (its_reads, its_stale, its_oldest) = it.await.unwrap();
        (reads, stale, oldest) = (reads + its_reads, stale + its_stale, oldest.max(its_oldest));
    }
    let (near, late) = (near(&reader), standstill.longest());
    println!("{far:?}: {reads} reads, {stale} stale, at most {oldest:?}; {near:?}");
    assert!(near.hits > 0, "{near:?}");
    // A connection that is silent for longer ends.
    assert!(oldest < Duration::from_millis(1500) + 2 * late, "{oldest:?}, late by {late:?}");
    visible(&reader, Some(ROUNDS - 1)).await;
    near.resets
}
