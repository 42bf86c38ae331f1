//! A load that is under way when a message arrives does not store its value.

use std::{sync::Arc, time::Duration};

use cache_core::{Cache, secs, store::BusMessage};
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{
    hub::Hub,
    support::{bus, caches, get, poll_once, process, two, wait_until},
};

#[derive(Clone, Copy, Debug)]
enum Call {
    GetOrSet,
    Fetch,
    Batch,
}

/// Starts a load of the key `k` that returns this value when the semaphore has a permit. Returns
/// after it has begun.
async fn load(cache: &Cache, call: Call, value: i32) -> (Arc<Semaphore>, JoinHandle<i32>) {
    let (begun, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (cache, started, released) = (cache.clone(), Arc::clone(&begun), Arc::clone(&release));
    let wait = move || {
        let (started, released) = (Arc::clone(&started), Arc::clone(&released));
        async move {
            started.add_permits(1);
            released.acquire().await.unwrap().forget();
            value
        }
    };
    let task = tokio::spawn(async move {
        match call {
            Call::GetOrSet => cache.get_or_set("k", secs(600), wait).await.unwrap(),
            Call::Fetch => {
                let load = move |_| {
                    let wait = wait();
                    async move { Ok::<_, std::io::Error>(wait.await) }
                };
                cache.fetch("k").ttl(secs(600)).load(load).await.unwrap()
            }
            Call::Batch => {
                let load = |keys: Vec<&'static str>| {
                    let wait = wait();
                    async move {
                        let value = wait.await;
                        keys.into_iter().map(|key| (key, value)).collect::<Vec<_>>()
                    }
                };
                cache.get_or_set_many(["k"], secs(600), load).await.unwrap()["k"]
            }
        }
    });
    let begins = tokio::time::timeout(Duration::from_secs(60), begun.acquire());
    begins.await.expect("a load of its own").unwrap().forget();
    (release, task)
}

#[tokio::test]
async fn value_of_a_load_is_not_stored_after_a_message() {
    let (hub, one, other) = two("").await;
    for call in [Call::GetOrSet, Call::Fetch, Call::Batch] {
        for change in ["delete", "clear", "lost", "unknown", "stream"] {
            let (release, old) = load(&other, call, 1).await;
            match change {
                "delete" => drop(one.delete("k").await.unwrap()),
                "clear" => one.clear().await.unwrap(),
                "lost" => hub.report(BusMessage::Lost),
                "unknown" => hub.report(BusMessage::Text("a message of a later version")),
                _ => restart(&hub, &[&one, &other]).await,
            }
            // A later caller starts a load of its own.
            let (second, new) = load(&other, call, 2).await;
            release.add_permits(1);
            assert_eq!(old.await.unwrap(), 1, "{call:?}, {change}: its own caller gets the value");
            assert_eq!(get(&other, "k").await, None, "{call:?}, {change}");
            second.add_permits(1);
            assert_eq!(new.await.unwrap(), 2);
            assert_eq!(get(&other, "k").await, Some(2), "{call:?}, {change}");
            other.delete("k").await.unwrap();
        }
    }
}

#[tokio::test]
async fn value_of_a_load_of_any_alias_is_not_stored_after_a_clear_of_the_store() {
    let hub = Hub::new();
    let two = "location = 'main'\n[caches.other]\nbackend = 'memory'\nlocation = 'main'\n\
               key_prefix = 'other'";
    let one = process(&hub, two).await;
    let caches = caches(&hub, two);
    assert!(caches.check().await.is_ok());
    let other = caches.get("other").unwrap();
    for call in [Call::GetOrSet, Call::Fetch, Call::Batch] {
        let (release, old) = load(other, call, 1).await;
        one.clear_store().await.unwrap();
        release.add_permits(1);
        assert_eq!(old.await.unwrap(), 1);
        assert_eq!(get(other, "k").await, None, "{call:?}");
    }
}

/// Stops the streams, and waits until they are open again.
async fn restart(hub: &Hub, caches: &[&Cache]) {
    let resets: Vec<_> = caches.iter().map(|it| bus(it).resets).collect();
    hub.stop_streams();
    hub.start_streams();
    for (cache, resets) in caches.iter().zip(resets) {
        wait_until("the stream is open again", || bus(cache).resets > resets).await;
        wait_until("the memory is in use", || !bus(cache).is_bypassed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_value_from_before_a_delete_is_kept_while_loads_race_with_messages() {
    let (_hub, one, other) = two("").await;
    let source = Arc::new(std::sync::atomic::AtomicI32::new(0));
    let loader = {
        let (cache, source) = (other.clone(), Arc::clone(&source));
        tokio::spawn(async move {
            loop {
                let load = || async {
                    let value = source.load(std::sync::atomic::Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    value
                };
                if cache.get_or_set("k", secs(600), load).await.unwrap() < 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for value in (1..2_000).chain([-1]) {
        source.store(value, std::sync::atomic::Ordering::SeqCst);
        one.delete("k").await.unwrap();
        // A value that was on its way when the message arrived is removed when it has arrived.
        let latest = async {
            while get(&other, "k").await.is_some_and(|it| it != value) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), latest).await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(60), loader).await.unwrap().unwrap();
}

#[tokio::test]
async fn stalled_value_is_not_stored_after_the_writers_stopped_waiting() {
    let (deadlines, patience) =
        ("deadline = '50ms'\nconnect_deadline = '50ms'", Duration::from_millis(100));
    let hub = Hub::new();
    let one = process(&hub, deadlines).await;
    for change in ["delete", "clear", "own delete"] {
        let held = hub.hold_streams().await;
        let other = caches(&hub, deadlines).get("default").unwrap().clone();
        let load = |keys: Vec<&'static str>| async { keys.into_iter().map(|key| (key, 1)) };
        // The values wait for the first stream.
        let mut many = Box::pin(other.get_or_set_many(["a", "b"], secs(600), load));
        let mut single = Box::pin(other.get_or_set("c", secs(600), || async { 1 }));
        poll_once(&mut many);
        poll_once(&mut single);
        drop(held);
        wait_until("the memory is in use", || !bus(&other).is_bypassed).await;
        for key in ["a", "c"] {
            match change {
                "delete" => drop(one.delete(key).await.unwrap()),
                "clear" => one.clear().await.unwrap(),
                _ => drop(other.delete(key).await.unwrap()),
            }
        }
        if change != "own delete" {
            // sleeps: no event says that the process has stopped waiting for the values
            tokio::time::sleep(patience * 2).await;
        }
        assert_eq!(many.await.unwrap()["a"], 1);
        assert_eq!(single.await.unwrap(), 1);
        for key in ["a", "c"] {
            assert_eq!(get(&other, key).await, None, "{change} of {key}");
        }
    }
}
