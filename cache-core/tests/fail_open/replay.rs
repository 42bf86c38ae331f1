//! The background task completes pending deletes, and removes only entries that existed when the
//! write failed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cache_core::{
    Cache, ErrorKind, FetchSettings, Keyspace, Result, Timeout, Ttl,
    layer::{BreakerSettings, Operation},
    secs,
    store::{Backend, Inline},
    testing::{FakeClock, Fault, Faulty, Model},
};

use crate::{down, writes};

/// Far longer than the background task needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns two caches over one store, as in two processes. The calls of the first cache can fail.
fn world() -> (FakeClock, Faulty, Cache, Cache) {
    world_with(false)
}

fn world_with(fenced: bool) -> (FakeClock, Faulty, Cache, Cache) {
    let time = FakeClock::new();
    let model: Arc<dyn Backend> = Arc::new(Inline::new(Model::new(time.clock())));
    let store = Faulty::new(Arc::clone(&model));
    let mut fetch = FetchSettings::default();
    fetch.fenced = Some(fenced);
    let cache = |store: Arc<dyn Backend>| {
        let builder = Cache::builder(store).clock(time.clock()).breaker(BreakerSettings::off());
        builder.fetch(fetch).build("test").unwrap()
    };
    let (mine, theirs) = (cache(Arc::new(store.clone())), cache(model));
    (time, store, mine, theirs)
}

/// Moves the clock until no key is marked.
async fn wait_until_unmarked(time: &FakeClock, cache: &Cache) {
    wait_until_marked(time, cache, 0).await;
}

/// Moves the clock until this number of keys is marked.
async fn wait_until_marked(time: &FakeClock, cache: &Cache, count: u64) {
    let began = Instant::now();
    while cache.stats().tombstones > count {
        assert!(began.elapsed() < PATIENCE, "keys are left: {:?}", cache.stats());
        time.advance(Duration::from_millis(100));
        // sleeps: the task runs on another thread and has no event
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn pending_delete_completes_without_a_call_for_the_key() -> Result<()> {
    let (time, store, mine, theirs) = world();
    let keys: Vec<_> = (0..250).map(|it| it.to_string()).collect();
    theirs.set_many(keys.iter().map(|it| (it, 1)), Timeout::Never).await?.into_result()?;
    down(&store, ErrorKind::Unavailable);
    mine.delete_many(&keys).await?;
    assert_eq!(mine.stats().tombstones, 250);
    store.heal();
    wait_until_unmarked(&time, &mine).await;
    assert!(theirs.get_many::<i32, _>(&keys).await?.is_empty(), "old values are left");
    assert_eq!(mine.stats().tombstones_removed, 250);
    Ok(())
}

/// The error tells the caller, and the delete is sent again although the caller may give up.
#[tokio::test]
async fn delete_whose_caller_saw_the_error_is_sent_again() -> Result<()> {
    static USERS: Keyspace<u64, i32> = Keyspace::new("user");
    for fenced in [false, true] {
        let (time, store, mine, theirs) = world_with(fenced);
        let (strict, second) = (mine.strict(), theirs.at_version(2));
        for key in ["one", "a", "b"] {
            theirs.set(key, &1, Timeout::Never).await?;
        }
        second.set("one", &1, Timeout::Never).await?;
        USERS.set(&theirs, &7, &1).await?;
        down(&store, ErrorKind::Unavailable);
        for error in [
            strict.delete("one").await.unwrap_err(),
            strict.delete_many(["a", "b"]).await.unwrap_err(),
            strict.at_version(2).delete("one").await.unwrap_err(),
            USERS.delete(&strict, &7).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
        assert_eq!(mine.stats().tombstones, 5);
        store.heal();
        wait_until_unmarked(&time, &mine).await;
        assert!(theirs.get_many::<i32, _>(["one", "a", "b"]).await?.is_empty(), "{fenced}");
        assert_eq!(second.get::<i32>("one").await?, None, "{fenced}: another version");
        assert_eq!(USERS.get(&theirs, &7).await?, None, "{fenced}: of a keyspace");
        // A write whose caller saw the error leaves the old value, as the error says.
        down(&store, ErrorKind::Unavailable);
        strict.set("one", &2, Timeout::Never).await.unwrap_err();
        assert_eq!(mine.stats().tombstones, 0);
        // Nor is a delete sent again that the store refused.
        strict.delete("a key").await.unwrap_err();
        assert_eq!(mine.stats().tombstones, 0);
    }
    Ok(())
}

/// Before, an `add` had two winners, and `ttl` reset a counter.
#[tokio::test]
async fn later_write_of_another_process_is_never_removed() -> Result<()> {
    let (time, store, mine, theirs) = world();
    let keys = ["add", "ttl", "has", "incr", "touch", "get"];
    down(&store, ErrorKind::Unavailable);
    mine.delete_many(keys).await?;
    store.heal();
    wait_until_unmarked(&time, &mine).await;
    for key in keys {
        assert!(theirs.add(key, &1, secs(60)).await?, "{key}");
    }
    assert!(!mine.add("add", &2, secs(60)).await?);
    assert!(mine.ttl("ttl").await?.is_some() && mine.has_key("has").await?);
    assert_eq!(mine.incr("incr", 1).await?, 2);
    assert!(mine.touch("touch", secs(9)).await?);
    assert_eq!(mine.get::<i32>("get").await?, Some(1));
    Ok(())
}

/// The cache reads the stale entry once and then only retries its removal.
#[tokio::test]
async fn entry_written_after_the_stale_entry_was_read_stays() -> Result<()> {
    let (_, store, mine, theirs) = world();
    theirs.set("k", &"old", Timeout::Never).await?;
    store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
    mine.delete("k").await?;
    // The cache reads the entry and cannot remove it.
    assert_eq!(mine.get::<String>("k").await?, None);
    theirs.delete("k").await?;
    assert!(theirs.add("k", &"new", Timeout::Never).await?);
    store.heal();
    assert_eq!(mine.get::<String>("k").await?.as_deref(), Some("new"));
    assert_eq!(mine.stats().tombstones, 0);
    Ok(())
}

#[tokio::test]
async fn has_key_touch_and_ttl_of_a_marked_key_remove_nothing() -> Result<()> {
    let (_, store, mine, theirs) = world();
    theirs.set("k", &1, Timeout::Never).await?;
    down(&store, ErrorKind::Unavailable);
    mine.delete("k").await?;
    store.heal();
    let before = store.all_calls();
    assert!(!mine.has_key("k").await? && !mine.touch("k", Timeout::Default).await?);
    assert_eq!(mine.ttl("k").await?, None, "a marked key counts as deleted");
    assert_eq!(store.all_calls(), before);
    assert_eq!(theirs.ttl("k").await?, Some(Ttl::Forever));
    Ok(())
}

#[tokio::test]
async fn tombstone_ends_when_the_stale_entry_has_expired() -> Result<()> {
    let (time, store, mine, theirs) = world();
    let keys: Vec<_> = (0..100).map(|it| it.to_string()).collect();
    // The default of the alias is 300 s, and a tombstone lasts at least a day. This lifetime is
    // longer.
    mine.set("long", &1, secs(172_800)).await?;
    down(&store, ErrorKind::Unavailable);
    for key in &keys {
        mine.set(key, &1, secs(2)).await?;
    }
    mine.delete("long").await?;
    time.advance(Duration::from_secs(172_790));
    assert_eq!(mine.get::<i32>("long").await?, None);
    assert!(theirs.has_key("long").await?, "the old value has expired");
    assert_eq!(mine.stats().tombstones, 101);
    time.advance(Duration::from_secs(20));
    wait_until_unmarked(&time, &mine).await;
    assert_eq!(mine.stats().tombstones_removed, 0, "a delete succeeded while the store was down");
    Ok(())
}

/// Before, 10,000 writes of one outage filled the table for ever, and the deletes of the next
/// outage were lost.
#[tokio::test]
async fn full_tombstone_table_loses_no_delete() -> Result<()> {
    let (_, store, mine, theirs) = world();
    theirs.set_many([("deleted", 1), ("other", 1)], Timeout::Never).await?.into_result()?;
    down(&store, ErrorKind::Unavailable);
    for n in 0..10_000 {
        mine.set(&n.to_string(), &1, secs(2)).await?;
    }
    mine.delete("deleted").await?;
    assert_eq!(mine.stats().tombstones_lost, 1);
    store.heal();
    assert_eq!(mine.get::<i32>("deleted").await?, None, "a deleted value is served");
    assert_eq!(
        mine.get::<i32>("other").await?,
        Some(1),
        "the key without a failed write is a miss"
    );
    assert!(!mine.add("other", &2, Timeout::Default).await?, "its entry was removed");
    theirs.set("deleted", &2, Timeout::Default).await?;
    assert_eq!(
        mine.get::<i32>("deleted").await?,
        Some(2),
        "the value written after the delete is not served"
    );
    mine.clear().await?;
    assert_eq!(mine.stats().tombstones, 0);
    theirs.set("deleted", &3, Timeout::Default).await?;
    assert_eq!(mine.get::<i32>("deleted").await?, Some(3));
    assert_eq!(store.calls(Operation::Clear), 1);
    Ok(())
}

#[tokio::test]
async fn keys_of_a_dead_server_do_not_delay_the_delete_of_another_key() -> Result<()> {
    let (time, store, mine, theirs) = world();
    let dead: Vec<_> = (0..300).map(|it| format!("dead-{it}")).collect();
    theirs.set_many(dead.iter().map(|it| (it.as_str(), 1)), Timeout::Never).await?.into_result()?;
    theirs.set("live", &1, Timeout::Never).await?;
    down(&store, ErrorKind::Unavailable);
    mine.delete_many(&dead).await?;
    mine.delete("live").await?;
    store.inject(|call| match call.key {
        Some(key) if key.contains("dead") => Fault::Error(ErrorKind::Unavailable),
        _ => Fault::None,
    });
    wait_until_marked(&time, &mine, 300).await;
    assert!(!theirs.has_key("live").await?, "{:?}", mine.stats());
    assert_eq!(mine.stats().tombstones, 300);
    Ok(())
}
