//! Removals reach the memory of the other process, and nothing else does.

use std::sync::Arc;

use cache_core::{Cache, Error, Timeout, secs, store::BusMessage};

use crate::{
    hub::Hub,
    support::{bus, get, process, put, two, wait_until},
};

/// Memory on a bus keeps the decoded value beside the bytes, and loses it with them.
#[tokio::test]
async fn shared_value_ends_with_a_message_and_with_the_stream() {
    let (hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    let shared = async |cache: &Cache| cache.get_arc::<i32>("k").await.unwrap();
    let first = shared(&other).await.unwrap();
    assert!(Arc::ptr_eq(&first, &shared(&other).await.unwrap()), "decoded once");
    assert!(one.delete("k").await.unwrap());
    assert_eq!(shared(&other).await, None, "delete");

    put(&[&other], "k", 2).await;
    assert_eq!(shared(&other).await.as_deref(), Some(&2));
    hub.stop_streams();
    wait_until("the memory is bypassed", || bus(&other).is_bypassed).await;
    assert_eq!(shared(&other).await, None, "bypassed");
}

#[tokio::test]
async fn each_removal_reaches_the_other_process() {
    let (_hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    assert!(one.delete("k").await.unwrap());
    assert_eq!(get(&other, "k").await, None, "delete");

    // This process does not hold the key.
    put(&[&other], "k", 1).await;
    assert!(!one.delete("k").await.unwrap());
    assert_eq!(get(&other, "k").await, None, "delete of a key that only the other one has");

    let many: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    for key in &many {
        put(&[&one, &other], key, 1).await;
    }
    assert_eq!(one.delete_many(&many).await.unwrap(), 1000);
    assert!(other.get_many::<i32, _>(&many).await.unwrap().is_empty(), "delete_many");

    put(&[&one, &other], "k", 1).await;
    assert_eq!(one.pop::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(get(&other, "k").await, None, "pop");

    put(&[&one, &other], "k", 1).await;
    one.set("k", &2, secs(0)).await.unwrap();
    assert_eq!(get(&other, "k").await, None, "set without a lifetime");

    put(&[&one, &other], "k", 1).await;
    assert_eq!(one.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(get(&other, "k").await, None, "the source of a move");

    put(&[&one, &other], "k", 1).await;
    one.clear().await.unwrap();
    assert_eq!(get(&other, "k").await, None, "clear");

    put(&[&one, &other], "k", 1).await;
    one.clear_store().await.unwrap();
    assert_eq!(get(&other, "k").await, None, "clear_store");

    put(&[&other], "k", 1).await;
    let blocking = one.blocking();
    let delete = move || {
        assert!(!blocking.delete("k")?);
        Ok::<_, Error>(())
    };
    tokio::task::spawn_blocking(delete).await.unwrap().unwrap();
    assert_eq!(get(&other, "k").await, None, "delete without async");
    assert_eq!(bus(&other).invalidations, 1008);
    assert_eq!((bus(&one).pending, bus(&one).invalidations), (0, 0));
}

#[tokio::test]
async fn delete_of_entries_with_a_grace_or_a_revision_reaches_the_other_process() {
    let (_hub, one, other) = two("revisions = true\nfetch.grace = '1h'\nfetch.fenced = true").await;
    put(&[&one, &other], "k", 1).await;
    assert!(one.delete("k").await.unwrap());
    assert_eq!(get(&other, "k").await, None, "delete");
    put(&[&one, &other], "k", 1).await;
    assert_eq!(one.pop::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(get(&other, "k").await, None, "pop");
    for _ in 0..2 {
        put(&[&other], "k", 1).await;
        one.delete_revision("k", 7, secs(60)).await.unwrap();
        assert_eq!(get(&other, "k").await, None, "delete with a revision");
        one.clear().await.unwrap();
        put(&[&one], "k", 1).await;
    }
}

#[tokio::test]
async fn writes_counters_and_locks_stay_in_their_process() {
    let (hub, one, other) = two("").await;
    put(&[&other], "k", 1).await;
    put(&[&one], "k", 2).await;
    assert!(one.touch("k", secs(60)).await.unwrap());
    for cache in [&one, &other] {
        assert_eq!(cache.incr_or("n", 1, 0, Timeout::Never).await.unwrap(), 1);
        assert!(cache.add("added", &1, secs(60)).await.unwrap());
    }
    let held = one.lock("job", secs(60)).acquire().await.unwrap();
    let also = other.lock("job", secs(60)).acquire().await.unwrap();
    assert!(held.release().await.unwrap() && also.release().await.unwrap());
    one.get_or_set("loaded", secs(60), || async { 1 }).await.unwrap();
    assert_eq!(get(&other, "k").await, Some(1));
    assert_eq!(hub.messages(), [""; 0]);
}

/// The message about the delete comes back to its sender.
#[tokio::test]
async fn value_that_was_stored_after_the_own_delete_stays() {
    let (hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    let held = hub.hold().await;
    let cache = one.clone();
    let delete = tokio::spawn(async move { cache.delete("k").await.unwrap() });
    while get(&one, "k").await.is_some() {
        tokio::task::yield_now().await;
    }
    put(&[&one], "other", 1).await;
    drop(held);
    assert!(delete.await.unwrap());
    put(&[&one], "k", 2).await;
    let own = hub.messages().pop().unwrap();
    hub.report(BusMessage::Text(&own));
    assert_eq!(get(&one, "k").await, Some(2));
    assert_eq!(get(&other, "k").await, None);
}

#[tokio::test]
async fn messages_reach_only_processes_with_the_same_prefix() {
    let hub = Hub::new();
    let shop = process(&hub, "key_prefix = 'shop'").await;
    let same = process(&hub, "key_prefix = 'shop'").await;
    let eu = process(&hub, "key_prefix = 'shop:eu'").await;
    put(&[&shop, &same, &eu], "k", 1).await;
    shop.clear().await.unwrap();
    assert_eq!(get(&same, "k").await, None);
    assert_eq!(get(&eu, "k").await, Some(1));
}
