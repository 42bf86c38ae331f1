//! The contract's section "When the store fails", line by line, for a store that may wait and for one that never does.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use cache_core::{
    Backend, Cache, Error, ErrorKind, Expiry, Inline, Result, SetMode, Timeout,
    layers::{Around, BreakerSettings, Call, Hook, Operation, Reply},
    secs,
    testing::{FakeClock, Fault, Faulty, Model},
};

/// The kinds that tell of the store's health.
const OPEN: [ErrorKind; 3] = [ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::Backend];

fn cache_over(store: &Faulty) -> Cache {
    let builder = Cache::builder(Arc::new(store.clone())).key_prefix("p");
    // Every call is to reach the store here; the breaker has tests of its own.
    builder.breaker(BreakerSettings::off()).build("test").unwrap()
}

/// The way of stores that may wait, and that of those that never do.
fn both() -> [(Faulty, Cache); 2] {
    let model = || Arc::new(Inline::new(Model::default()));
    [Faulty::new(model()), Faulty::inline(model())].map(|store| {
        let cache = cache_over(&store);
        (store, cache)
    })
}

fn down(store: &Faulty, kind: ErrorKind) {
    store.inject(move |_| Fault::Error(kind));
}

/// The store loses its answers, or does not do what it is asked, but for reads.
fn writes(fault: Fault) -> impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static {
    move |call| match call.operation {
        Operation::Set | Operation::SetMany | Operation::Delete | Operation::DeleteMany => fault,
        _ => Fault::None,
    }
}

/// Writes past the cache.
async fn put(store: &Faulty, key: &str, value: &'static str) {
    let key = format!("p:1:{key}");
    let healthy = store.set(&key, value.into(), Expiry::Never, SetMode::Always).await;
    assert!(healthy.unwrap());
}

fn kind<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    answer.unwrap_err().kind()
}

#[tokio::test]
async fn reads_answer_as_an_empty_store() -> Result<()> {
    for (store, cache) in both() {
        cache.set_many([("a", 1), ("b", 2)], None).await?;
        for kind in OPEN {
            down(&store, kind);
            assert_eq!(cache.get::<i32>("a").await?, None);
            assert_eq!(cache.get_bytes("a").await?, None);
            assert!(cache.get_many::<i32, _>(["a", "b"]).await?.is_empty());
            assert!(!cache.has_key("a").await?);
            assert_eq!(cache.ttl("a").await?, None);
            assert!(!cache.touch("a", secs(9)).await?);
        }
        store.heal();
        assert_eq!(cache.get::<i32>("a").await?, Some(1), "a failed read changes nothing");
    }
    Ok(())
}

#[tokio::test]
async fn writes_answer_as_done_without_effect() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            down(&store, kind);
            cache.set("a", &1, None).await?;
            cache.set_bytes("a", "x", None).await?;
            cache.set("a", &1, secs(0)).await?;
            assert!(!cache.delete("a").await?);
            assert!(!cache.touch("a", secs(0)).await?);
            assert_eq!(cache.delete_many(["a", "b"]).await?, 0);
        }
    }
    Ok(())
}

#[tokio::test]
async fn set_many_lists_every_key_that_it_did_not_write() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            for timeout in [Timeout::Default, secs(0)] {
                down(&store, kind);
                let failed = cache.set_many([("a", 1), ("b", 2), ("a", 3)], timeout).await?;
                let keys: Vec<_> =
                    failed.iter().map(|it| (it.key.as_str(), it.error.kind())).collect();
                assert_eq!(keys, [("a", kind), ("b", kind)]);
                let failed = cache.strict().set_many([("a", 1)], timeout).await?;
                assert_eq!(failed.len(), 1, "strict, too");
            }
        }
        store.heal();
        assert!(cache.set_many([("a", 1), ("b", 2)], None).await?.is_empty());
    }
    Ok(())
}

/// D24: an invented answer there is double execution, a wrong count, or data thought gone.
#[tokio::test]
async fn what_would_be_an_invented_answer_never_fails_open() {
    for (store, cache) in both() {
        for expected in OPEN {
            down(&store, expected);
            let answers = [
                kind(cache.add("k", &1, None).await),
                kind(cache.add("k", &1, secs(0)).await),
                kind(cache.replace("k", &1, None).await),
                kind(cache.replace("k", &1, secs(0)).await),
                kind(cache.pop::<i32>("k").await),
                kind(cache.update("k", None, |it: i32| it).await),
                kind(cache.incr("k", 1).await),
                kind(cache.decr("k", 1).await),
                kind(cache.incr_or("k", 1, 0, None).await),
                kind(cache.incr_or("k", 1, 0, secs(0)).await),
                kind(cache.incr_version("k", 1).await),
                kind(cache.incr_version("k", 0).await),
                kind(cache.decr_version("k", 1).await),
                kind(cache.clear().await),
                kind(cache.clear_store().await),
                kind(cache.check().await),
                kind(cache.close().await),
            ];
            assert!(answers.iter().all(|it| *it == expected), "{answers:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_the_stores_health_is_always_returned() {
    for (store, cache) in both() {
        for expected in ErrorKind::ALL.into_iter().filter(|it| !OPEN.contains(it)) {
            down(&store, expected);
            let mut answers = vec![
                kind(cache.has_key("k").await),
                kind(cache.ttl("k").await),
                kind(cache.touch("k", None).await),
                kind(cache.set("k", &1, None).await),
                kind(cache.delete("k").await),
                kind(cache.delete_many(["k"]).await),
            ];
            // Of a read it tells of what is stored, and has tests of its own, in `no_bytes.rs`.
            if expected != ErrorKind::Codec {
                answers.extend([
                    kind(cache.get::<i32>("k").await),
                    kind(cache.get_bytes("k").await),
                    kind(cache.get_many::<i32, _>(["k"]).await),
                    kind(cache.get_or_set("k", None, || async { 1 }).await),
                ]);
            }
            assert!(answers.iter().all(|it| *it == expected), "{expected:?}: {answers:?}");
            assert_eq!(cache.stats().marked_keys, 0, "{expected:?}: nothing failed open");
        }
    }
}

async fn all_errors(cache: &Cache) -> Vec<ErrorKind> {
    vec![
        kind(cache.get::<i32>("k").await),
        kind(cache.get_bytes("k").await),
        kind(cache.get_many::<i32, _>(["k"]).await),
        kind(cache.has_key("k").await),
        kind(cache.ttl("k").await),
        kind(cache.touch("k", None).await),
        kind(cache.set("k", &1, None).await),
        kind(cache.set_bytes("k", "x", None).await),
        kind(cache.delete("k").await),
        kind(cache.delete_many(["k"]).await),
    ]
}

#[tokio::test]
async fn strict_handles_and_strict_settings_return_every_error() {
    for (store, cache) in both() {
        let builder = Cache::builder(Arc::new(store.clone())).breaker(BreakerSettings::off());
        let by_setting = builder.fail_open(false).build("x").unwrap();
        for expected in OPEN {
            down(&store, expected);
            for cache in [cache.strict(), by_setting.clone(), cache.strict().at_version(2)] {
                let answers = all_errors(&cache).await;
                assert!(answers.iter().all(|it| *it == expected), "{expected:?}: {answers:?}");
            }
        }
        store.heal();
        assert_eq!(cache.stats().marked_keys, 0, "who is told of a failure needs no mark");
    }
}

#[tokio::test]
async fn of_a_batch_that_fails_in_part_the_rest_counts() -> Result<()> {
    for (store, cache) in both() {
        cache.set_many([("a", 1), ("down", 2), ("b", 3)], None).await?;
        store.fail_keys(|key| key.ends_with("down"), ErrorKind::Unavailable);
        let found = cache.get_many::<i32, _>(["a", "down", "b"]).await?;
        assert_eq!(found, [("a", 1), ("b", 3)].into(), "the hits there are");
        assert_eq!(
            kind(cache.strict().get_many::<i32, _>(["a", "down"]).await),
            ErrorKind::Unavailable
        );
        let failed = cache.set_many([("a", 4), ("down", 5), ("b", 6)], None).await?;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].key, "down");
        assert_eq!(cache.delete_many(["a", "down", "b"]).await?, 2);
        assert_eq!(cache.stats().marked_keys, 1, "only what failed is marked");
        store.heal();
        assert_eq!(cache.get::<i32>("down").await?, None, "its old value is not served");
    }
    Ok(())
}

#[tokio::test]
async fn failures_are_counted_apart_from_misses() -> Result<()> {
    for (store, cache) in both() {
        cache.get::<i32>("k").await?;
        down(&store, ErrorKind::Unavailable);
        cache.get::<i32>("k").await?;
        cache.get_many::<i32, _>(["a", "b"]).await?;
        cache.set("other", &1, None).await?;
        cache.incr("k", 1).await.unwrap_err();
        let stats = cache.stats();
        assert_eq!((stats[Operation::Get].misses, stats[Operation::Get].failures), (1, 1));
        assert_eq!((stats[Operation::GetMany].misses, stats[Operation::GetMany].failures), (0, 2));
        assert_eq!((stats[Operation::Set].done, stats[Operation::Set].failures), (0, 1));
        assert_eq!(stats[Operation::Incr].failures, 1);
        store.heal();
        cache.get::<i32>("k").await?;
        assert_eq!(cache.stats()[Operation::Get].misses, 2);
    }
    Ok(())
}

/// The calls that mark a key when they fail open.
async fn write_by(cache: &Cache, how: &str) -> Result<()> {
    match how {
        "set" => cache.set("k", &2, None).await,
        "set_bytes" => cache.set_bytes("k", "2", None).await,
        "set to zero" => cache.set("k", &2, secs(0)).await,
        "set_many" => cache.set_many([("k", 2)], None).await.map(drop),
        "set_many to zero" => cache.set_many([("k", 2)], secs(0)).await.map(drop),
        "delete" => cache.delete("k").await.map(drop),
        "delete_many" => cache.delete_many(["k"]).await.map(drop),
        "touch to zero" => cache.touch("k", secs(0)).await.map(drop),
        _ => unreachable!("{how}"),
    }
}

const WRITES: [&str; 8] = [
    "set",
    "set_bytes",
    "set to zero",
    "set_many",
    "set_many to zero",
    "delete",
    "delete_many",
    "touch to zero",
];

/// "So a value that was deleted during an outage is not served when the store returns."
#[tokio::test]
async fn a_stale_value_is_not_served_after_a_write_that_failed_open() -> Result<()> {
    for (store, cache) in both() {
        for how in WRITES {
            for fault in
                [Fault::Error(ErrorKind::Unavailable), Fault::ErrorAfter(ErrorKind::TimedOut)]
            {
                put(&store, "k", "1").await;
                assert_eq!(cache.get::<i32>("k").await?, Some(1), "{how}");
                store.inject(writes(fault));
                write_by(&cache, how).await?;
                assert_eq!(cache.stats().marked_keys, 1, "{how}");
                // Reads get through to the store, but its answers are stale.
                assert_eq!(cache.get::<i32>("k").await?, None, "{how}");
                assert!(cache.get_many::<i32, _>(["k"]).await?.is_empty(), "{how}");
                assert!(!cache.has_key("k").await?, "{how}");
                assert_eq!(cache.ttl("k").await?, None, "{how}");
                assert_eq!(cache.clone().get_bytes("k").await?, None, "{how}: another handle");
                store.heal();
                assert_eq!(
                    cache.get::<i32>("k").await?,
                    None,
                    "{how}: the delete gets through first"
                );
                assert_eq!(cache.stats().marked_keys, 0, "{how}");
                put(&store, "k", "3").await;
                assert_eq!(cache.get::<i32>("k").await?, Some(3), "{how}: as any key");
                cache.delete("k").await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_write_that_gets_through_ends_the_mark() -> Result<()> {
    for (store, cache) in both() {
        for how in WRITES {
            put(&store, "k", "1").await;
            store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
            cache.delete("k").await?;
            assert_eq!(cache.stats().marked_keys, 1);
            store.heal();
            write_by(&cache, how).await?;
            assert_eq!(cache.stats().marked_keys, 0, "{how}");
            let deletes = store.calls(Operation::Delete);
            let found = cache.get::<i32>("k").await?;
            assert!(matches!(found, None | Some(2)), "{how}: {found:?}");
            assert_eq!(store.calls(Operation::Delete), deletes, "{how}: nothing is owed");
        }
    }
    Ok(())
}

#[tokio::test]
async fn clear_ends_all_marks() -> Result<()> {
    for (store, cache) in both() {
        down(&store, ErrorKind::Unavailable);
        cache.delete_many(["a", "b", "c"]).await?;
        assert_eq!(cache.stats().marked_keys, 3);
        cache.clear().await.unwrap_err();
        assert_eq!(cache.stats().marked_keys, 3, "a clear that failed removed nothing");
        store.heal();
        cache.clear().await?;
        assert_eq!(cache.stats().marked_keys, 0);
    }
    Ok(())
}

/// What decides by what is there must not decide by what should be gone.
#[tokio::test]
async fn no_call_decides_by_a_stale_value() -> Result<()> {
    for (store, cache) in both() {
        let mark = async || {
            put(&store, "k", "41").await;
            store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
            cache.delete("k").await?;
            assert_eq!(cache.stats().marked_keys, 1);
            // While the delete does not get through, these cannot answer.
            assert_eq!(kind(cache.add("k", &1, None).await), ErrorKind::Unavailable);
            assert_eq!(kind(cache.incr("k", 1).await), ErrorKind::Unavailable);
            assert_eq!(kind(cache.pop::<i32>("k").await), ErrorKind::Unavailable);
            store.heal();
            Ok::<_, Error>(())
        };
        mark().await?;
        assert!(cache.add("k", &1, None).await?, "add");
        mark().await?;
        assert!(!cache.replace("k", &1, None).await?, "replace");
        mark().await?;
        assert!(!cache.touch("k", None).await?, "touch");
        mark().await?;
        assert_eq!(cache.pop::<i32>("k").await?, None, "pop");
        mark().await?;
        assert_eq!(cache.update("k", None, |it: i32| it + 1).await?, None, "update");
        mark().await?;
        assert_eq!(kind(cache.incr("k", 1).await), ErrorKind::KeyNotFound, "incr");
        mark().await?;
        assert_eq!(cache.incr_or("k", 1, 0, None).await?, 1, "incr_or");
        mark().await?;
        assert_eq!(kind(cache.incr_version("k", 1).await), ErrorKind::KeyNotFound, "incr_version");
        mark().await?;
        assert_eq!(cache.get_or_set("k", None, || async { 7 }).await?, 7, "get_or_set");
        assert_eq!(cache.get::<i32>("k").await?, Some(7), "what was loaded is stored");
    }
    Ok(())
}

/// The target of a move may be marked as well: the moved entry must not fall to the delete that is owed.
#[tokio::test]
async fn an_entry_moved_to_a_marked_key_stays() -> Result<()> {
    for (store, cache) in both() {
        cache.set("k", "v", None).await?;
        store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
        cache.at_version(2).delete("k").await?;
        store.heal();
        assert_eq!(cache.incr_version("k", 1).await?, 2);
        assert_eq!(cache.at_version(2).get::<String>("k").await?.as_deref(), Some("v"));
    }
    Ok(())
}

/// "`get_or_set` loads and returns the value when the store fails, and does not write to a store that just failed it."
#[tokio::test]
async fn loads_go_on_without_the_store() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN {
            down(&store, kind);
            let before = store.all_calls();
            assert_eq!(cache.get_or_set("k", None, || async { 7 }).await?, 7);
            assert_eq!(store.all_calls() - before, 1, "one read, no write");
        }
        let load = || async { panic!("nothing is loaded") };
        let strict = cache.strict().get_or_set::<i32, _>("k", None, load).await;
        assert_eq!(kind(strict), ErrorKind::Backend, "the read's error, without loading");
        store.heal();
        assert!(!cache.has_key("k").await?);
    }
    Ok(())
}

/// "A failed write of a loaded value is counted, never returned", in strict mode too; and nothing stale is behind it.
#[tokio::test]
async fn a_loaded_value_that_cannot_be_stored_is_given_all_the_same() -> Result<()> {
    for (store, cache) in both() {
        for kind in OPEN.into_iter().chain([ErrorKind::TooLarge, ErrorKind::Unsupported]) {
            store.inject(writes(Fault::Error(kind)));
            let before = cache.stats().load_writes_failed;
            assert_eq!(cache.get_or_set("k", None, || async { 7 }).await?, 7, "{kind:?}");
            assert_eq!(cache.strict().get_or_set("k", None, || async { 8 }).await?, 8, "{kind:?}");
            assert_eq!(cache.stats().load_writes_failed - before, 2, "{kind:?}");
        }
        store.heal();
        assert!(!cache.has_key("k").await?);
    }
    Ok(())
}

/// The store of a cache whose deadline is 500 ms, and a clock.
fn timed() -> (FakeClock, Faulty, Cache) {
    let time = FakeClock::new();
    let store = Faulty::new(Arc::new(Inline::new(Model::new(time.clock()))));
    let cache = Cache::builder(Arc::new(store.clone())).clock(time.clock()).build("test").unwrap();
    (time, store, cache)
}

/// Makes a call that hangs, and lets time pass until its deadline and not before.
async fn hangs<T: Send + 'static>(
    time: &FakeClock,
    limit: Duration,
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let call = tokio::spawn(call);
    time.sleepers(1).await;
    time.advance(limit.checked_sub(Duration::from_millis(1)).unwrap());
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!call.is_finished(), "its time is not over");
    time.advance(Duration::from_millis(1));
    call.await.unwrap()
}

/// "500 ms per round trip once connected (by default)" (D23: Django's memcached client waited as long as the server stayed
/// frozen); then as any failure.
#[tokio::test]
async fn d23_a_store_that_does_not_answer_is_given_up() -> Result<()> {
    let (time, store, cache) = timed();
    let limit = Duration::from_millis(500);
    store.inject(|_| Fault::Hang);
    let own = cache.clone();
    assert_eq!(hangs(&time, limit, async move { own.get::<i32>("k").await }).await?, None);
    let own = cache.strict();
    let answer = hangs(&time, limit, async move { own.get::<i32>("k").await }).await;
    assert_eq!(kind(answer), ErrorKind::TimedOut);
    let own = cache.clone();
    let answer = hangs(&time, limit, async move { own.incr("k", 1).await }).await;
    assert_eq!(kind(answer), ErrorKind::TimedOut);
    let own = cache.clone();
    hangs(&time, limit, async move { own.set("k", &1, None).await }).await?;
    assert_eq!(cache.stats().marked_keys, 1);
    store.heal();
    assert_eq!(cache.get::<i32>("k").await?, None);
    cache.set("k", &2, None).await?;
    assert_eq!(cache.get::<i32>("k").await?, Some(2), "the handle works again without a restart");
    Ok(())
}

/// "After a time-out or a dropped future the outcome of a write is unknown (an `incr` may have counted)."
#[tokio::test]
async fn a_timed_out_increment_may_have_counted() -> Result<()> {
    let (time, store, cache) = timed();
    cache.set("k", &1, None).await?;
    store.inject(|call| match call.operation {
        Operation::Incr => Fault::HangAfter,
        _ => Fault::None,
    });
    let own = cache.clone();
    let answer = hangs(&time, Duration::from_millis(500), async move { own.incr("k", 1).await });
    assert_eq!(kind(answer.await), ErrorKind::TimedOut);
    store.heal();
    assert_eq!(cache.get::<i32>("k").await?, Some(2));
    Ok(())
}

/// "none for `clear` and `check`".
#[tokio::test]
async fn clear_and_check_take_as_long_as_they_take() -> Result<()> {
    let (time, store, cache) = timed();
    store.inject(|_| Fault::None);
    for operation in [Operation::Clear, Operation::ClearStore, Operation::Check, Operation::Close] {
        let (held, calls) = (store.hold(operation), store.calls(operation));
        let own = cache.clone();
        let call = tokio::spawn(async move {
            match operation {
                Operation::Clear => own.clear().await,
                Operation::ClearStore => own.clear_store().await,
                Operation::Check => own.check().await,
                _ => own.close().await,
            }
        });
        store.arrived(operation, calls + 1).await;
        time.advance(Duration::from_secs(3600));
        held.release();
        call.await.unwrap()?;
    }
    Ok(())
}

/// A dropped write says nothing of the store's health, but its outcome is unknown: nothing hangs behind it.
#[tokio::test]
async fn a_dropped_call_holds_nothing_up() -> Result<()> {
    let (_, store, cache) = timed();
    let held = store.hold(Operation::Delete);
    tokio::select! {
        _ = cache.delete("k") => panic!("it is held"),
        () = store.arrived(Operation::Delete, 1) => {}
    }
    held.release();
    cache.set("k", &1, None).await?;
    assert!(cache.delete("k").await?);
    Ok(())
}

/// Polls a future that waits, once.
fn poll_once<F: Future>(future: Pin<&mut F>) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.poll(&mut cx).is_pending());
}

/// Leaves `k` marked.
async fn marked(store: &Faulty, cache: &Cache) -> Result<()> {
    store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
    cache.delete("k").await?;
    store.heal();
    Ok(())
}

/// The delete that a reader sends for a marked key may arrive after the key was written again. It must not remove what an
/// `add` has won meanwhile.
#[tokio::test]
async fn a_late_delete_takes_no_add_back() -> Result<()> {
    let (time, store, cache) = timed();
    marked(&store, &cache).await?;
    let held = store.hold(Operation::Delete);
    let mut reader = Box::pin(cache.get::<u8>("k"));
    poll_once(reader.as_mut());
    let second = Duration::from_secs(1);
    cache.set("k", &1, second).await?;
    assert_eq!(cache.get::<u8>("k").await?, Some(1), "reads do not wait");
    time.advance(second);
    let mut add = Box::pin(cache.add("k", &2, None));
    poll_once(add.as_mut());
    held.release();
    reader.await?;
    assert!(add.await?);
    assert!(!cache.add("k", &3, None).await?, "there is one winner");
    assert_eq!(cache.stats().marked_keys, 0);
    Ok(())
}

/// A future that nobody polls may be the one that sends the delete.
#[tokio::test]
async fn nobody_waits_for_ever_for_anothers_delete() -> Result<()> {
    let (time, store, cache) = timed();
    marked(&store, &cache).await?;
    let held = store.hold(Operation::Delete);
    let mut reader = pin!(cache.get::<u8>("k"));
    poll_once(reader.as_mut());
    held.release();
    let own = cache.clone();
    let limit = Duration::from_millis(500);
    time.advance(limit);
    let answer = hangs(&time, limit, async move { own.add("k", &2, None).await }).await;
    assert_eq!(kind(answer), ErrorKind::Unavailable);
    Ok(())
}

/// Else a store that is frozen would be waited for once per key.
#[tokio::test]
async fn a_batch_sends_the_deletes_that_are_owed_in_one_call() -> Result<()> {
    for (store, cache) in both() {
        let keys: Vec<_> = (0..100).map(|it| it.to_string()).collect();
        down(&store, ErrorKind::Unavailable);
        cache.delete_many(&keys).await?;
        let before = store.all_calls();
        assert!(cache.get_many::<i32, _>(&keys).await?.is_empty());
        assert_eq!(store.all_calls() - before, 1, "the deletes fail");
        assert_eq!(cache.stats().marked_keys, 100);
        store.heal();
        assert!(cache.get_many::<i32, _>(&keys).await?.is_empty());
        assert_eq!(store.all_calls() - before, 3, "the deletes and the reads");
        assert_eq!(cache.stats().marked_keys, 0);
    }
    Ok(())
}

/// "What was not written is always listed", also if the store says nothing of it.
#[tokio::test]
async fn a_store_that_answers_for_too_few_keys_has_not_written_them() -> Result<()> {
    #[derive(Debug)]
    struct Forgets;
    impl Hook for Forgets {
        async fn around<R: Reply, F: Future<Output = R> + Send>(
            &self,
            call: Call<'_>,
            run: impl Fn() -> F + Send + Sync,
        ) -> R {
            let answer = run().await;
            match call.operation {
                Operation::SetMany | Operation::DeleteMany | Operation::GetMany => none(call),
                _ => answer,
            }
        }
        fn around_sync<R: Reply>(&self, call: Call<'_>, _: impl Fn() -> R) -> R {
            none(call)
        }
    }
    fn none<R: Reply>(mut call: Call<'_>) -> R {
        call.keys = 0;
        R::failed(&call, Error::new(ErrorKind::Backend, "of no key"))
    }
    let store = Around::new(Arc::new(Forgets), Arc::new(Inline::new(Model::default())));
    let cache = Cache::new("test", store).strict();
    let failed = cache.set_many([("a", 1), ("b", 2)], None).await?;
    assert_eq!(failed.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(kind(cache.delete_many(["a"]).await), ErrorKind::Backend);
    assert_eq!(kind(cache.get_many::<i32, _>(["a"]).await), ErrorKind::Backend);
    Ok(())
}

#[tokio::test]
async fn while_the_owed_delete_is_on_its_way_others_read_misses() {
    let store = Faulty::new(Arc::new(Inline::new(Model::default())));
    let cache = cache_over(&store);
    cache.set("k", &"stale", None).await.unwrap();
    down(&store, ErrorKind::Unavailable);
    assert!(!cache.delete("k").await.unwrap());
    store.heal();
    let held = store.hold(Operation::Delete);
    let sent = store.calls(Operation::Delete);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<String>("k").await }
    });
    store.arrived(Operation::Delete, sent + 1).await;
    assert_eq!(cache.get::<String>("k").await.unwrap(), None, "the stale value was served");
    assert!(!cache.has_key("k").await.unwrap());
    assert!(cache.get_many::<String, _>(["k"]).await.unwrap().is_empty());
    let error = cache.strict().get::<String>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    held.release();
    assert_eq!(first.await.unwrap().unwrap(), None);
    assert_eq!(store.calls(Operation::Delete), sent + 1, "one delete is enough");
}
