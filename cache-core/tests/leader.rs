//! What a cache reads from the leader of a store whose other reads may be stale.

#![allow(missing_docs)]

mod replicated;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use cache_core::{
    Cache, ErrorKind, Timeout, Ttl,
    config::Period,
    layer::{BreakerState, Call, Layer, Layered, Operation, Reply},
    secs,
    store::{Backend, Expiry, Inline, SetMode},
    testing::{Fault, Faulty, Model},
};
use tokio::sync::Notify;

use self::replicated::Replicated;

const KEY: &str = ":1:k";

/// The two parts of a store, each of which can be steered, and a cache over it.
fn world() -> (Faulty, Faulty, Cache) {
    let part = || Faulty::new(Arc::new(Inline::new(Model::default())));
    let (leader, copy) = (part(), part());
    let cache = Cache::builder(store(Arc::new(leader.clone()), &copy)).build("test").unwrap();
    (leader, copy, cache)
}

fn store(leader: Arc<dyn Backend>, copy: &Faulty) -> Arc<dyn Backend> {
    let (facts, view) = (leader.capabilities(), Some(Arc::clone(&leader)));
    Arc::new(Replicated { leader, copy: Arc::new(copy.clone()), view, facts })
}

async fn put(part: &Faulty, value: &'static [u8], expiry: Expiry) {
    assert!(part.set(KEY, value.into(), expiry, SetMode::Always).await.unwrap());
}

async fn stored(part: &Faulty) -> Option<Vec<u8>> {
    part.get(KEY).await.unwrap().map(|it| it.to_vec())
}

#[tokio::test]
async fn plain_reads_may_be_stale() {
    let (leader, copy, cache) = world();
    put(&copy, b"1", Expiry::Never).await;
    cache.set("k", &2, secs(60)).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(cache.get_bytes("k").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(cache.get_many::<i32, _>(["k"]).await.unwrap(), [("k", 1)].into());
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Forever));
    cache.delete("k").await.unwrap();
    assert!(cache.has_key("k").await.unwrap());
    for operation in [Operation::Get, Operation::GetMany, Operation::Ttl, Operation::HasKey] {
        assert_eq!(leader.calls(operation), 0, "{operation:?} spares the leader");
    }
}

#[tokio::test]
async fn what_a_load_stored_is_seen_by_the_next() {
    let (_, _, cache) = world();
    for value in [7, 8, 9] {
        assert_eq!(cache.get_or_set("k", Timeout::Default, || async { value }).await.unwrap(), 7);
    }
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "the copy has nothing yet");
}

#[test]
fn blocking_loads_see_it_too() {
    let (_, _, cache) = world();
    let cache = cache.blocking();
    for value in [7, 8, 9] {
        assert_eq!(cache.get_or_set("k", Timeout::Default, || value).unwrap(), 7);
    }
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(cache.get::<i32>("k").unwrap(), None, "the copy has nothing yet");
}

/// The answer to the first read comes late.
#[derive(Debug, Default)]
struct LateAnswer {
    was_asked: AtomicBool,
    asked: Notify,
    answer: Notify,
}

impl Layer for LateAnswer {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let reply = run().await;
        if call.operation == Operation::Get && !self.was_asked.swap(true, SeqCst) {
            self.asked.notify_one();
            self.answer.notified().await;
        }
        reply
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test]
async fn a_miss_that_is_out_of_date_is_looked_up_with_the_leader() {
    let late = Arc::new(LateAnswer::default());
    let part = || Faulty::new(Arc::new(Inline::new(Model::default())));
    let leader = Layered::new(Arc::clone(&late), Arc::new(part()) as _);
    let cache = Cache::builder(store(Arc::new(leader), &part()));
    // Late is not too late.
    let cache = cache.deadline(Period::from_secs(60)).build("test").unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let load = |value| {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        async move {
            let load = || async {
                loads.fetch_add(1, SeqCst);
                value
            };
            cache.get_or_set("k", Timeout::Default, load).await.unwrap()
        }
    };
    let mut missed = tokio::spawn(load(1));
    tokio::select! {
        () = late.asked.notified() => {}
        _ = &mut missed => panic!("it did not ask the leader"),
    }
    assert_eq!(load(2).await, 2);
    late.answer.notify_one();
    assert_eq!((missed.await.unwrap(), loads.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn update_changes_the_true_value() {
    let (leader, copy, cache) = world();
    put(&leader, b"10", Expiry::Never).await;
    put(&copy, b"1", Expiry::Never).await;
    let change = |it| {
        assert_eq!(it, 10, "a stale value conflicts for ever");
        it + 1
    };
    assert_eq!(cache.update::<i32>("k", Timeout::Default, change).await.unwrap(), Some(11));
    assert_eq!(stored(&leader).await.unwrap(), b"11");
}

#[tokio::test]
async fn what_never_fails_open_is_not_stale_either() {
    let (leader, _, cache) = world();
    put(&leader, b"1", Expiry::Never).await;
    assert!(!cache.add("k", &2, secs(0)).await.unwrap(), "the copy has nothing yet");
    assert_eq!(cache.incr_version("k", 0).await.unwrap(), 1);
}

#[tokio::test]
async fn a_purge_compares_with_the_true_entry() {
    const DAMAGED: &[u8] = b"\xc1\xca damaged";
    let (leader, copy, cache) = world();
    // Another entry than the copy's: with another stamp.
    put(&leader, b"earlier", Expiry::Never).await;
    put(&leader, DAMAGED, Expiry::Never).await;
    put(&copy, DAMAGED, Expiry::Never).await;
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    assert_eq!(stored(&leader).await, None, "damaged bytes are removed");

    put(&leader, b"7", Expiry::Never).await;
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "the copy lags");
    assert_eq!(stored(&leader).await.unwrap(), b"7");
    assert_eq!(leader.calls(Operation::CompareAndDelete), 1);
}

#[tokio::test]
async fn both_ways_of_reading_have_the_same_layers() {
    let (leader, _, cache) = world();
    leader.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for _ in 0..20 {
        assert_eq!(cache.get_or_set("k", Timeout::Default, || async { 7 }).await.unwrap(), 7);
    }
    assert_eq!(cache.stats().breaker, Some(BreakerState::Open));
    assert!(leader.calls(Operation::Get) <= 11);
    let error = cache.strict().get::<i32>("k").await.unwrap_err();
    assert!(error.to_string().contains("breaker is open"), "{error}");
}

/// Through a hook, and in a cache without a runtime of its own: `Layered` and `Faulty` are stores like others.
#[tokio::test]
async fn wrappers_keep_the_view() {
    let (leader, copy, cache) = world();
    put(&leader, b"true", Expiry::Never).await;
    put(&copy, b"stale", Expiry::Never).await;
    let view = Arc::clone(cache.backend()).views().leader.unwrap();
    assert_eq!(view.get(KEY).await.unwrap().as_deref(), Some(&b"true"[..]));
    assert!(Arc::clone(&view).views().leader.is_none());

    let faulty = Faulty::new(Arc::clone(cache.backend()));
    let view = Arc::new(faulty.clone()).views().leader.unwrap();
    assert_eq!(view.get(KEY).await.unwrap().as_deref(), Some(&b"true"[..]));
    assert_eq!(faulty.calls(Operation::Get), 1, "they are counted together");
    faulty.fail_keys(|key| key == KEY, ErrorKind::TimedOut);
    assert_eq!(view.get(KEY).await.unwrap_err().kind(), ErrorKind::TimedOut);
    let answers = view.get_many(&[KEY, "other"]).await;
    assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(answers[1].as_ref().unwrap(), &None);
    assert!(Arc::new(copy).views().leader.is_none(), "a store without a view has none");
}
