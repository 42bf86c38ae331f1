//! Pending deletes: which call sends the delete of a marked key, and which calls wait for it.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use cache_core::{
    Cache, Error, ErrorKind, Result, Timeout,
    layer::{Call, Layer, Layered, Operation, Reply},
    store::{Backend as _, Expiry, Inline, SetMode},
    testing::{Fault, Faulty, Model},
};

use crate::{both, cache_over, down, kind, timed, writes};

/// Polls once a future that waits.
fn poll_once<F: Future>(future: Pin<&mut F>) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.poll(&mut cx).is_pending());
}

/// Leaves `k` marked, with a stale value.
async fn marked(store: &Faulty, cache: &Cache) -> Result<()> {
    cache.set("k", &0, Timeout::Default).await?;
    store.inject(writes(Fault::Error(ErrorKind::Unavailable)));
    cache.delete("k").await?;
    store.heal();
    Ok(())
}

/// The delete that a reader sends for a marked key may arrive after the key was written again. It
/// must not remove the entry of an `add` that succeeded in between.
#[tokio::test]
async fn late_delete_does_not_remove_an_added_entry() -> Result<()> {
    let (time, store, cache) = timed();
    marked(&store, &cache).await?;
    let held = store.hold(Operation::CompareAndDelete);
    let mut reader = Box::pin(cache.get::<u8>("k"));
    poll_once(reader.as_mut());
    let second = Duration::from_secs(1);
    cache.set("k", &1, second).await?;
    assert_eq!(cache.get::<u8>("k").await?, Some(1), "reads do not wait");
    time.advance(second);
    let mut add = Box::pin(cache.add("k", &2, Timeout::Default));
    poll_once(add.as_mut());
    held.release();
    reader.await?;
    assert!(add.await?);
    assert!(!cache.add("k", &3, Timeout::Default).await?, "there is one winner");
    assert_eq!(cache.stats().tombstones, 0);
    Ok(())
}

/// The future that sends the delete may never be polled again.
#[tokio::test]
async fn unpolled_delete_does_not_delay_an_add_for_ever() -> Result<()> {
    let (time, store, cache) = timed();
    marked(&store, &cache).await?;
    let held = store.hold(Operation::CompareAndDelete);
    let mut reader = pin!(cache.get::<u8>("k"));
    poll_once(reader.as_mut());
    held.release();
    time.advance(Duration::from_secs(10));
    assert!(
        cache.add("k", &2, Timeout::Default).await?,
        "the permit of the reader has not expired"
    );
    reader.await?;
    assert!(!cache.add("k", &3, Timeout::Default).await?, "the late delete removed the entry");
    Ok(())
}

/// One call for each key would wait for a frozen store once per key.
#[tokio::test]
async fn batch_sends_its_pending_deletes_in_one_call() -> Result<()> {
    for (store, cache) in both() {
        let keys: Vec<_> = (0..100).map(|it| it.to_string()).collect();
        down(&store, ErrorKind::Unavailable);
        cache.delete_many(&keys).await?;
        let before = store.all_calls();
        assert!(cache.get_many::<i32, _>(&keys).await?.is_empty());
        assert_eq!(store.all_calls() - before, 1, "the deletes fail");
        assert_eq!(cache.stats().tombstones, 100);
        store.heal();
        assert!(cache.get_many::<i32, _>(&keys).await?.is_empty());
        assert_eq!(store.all_calls() - before, 3, "the deletes and the reads");
        assert_eq!(cache.stats().tombstones, 0);
    }
    Ok(())
}

/// The contract: "What was not written is always listed", also if the store returns no result for
/// the key.
#[tokio::test]
async fn keys_without_a_result_of_the_store_count_as_not_written() -> Result<()> {
    #[derive(Debug)]
    struct TooFewResults;
    impl Layer for TooFewResults {
        async fn around<R: Reply, F: Future<Output = R> + Send>(
            &self,
            call: Call<'_>,
            run: impl Fn() -> F + Send + Sync,
        ) -> R {
            let reply = run().await;
            match call.operation {
                Operation::SetMany | Operation::DeleteMany | Operation::GetMany => none(call),
                _ => reply,
            }
        }
        fn around_sync<R: Reply>(&self, call: Call<'_>, _: impl Fn() -> R) -> R {
            none(call)
        }
    }
    fn none<R: Reply>(mut call: Call<'_>) -> R {
        call.keys = 0;
        R::failed(&call, Error::new(ErrorKind::Backend, "no key has a result"))
    }
    let store = Layered::new(Arc::new(TooFewResults), Arc::new(Inline::new(Model::default())));
    let cache = Cache::new("test", store).strict();
    let failed = cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    assert_eq!(failed.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(kind(cache.delete_many(["a"]).await), ErrorKind::Backend);
    assert_eq!(kind(cache.get_many::<i32, _>(["a"]).await), ErrorKind::Backend);
    Ok(())
}

#[tokio::test]
async fn reads_during_a_pending_delete_are_misses() {
    let store = Faulty::new(Arc::new(Inline::new(Model::default())));
    let cache = cache_over(&store);
    cache.set("k", &"stale", Timeout::Default).await.unwrap();
    down(&store, ErrorKind::Unavailable);
    assert!(!cache.delete("k").await.unwrap());
    store.heal();
    let held = store.hold(Operation::CompareAndDelete);
    let sent = store.calls(Operation::CompareAndDelete);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<String>("k").await }
    });
    store.arrived(Operation::CompareAndDelete, sent + 1).await;
    assert_eq!(cache.get::<String>("k").await.unwrap(), None, "the stale value was served");
    assert!(!cache.has_key("k").await.unwrap());
    assert!(cache.get_many::<String, _>(["k"]).await.unwrap().is_empty());
    // A strict caller waits, because it must have the true result.
    let strict = tokio::spawn({
        let cache = cache.strict();
        async move { (cache.get::<String>("k").await, cache.get_many::<String, _>(["k"]).await) }
    });
    held.release();
    assert_eq!(first.await.unwrap().unwrap(), None);
    let (one, many) = strict.await.unwrap();
    assert_eq!(one.unwrap(), None);
    assert!(many.unwrap().is_empty());
    assert_eq!(store.calls(Operation::CompareAndDelete), sent + 1, "a second removal was sent");
}

/// The read of a pending delete may arrive after the key was deleted and written again.
#[tokio::test]
async fn late_read_of_a_pending_delete_does_not_remove_a_newer_entry() -> Result<()> {
    for is_deleted in [false, true] {
        let (_, store, cache) = timed();
        marked(&store, &cache).await?;
        let held = store.hold(Operation::Get);
        let mut reader = Box::pin(cache.get::<u8>("k"));
        poll_once(reader.as_mut());
        if is_deleted {
            cache.delete("k").await?;
            // As another process does, which does not know of the pending delete.
            store.set(":1:k", "1".into(), Expiry::Never, SetMode::Always).await?;
        } else {
            cache.set("k", &1, Timeout::Default).await?;
        }
        held.release();
        assert_eq!(reader.await?, Some(1));
        assert_eq!(cache.get::<u8>("k").await?, Some(1), "deleted first: {is_deleted}");
        assert_eq!(cache.stats().tombstones, 0);
    }
    Ok(())
}

/// The store has the new entry, and its reply to the write is still on its way.
#[tokio::test]
async fn pending_delete_does_not_remove_an_entry_that_is_being_written() -> Result<()> {
    let (time, store, cache) = timed();
    marked(&store, &cache).await?;
    let held = store.hold(Operation::Set);
    let mut write = Box::pin(cache.set("k", &1, Timeout::Default));
    poll_once(write.as_mut());
    let none = store.calls(Operation::CompareAndDelete);
    assert_eq!(cache.get::<u8>("k").await?, None);
    assert_eq!(kind(cache.strict().get::<u8>("k").await), ErrorKind::Unavailable);
    assert_eq!(store.calls(Operation::CompareAndDelete), none);
    held.release();
    write.await?;
    assert_eq!(cache.get::<u8>("k").await?, Some(1));
    // A write that is never polled again does not keep the old entry for ever.
    marked(&store, &cache).await?;
    let held = store.hold(Operation::Set);
    let mut write = Box::pin(cache.set("k", &2, Timeout::Default));
    poll_once(write.as_mut());
    time.advance(Duration::from_secs(10));
    assert_eq!(cache.strict().get::<u8>("k").await?, None);
    assert_eq!(store.calls(Operation::CompareAndDelete), none + 1);
    drop(held);
    Ok(())
}
