//! A fetch decodes its value once: decoding costs more than all else of a hit.

use std::{cell::Cell, future::pending, io};

use cache_core::{FetchOutcome, Loaded, layer::Operation};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{MINUTE, SECOND, fails, run_tasks, world};

thread_local! {
    static DECODED: Cell<usize> = const { Cell::new(0) };
}

/// A value that counts how often it is decoded in this thread, in which a test runs all its tasks.
#[derive(Debug, PartialEq, Serialize)]
struct Counted(u32);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.set(DECODED.get() + 1);
        u32::deserialize(from).map(Counted)
    }
}

async fn load(value: u32) -> Result<Loaded<Counted>, io::Error> {
    tokio::task::yield_now().await;
    Ok(Loaded::Value(Counted(value)))
}

#[tokio::test]
async fn hit_and_stale_hit_decode_the_value_once() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&Counted(1)).await.unwrap();
    let hit = cache.fetch("k").outcome(|_| load(2)).await.unwrap();
    assert_eq!((hit.value, DECODED.take()), (Some(Counted(1)), 1));
    time.advance(MINUTE);
    let stale = cache.fetch("k").outcome(|_| load(2)).await.unwrap();
    assert_eq!((stale.value, DECODED.take()), (Some(Counted(1)), 1));
    run_tasks().await;
    assert_eq!(DECODED.take(), 0, "a refresh decodes nothing");
}

#[tokio::test]
async fn each_caller_of_a_shared_load_decodes_the_value_once() {
    let (_, cache, _) = world();
    let fetch = || cache.fetch("k").outcome(|_| load(1));
    let (one, two) = tokio::join!(fetch(), fetch());
    for found in [one, two] {
        assert_eq!(found.unwrap().value, Some(Counted(1)));
    }
    assert_eq!((DECODED.take(), cache.stats().loads), (2, 1));
}

#[tokio::test]
async fn stale_value_that_a_soft_timeout_cannot_renew_is_decoded_once() {
    let (_, cache, time) = world();
    cache.fetch("k").prime(&Counted(1)).await.unwrap();
    time.advance(MINUTE);
    let cache: &'static _ = Box::leak(Box::new(cache));
    let fetch = || cache.fetch("k").soft_timeout(SECOND);
    let failed: Counted = fetch().load(fails()).await.unwrap();
    assert_eq!(failed, Counted(1));
    DECODED.take();
    let stale = fetch().outcome(|_| load(2)).await.unwrap();
    assert!(matches!(stale.outcome, FetchOutcome::Stale { .. }), "no load in the backoff");
    assert_eq!((stale.value, DECODED.take()), (Some(Counted(1)), 1));
    time.advance(MINUTE);
    let hangs = |_| pending::<Result<Counted, io::Error>>();
    let waits = tokio::spawn(async move { fetch().load(hangs).await });
    run_tasks().await;
    assert_eq!(DECODED.take(), 1);
    time.advance(SECOND);
    assert_eq!((waits.await.unwrap().unwrap(), DECODED.take()), (Counted(1), 0));
    assert_eq!(cache.stats()[Operation::Fetch].stale, 3);
}
