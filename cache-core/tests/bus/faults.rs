//! Streams that end, messages that are refused, and futures that are dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, ErrorKind, Timeout, secs,
    store::{BusMessage, Heartbeat},
    testing::FakeClock,
};

use crate::{
    hub::Hub,
    support::{builder, bus, caches, get, poll_once, put, two, wait_until},
};

async fn bypassed(caches: &[&Cache]) {
    for cache in caches {
        wait_until("the memory is bypassed", || bus(cache).is_bypassed).await;
    }
}

async fn in_use(caches: &[&Cache]) {
    for cache in caches {
        wait_until("the memory is in use", || !bus(cache).is_bypassed).await;
    }
}

#[tokio::test]
async fn memory_is_bypassed_while_the_stream_is_down_and_begins_empty() {
    let (hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    other.incr_or("n", 1, 0, Timeout::Never).await.unwrap();
    hub.stop_streams();
    bypassed(&[&one, &other]).await;
    let reads = bus(&other).bypassed;
    assert_eq!(get(&other, "k").await, None);
    assert!(!other.has_key("k").await.unwrap() && other.ttl("k").await.unwrap().is_none());
    assert!(other.get_many::<i32, _>(["k", "l"]).await.unwrap().is_empty());
    assert!(bus(&other).bypassed >= reads + 5);
    // Writes are not kept, and loads run.
    other.set("k", &2, secs(600)).await.unwrap();
    assert!(other.set_many([("k", 2)], secs(600)).await.unwrap().is_empty());
    assert_eq!(get(&other, "k").await, None);
    for value in 3..6 {
        assert_eq!(other.get_or_set("k", secs(600), || async { value }).await.unwrap(), value);
        let strict = other.strict();
        assert_eq!(strict.get_or_set("k", secs(600), || async { value }).await.unwrap(), value);
    }
    // No answer is invented.
    let added = other.add("k", &1, secs(600)).await.unwrap_err();
    let counted = other.incr_or("n", 1, 0, Timeout::Never).await.unwrap_err();
    assert_eq!((added.kind(), counted.kind()), (ErrorKind::Unavailable, ErrorKind::Unavailable));
    assert!(added.to_string().contains("bypassed"), "{added}");
    assert!(!other.replace("k", &1, secs(600)).await.unwrap());
    assert_eq!(other.incr("n", 1).await.unwrap_err().kind(), ErrorKind::KeyNotFound);
    // Deletes are published: the other process may be connected.
    assert!(!one.delete("k").await.unwrap());
    hub.passed_on("removed :1:k").await;

    let resets = bus(&other).resets;
    hub.start_streams();
    in_use(&[&one, &other]).await;
    assert_eq!(bus(&other).resets, resets + 1);
    for cache in [&one, &other] {
        assert_eq!(get(cache, "k").await, None);
    }
    assert_eq!(other.incr_or("n", 1, 0, Timeout::Never).await.unwrap(), 1);
    put(&[&one, &other], "k", 7).await;
    one.delete("k").await.unwrap();
    assert_eq!(get(&other, "k").await, None);
}

fn heartbeat(valid_until: Duration) -> BusMessage<'static> {
    BusMessage::Heartbeat(Heartbeat { lag: Duration::ZERO, valid_until })
}

/// A write that was not kept, because the last heartbeat was too old at that moment, must not leave
/// the value before it, however close the next heartbeat was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_heartbeat_brings_no_older_value_back() {
    let (hub, time) = (Hub::new(), FakeClock::new());
    let caches = builder(&hub, "").clock(time.clock()).build().unwrap();
    let cache = caches.get("default").unwrap().clone();
    cache.check().await.unwrap();
    let (is_over, valid_for) = (Arc::new(AtomicBool::new(false)), Duration::from_millis(1));
    let (clock, is_beating, is_moving) = (time.clock(), Arc::clone(&is_over), Arc::clone(&is_over));
    let beats = std::thread::spawn(move || {
        while !is_beating.load(SeqCst) {
            hub.report(heartbeat(clock.now() + valid_for));
        }
    });
    let moves = std::thread::spawn(move || {
        while !is_moving.load(SeqCst) {
            time.advance(valid_for + Duration::from_nanos(1));
            std::thread::yield_now();
        }
    });
    let (mut value, mut kept, mut dropped) = (0, 0, 0);
    while kept < 1000 || dropped < 1000 {
        value += 1;
        cache.set("k", &value, secs(600)).await.unwrap();
        match get(&cache, "k").await {
            Some(found) => {
                assert_eq!(found, value);
                kept += 1;
            }
            None => dropped += 1,
        }
    }
    is_over.store(true, SeqCst);
    beats.join().unwrap();
    moves.join().unwrap();
}

/// The thread that receives the messages may stand still, or the process.
#[tokio::test]
async fn memory_is_bypassed_when_the_heartbeat_is_too_old_and_begins_empty() {
    let (hub, time) = (Hub::new(), FakeClock::new());
    let caches = builder(&hub, "").clock(time.clock()).build().unwrap();
    let cache = caches.get("default").unwrap();
    cache.check().await.unwrap();
    let second = Duration::from_secs(1);
    let beat = || hub.report(heartbeat(time.clock().now() + second));
    put(&[cache], "k", 1).await;
    beat();
    for _ in 0..3 {
        time.advance(second);
        assert_eq!(get(cache, "k").await, Some(1));
        beat();
    }
    time.advance(second + Duration::from_nanos(1));
    assert!(bus(cache).is_bypassed);
    assert_eq!(get(cache, "k").await, None);
    // It is not kept, and the value before it must not come back.
    cache.set("k", &2, secs(600)).await.unwrap();
    let resets = bus(cache).resets;
    beat();
    assert_eq!((bus(cache).resets, bus(cache).is_bypassed), (resets + 1, false));
    assert_eq!(get(cache, "k").await, None);
    put(&[cache], "k", 3).await;
}

#[tokio::test]
async fn tags_and_namespaces_work_while_the_stream_is_down() {
    let (hub, one, other) = two("tag_staleness = '1h'").await;
    let (tagged, users) = (other.with_tags(["org:3"]), other.namespace("users").unwrap());
    tagged.set("k", &1, secs(600)).await.unwrap();
    put(&[&users], "7", 1).await;
    hub.stop_streams();
    bypassed(&[&one, &other]).await;
    for cache in [tagged.strict(), users.strict()] {
        assert_eq!(get(&cache, "k").await, None);
        assert_eq!(cache.get_or_set("k", secs(600), || async { 2 }).await.unwrap(), 2);
        cache.set("k", &3, secs(600)).await.unwrap();
    }
    one.invalidate_tags(["org:3"]).await.unwrap();
    one.namespace("users").unwrap().clear().await.unwrap();
    hub.start_streams();
    in_use(&[&one, &other]).await;
    for cache in [tagged.strict(), users.strict()] {
        assert_eq!(get(&cache, "k").await, None);
        put(&[&cache], "k", 4).await;
    }
    one.invalidate_tags(["org:3"]).await.unwrap();
    assert_eq!(get(&tagged, "k").await, None);
}

#[tokio::test]
async fn lost_and_unknown_messages_empty_the_memory() {
    let (hub, one, other) = two("").await;
    for (n, message) in
        [BusMessage::Lost, BusMessage::Text("0000000000000001 renamed :1:k"), BusMessage::Text("")]
            .into_iter()
            .enumerate()
    {
        put(&[&one, &other], "k", 1).await;
        hub.report(message);
        assert_eq!(get(&other, "k").await, None, "{message:?}");
        assert_eq!(bus(&other).resets, n as u64 + 2);
        assert!(!bus(&other).is_bypassed);
    }
}

#[tokio::test]
async fn first_write_waits_for_the_stream() {
    let hub = Hub::new();
    let cache = caches(&hub, "").get("default").unwrap().clone();
    assert!(bus(&cache).is_bypassed);
    cache.set("k", &1, secs(600)).await.unwrap();
    assert_eq!(get(&cache, "k").await, Some(1));
    let counter = caches(&hub, "").get("default").unwrap().clone();
    assert_eq!(counter.incr_or("n", 1, 0, Timeout::Never).await.unwrap(), 1);
    assert_eq!(counter.incr("n", 1).await.unwrap(), 2);

    // No call waits for later attempts.
    let hub = Hub::new();
    hub.stop_streams();
    let cache = caches(&hub, "").get("default").unwrap().clone();
    cache.set("k", &1, secs(600)).await.unwrap();
    assert!(bus(&cache).is_bypassed);
    assert_eq!(cache.check().await.unwrap_err().kind(), ErrorKind::Unavailable);
    hub.start_streams();
    // An attempt that found the hub down may end only now.
    in_use(&[&cache]).await;
    cache.check().await.unwrap();
    put(&[&cache], "k", 1).await;
}

#[tokio::test]
async fn refused_message_is_sent_again_until_it_is_acknowledged() {
    let (hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    put(&[&one, &other], "l", 1).await;
    hub.refuse(true);
    assert!(!one.delete("k").await.unwrap(), "it fails open");
    let error = one.strict().delete("l").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("sent again in the background"), "{error}");
    assert_eq!(one.delete_many(["k", "m"]).await.unwrap(), 0);
    assert_eq!(bus(&one).pending, 3);
    // The local delete has happened, and new values are kept.
    assert_eq!(get(&one, "k").await, None);
    put(&[&one], "k", 2).await;
    assert_eq!((get(&other, "k").await, get(&other, "l").await), (Some(1), Some(1)));
    hub.refuse(false);
    wait_until("the messages are sent again", || bus(&one).pending == 0).await;
    assert_eq!((get(&other, "k").await, get(&other, "l").await), (None, None));
    assert_eq!(get(&one, "k").await, Some(2));

    put(&[&one, &other], "k", 1).await;
    hub.refuse(true);
    for error in [
        one.clear().await.unwrap_err(),
        one.clear_store().await.unwrap_err(),
        one.invalidate_tags(["org:3"]).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    assert_eq!(get(&other, "k").await, Some(1));
    hub.refuse(false);
    wait_until("the clear is sent again", || bus(&one).pending == 0).await;
    assert_eq!(get(&other, "k").await, None);
}

#[tokio::test]
async fn refused_pop_keeps_its_value() {
    let (hub, one, _other) = two("").await;
    put(&[&one], "k", 1).await;
    hub.refuse(true);
    assert_eq!(one.pop::<i32>("k").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(get(&one, "k").await, Some(1));
    hub.refuse(false);
    assert_eq!(one.pop::<i32>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn message_of_a_dropped_delete_is_sent() {
    let (hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    let held = hub.hold().await;
    let mut delete = Box::pin(one.delete("k"));
    poll_once(&mut delete);
    drop(delete);
    assert_eq!(bus(&one).pending, 1);
    drop(held);
    wait_until("the message is sent", || bus(&one).pending == 0).await;
    assert_eq!(get(&other, "k").await, None);
}

/// A server that acknowledges nothing costs one deadline, and then nothing while no messages
/// arrive.
#[tokio::test]
async fn frozen_server_costs_one_deadline() {
    let (hub, one, other) = two("deadline = '50ms'\nconnect_deadline = '50ms'").await;
    put(&[&one, &other], "k", 1).await;
    let held = hub.hold().await;
    assert_eq!(one.strict().delete("k").await.unwrap_err().kind(), ErrorKind::TimedOut);
    hub.stop_streams();
    bypassed(&[&one, &other]).await;
    let before = bus(&one).pending;
    for n in 0..1_000 {
        let key = format!("k{n}");
        assert_eq!(one.strict().delete(&key).await.unwrap_err().kind(), ErrorKind::TimedOut);
    }
    assert_eq!(bus(&one).pending, before + 1_000, "no call waited for 100 ms: {:?}", bus(&one));
    drop(held);
    hub.start_streams();
    in_use(&[&one, &other]).await;
    wait_until("all is sent", || bus(&one).pending == 0).await;
    assert!(one.strict().delete("k").await.is_ok());
}

#[tokio::test]
async fn close_sends_what_is_pending_and_the_next_call_begins_again() {
    let (hub, one, other) = two("").await;
    put(&[&one, &other], "k", 1).await;
    hub.refuse(true);
    one.delete("k").await.unwrap();
    assert_eq!(one.close().await.unwrap_err().kind(), ErrorKind::Unavailable);
    hub.refuse(false);
    one.close().await.unwrap();
    assert_eq!(get(&other, "k").await, None);
    // The background task may have been refused only now, and then sends the message again.
    wait_until("nothing is pending", || bus(&one).pending == 0).await;
    wait_until("the stream has ended", || hub.streams() == 1).await;
    assert!(bus(&one).is_bypassed);
    put(&[&one], "k", 1).await;
    other.delete("k").await.unwrap();
    assert_eq!(get(&one, "k").await, None);
    drop(one);
    wait_until("the stream ends with the cache", || hub.streams() == 1).await;
}
