//! Writes and deletes in forced orders.

use cache_core::{Cache, Timeout, Ttl, layer::Operation, secs};
use tokio::task::JoinHandle;

use crate::{HOUR, MINUTE, SECOND, get, processes, run_tasks, world};

#[tokio::test]
async fn older_value_never_replaces_a_newer_one() {
    let (cache, ..) = world();
    assert!(cache.set_revision("k", &1, 5, MINUTE).await.unwrap());
    assert!(!cache.set_revision("k", &2, 4, MINUTE).await.unwrap(), "older");
    assert!(!cache.set_revision("k", &2, 5, MINUTE).await.unwrap(), "equal and different");
    assert_eq!(get(&cache).await, Some(1));
    assert!(cache.set_revision("k", &2, 6, MINUTE).await.unwrap(), "newer");
    assert_eq!(get(&cache).await, Some(2));
    assert!(!cache.delete_revision("k", 5, MINUTE).await.unwrap(), "an older delete");
    assert_eq!(get(&cache).await, Some(2));
    assert_eq!(cache.stats().revisions_refused, 3);
    let stats = cache.stats();
    assert_eq!(stats[Operation::SetRevision].done, 4);
    assert_eq!(stats[Operation::DeleteRevision].done, 1);
}

#[tokio::test]
async fn equal_value_renews_the_lifetime() {
    let (cache, _, time) = world();
    assert!(cache.set_revision("k", &1, 5, MINUTE).await.unwrap());
    time.advance(50 * SECOND);
    assert!(cache.set_revision("k", &1, 5, MINUTE).await.unwrap());
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Remaining(MINUTE)));
    assert_eq!(cache.stats().revisions_refused, 0);
    assert!(cache.set_revision("k", &1, 5, Timeout::Never).await.unwrap());
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Forever));
}

#[tokio::test]
async fn write_without_a_revision_wins_and_clears_the_revision() {
    let (cache, ..) = world();
    for call in 0..5 {
        cache.set_revision("k", &1, 5, MINUTE).await.unwrap();
        match call {
            0 => cache.set("k", &2, MINUTE).await.unwrap(),
            1 => assert!(cache.replace("k", &2, MINUTE).await.unwrap()),
            2 => drop(cache.set_many([("k", 2)], MINUTE).await.unwrap()),
            3 => drop(cache.update("k", MINUTE, |it: u32| it + 1).await.unwrap()),
            _ => {
                assert!(cache.delete("k").await.unwrap());
                assert!(cache.add("k", &2, MINUTE).await.unwrap());
            }
        }
        assert_eq!(get(&cache).await, Some(2), "call {call}");
        assert!(cache.set_revision("k", &3, 4, MINUTE).await.unwrap(), "call {call}");
        cache.delete("k").await.unwrap();
    }
}

#[tokio::test]
async fn touch_and_a_move_keep_the_revision() {
    let (cache, ..) = world();
    for timeout in [secs(90), Timeout::Never] {
        cache.set_revision("k", &1, 5, MINUTE).await.unwrap();
        assert!(cache.touch("k", timeout).await.unwrap());
        assert!(!cache.set_revision("k", &2, 4, MINUTE).await.unwrap(), "{timeout:?}");
        cache.incr_version("k", 1).await.unwrap();
        assert!(!cache.at_version(2).set_revision("k", &2, 4, MINUTE).await.unwrap());
        assert_eq!(get(&cache.at_version(2)).await, Some(1));
    }
}

#[tokio::test]
async fn revision_is_forgotten_with_its_entry() {
    let (cache, _, time) = world();
    assert!(cache.set_revision("k", &1, 5, SECOND).await.unwrap());
    time.advance(SECOND);
    assert!(cache.set_revision("k", &2, 4, MINUTE).await.unwrap());
    assert!(cache.set_revision("k", &3, 5, secs(0)).await.unwrap(), "a lifetime of zero");
    assert_eq!(get(&cache).await, None);
    assert!(cache.set_revision("k", &4, 4, MINUTE).await.unwrap());
    assert!(!cache.set_revision("k", &5, 3, secs(0)).await.unwrap());
    assert_eq!(get(&cache).await, Some(4));
}

#[tokio::test]
async fn values_of_all_forms_have_revisions() {
    let (cache, ..) = world();
    let bytes = cache.bytes();
    assert!(bytes.set_revision("k", b"\xc1\xca\xff", 5, MINUTE).await.unwrap());
    assert!(!bytes.set_revision("k", "older", 4, MINUTE).await.unwrap());
    assert_eq!(bytes.get("k").await.unwrap().unwrap(), &b"\xc1\xca\xff"[..]);
    assert!(cache.set_revision("n", &7, u64::MAX, MINUTE).await.unwrap());
    cache.incr("n", 1).await.expect_err("no integer for `incr`");
    assert_eq!(cache.get::<i32>("n").await.unwrap(), Some(7));
    assert!(cache.set_revision("none", &None::<u8>, 0, MINUTE).await.unwrap());
    assert_eq!(cache.get::<Option<u8>>("none").await.unwrap(), Some(None));
    let blocking = cache.blocking();
    let done = tokio::task::spawn_blocking(move || {
        assert!(blocking.set_revision("b", &1, 2, MINUTE).unwrap());
        assert!(!blocking.set_revision("b", &2, 1, MINUTE).unwrap());
        assert!(blocking.delete_revision("b", 2, MINUTE).unwrap());
        assert!(!blocking.set_revision("b", &1, 2, MINUTE).unwrap());
    });
    done.await.unwrap();
}

fn begin(cache: &Cache, value: u32, revision: u64) -> JoinHandle<bool> {
    let cache = cache.clone();
    tokio::spawn(async move { cache.set_revision("k", &value, revision, HOUR).await.unwrap() })
}

/// The old write has read the key when the new one arrives, in another process and in the same one.
#[tokio::test]
async fn newer_value_between_read_and_write_of_an_older_one_stays() {
    let ([one, two], store, _) = processes(|it| it);
    for newer in [&one, &two] {
        one.set("k", &0, MINUTE).await.unwrap();
        let update = store.hold(Operation::Update);
        let before = store.calls(Operation::Update);
        let old = begin(&one, 5, 5);
        store.arrived(Operation::Update, before + 1).await;
        let new = begin(newer, 6, 6);
        run_tasks().await;
        update.release();
        assert!(new.await.unwrap());
        old.await.unwrap();
        assert_eq!(get(&one).await, Some(6));
        assert!(!begin(&one, 5, 5).await.unwrap());
    }
}

/// Both find the key absent.
#[tokio::test]
async fn order_of_two_adds_does_not_matter() {
    let ([one, two], store, _) = processes(|it| it);
    for (first, second) in [(5, 6), (6, 5)] {
        let add = store.hold(Operation::Add);
        let before = store.calls(Operation::Add);
        let first = begin(&one, first, first.into());
        store.arrived(Operation::Add, before + 1).await;
        let second = begin(&two, second, second.into());
        store.arrived(Operation::Add, before + 2).await;
        add.release();
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(get(&one).await, Some(6));
        one.delete("k").await.unwrap();
    }
}
