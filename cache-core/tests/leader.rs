//! The reads that a cache sends to the leader of a store whose other reads may be stale.

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
    testing::{FakeClock, Fault, Faulty, Model},
};
use tokio::sync::Notify;

use self::replicated::Replicated;

const KEY: &str = ":1:k";

/// Returns the leader and the copy of a store, whose faults a test controls, and a cache over it.
fn world() -> (Faulty, Faulty, Cache) {
    let part = || Faulty::new(Arc::new(Inline::new(Model::default())));
    let (leader, copy) = (part(), part());
    // The time stands still, so an open breaker stays open.
    let clock = FakeClock::new().clock();
    let cache = Cache::builder(store(Arc::new(leader.clone()), &copy)).clock(clock);
    (leader, copy, cache.build("test").unwrap())
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
    assert_eq!(cache.bytes().get("k").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(cache.get_many::<i32, _>(["k"]).await.unwrap(), [("k", 1)].into());
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Forever));
    cache.delete("k").await.unwrap();
    assert!(cache.has_key("k").await.unwrap());
    for operation in [Operation::Get, Operation::GetMany, Operation::Ttl, Operation::HasKey] {
        assert_eq!(leader.calls(operation), 0, "{operation:?} reaches the leader");
    }
}

#[tokio::test]
async fn value_of_a_load_is_visible_to_the_next_load() {
    let (_, _, cache) = world();
    for value in [7, 8, 9] {
        assert_eq!(cache.get_or_set("k", Timeout::Default, || async { value }).await.unwrap(), 7);
    }
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "the copy has nothing yet");
}

#[test]
fn value_of_a_blocking_load_is_visible_to_the_next_load() {
    let (_, _, cache) = world();
    let cache = cache.blocking();
    for value in [7, 8, 9] {
        assert_eq!(cache.get_or_set("k", Timeout::Default, || value).unwrap(), 7);
    }
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(cache.get::<i32>("k").unwrap(), None, "the copy has nothing yet");
}

/// Delays the reply to the first read.
#[derive(Debug, Default)]
struct LateReply {
    was_sent: AtomicBool,
    sent: Notify,
    reply: Notify,
}

impl Layer for LateReply {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let reply = run().await;
        if call.operation == Operation::Get && !self.was_sent.swap(true, SeqCst) {
            self.sent.notify_one();
            self.reply.notified().await;
        }
        reply
    }
    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}

#[tokio::test]
async fn stale_miss_is_read_again_from_the_leader() {
    let late = Arc::new(LateReply::default());
    let part = || Faulty::new(Arc::new(Inline::new(Model::default())));
    let leader = Layered::new(Arc::clone(&late), part());
    let cache = Cache::builder(store(Arc::new(leader), &part()));
    // The late reply must still be within the deadline.
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
        () = late.sent.notified() => {}
        _ = &mut missed => panic!("the read did not reach the leader"),
    }
    assert_eq!(load(2).await, 2);
    late.reply.notify_one();
    assert_eq!((missed.await.unwrap(), loads.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn update_changes_the_value_of_the_leader() {
    let (leader, copy, cache) = world();
    put(&leader, b"10", Expiry::Never).await;
    put(&copy, b"1", Expiry::Never).await;
    let change = |it| {
        assert_eq!(it, 10, "an update of a stale value always conflicts");
        it + 1
    };
    assert_eq!(cache.update::<i32>("k", Timeout::Default, change).await.unwrap(), Some(11));
    assert_eq!(stored(&leader).await.unwrap(), b"11");
}

#[tokio::test]
async fn calls_that_never_fail_open_read_from_the_leader() {
    let (leader, _, cache) = world();
    put(&leader, b"1", Expiry::Never).await;
    assert!(!cache.add("k", &2, secs(0)).await.unwrap(), "the copy has nothing yet");
    assert_eq!(cache.incr_version("k", 0).await.unwrap(), 1);
}

#[tokio::test]
async fn purge_compares_with_the_entry_of_the_leader() {
    const DAMAGED: &[u8] = b"\xc1\xca damaged";
    let (leader, copy, cache) = world();
    // The leader's entry has another stamp than the copy's.
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
async fn plain_and_leader_reads_share_the_breaker() {
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

/// `Layered` and `Faulty` wrap the leader view as well.
#[tokio::test]
async fn wrappers_keep_the_leader_view() {
    let (leader, copy, cache) = world();
    put(&leader, b"true", Expiry::Never).await;
    put(&copy, b"stale", Expiry::Never).await;
    let view = Arc::clone(cache.backend()).views().leader.unwrap();
    assert_eq!(view.get(KEY).await.unwrap().as_deref(), Some(&b"true"[..]));
    assert!(Arc::clone(&view).views().leader.is_none());

    let faulty = Faulty::new(Arc::clone(cache.backend()));
    let view = Arc::new(faulty.clone()).views().leader.unwrap();
    assert_eq!(view.get(KEY).await.unwrap().as_deref(), Some(&b"true"[..]));
    assert_eq!(faulty.calls(Operation::Get), 1, "calls of the view are counted with the others");
    faulty.fail_keys(|key| key == KEY, ErrorKind::TimedOut);
    assert_eq!(view.get(KEY).await.unwrap_err().kind(), ErrorKind::TimedOut);
    let results = view.get_many(&[KEY, "other"]).await;
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(results[1].as_ref().unwrap(), &None);
    assert!(Arc::new(copy).views().leader.is_none(), "a store without a leader view has one");
}
