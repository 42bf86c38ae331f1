//! The removal of a marked key's old entry: who does it, and who waits for it.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use cache_core::{
    Cache, Error, ErrorKind, Result, Timeout,
    layer::{Call, Layer, Layered, Operation, Reply},
    store::Inline,
    testing::{Fault, Faulty, Model},
};

use crate::{both, cache_over, down, kind, timed, writes};

/// Polls a future that waits, once.
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

/// The delete that a reader sends for a marked key may arrive after the key was written again. It must not remove what an
/// `add` has won meanwhile.
#[tokio::test]
async fn a_late_delete_takes_no_add_back() -> Result<()> {
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
    assert_eq!(cache.stats().marked_keys, 0);
    Ok(())
}

/// A future that nobody polls may be the one that sends the delete.
#[tokio::test]
async fn nobody_waits_for_ever_for_anothers_delete() -> Result<()> {
    let (time, store, cache) = timed();
    marked(&store, &cache).await?;
    let held = store.hold(Operation::CompareAndDelete);
    let mut reader = pin!(cache.get::<u8>("k"));
    poll_once(reader.as_mut());
    held.release();
    time.advance(Duration::from_secs(10));
    assert!(cache.add("k", &2, Timeout::Default).await?, "the right of the reader has ended");
    reader.await?;
    assert!(!cache.add("k", &3, Timeout::Default).await?, "and it removes nothing any more");
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
    impl Layer for Forgets {
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
    let store = Layered::new(Arc::new(Forgets), Arc::new(Inline::new(Model::default())));
    let cache = Cache::new("test", store).strict();
    let failed = cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    assert_eq!(failed.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(kind(cache.delete_many(["a"]).await), ErrorKind::Backend);
    assert_eq!(kind(cache.get_many::<i32, _>(["a"]).await), ErrorKind::Backend);
    Ok(())
}

#[tokio::test]
async fn while_the_owed_delete_is_on_its_way_others_read_misses() {
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
    // A strict caller waits: it is to have an answer.
    let strict = tokio::spawn({
        let cache = cache.strict();
        async move { (cache.get::<String>("k").await, cache.get_many::<String, _>(["k"]).await) }
    });
    held.release();
    assert_eq!(first.await.unwrap().unwrap(), None);
    let (one, many) = strict.await.unwrap();
    assert_eq!(one.unwrap(), None);
    assert!(many.unwrap().is_empty());
    assert_eq!(store.calls(Operation::CompareAndDelete), sent + 1, "one removal is enough");
}
