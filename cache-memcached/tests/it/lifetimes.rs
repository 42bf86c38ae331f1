//! Lifetimes on a server with a clock of whole seconds, which interprets large numbers as Unix
//! times.

use std::time::{Duration, Instant};

use cache_core::{
    Timeout, Ttl, secs,
    store::{Expiry, SetMode},
};
use futures_util::future::join_all;

use crate::support::{PATIENT, at, cache, raw, servers, store, stored_key, until};

const DAY: u64 = 86_400;

/// "Never an early expiry for the whole-second clock": at any point of the server's second.
/// (Without the correction, an entry of one second would live for 0.2 to 0.8 s.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_expires_early_and_all_do() {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT).strict();
    let lives = [1, 250, 999, 1000, 1001, 1500, 2000];
    let entry = async |i: usize| {
        // sleeps: to write at many points of the server's second
        tokio::time::sleep(Duration::from_millis(i as u64 * 71)).await;
        let life = Duration::from_millis(lives[i % lives.len()]);
        let (key, counter) = (format!("k{i}"), format!("n{i}"));
        let began = Instant::now();
        cache.set(&key, &i, life).await.unwrap();
        cache.incr_or(&counter, 1, 0, life).await.unwrap();
        loop {
            let is_there = cache.has_key(&key).await.unwrap();
            // Shorter, longer and negative numbers, so that the entry is written again each time.
            let delta = if i.is_multiple_of(2) { 1 } else { -7 };
            let counted = cache.incr(&counter, delta).await;
            if began.elapsed() >= life {
                break;
            }
            assert!(is_there, "{key} of {life:?} is gone after {:?}", began.elapsed());
            counted.unwrap_or_else(|it| panic!("{counter} of {life:?}: {it}"));
            // sleeps: as above
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until("both are gone", async || {
            !cache.has_key(&key).await.unwrap() && !cache.has_key(&counter).await.unwrap()
        })
        .await;
    };
    join_all((0..28).map(entry)).await;
}

#[tokio::test]
async fn long_lifetimes_are_kept_and_beyond_the_servers_range_never_end() {
    let servers = servers(1);
    let store = store(&at(&servers), PATIENT);
    let mut raw = raw(&servers[0]);
    let is_about = |ttl: Option<Ttl>, life: Duration| match ttl {
        Some(Ttl::Remaining(left)) => {
            let most = life + Duration::from_secs(3);
            assert!(
                left >= life.saturating_sub(Duration::from_secs(20)) && left <= most,
                "{left:?}"
            );
        }
        it => panic!("{life:?}: {it:?}"),
    };
    for days in [29, 30, 31, 60, 365, 3650] {
        let life = Duration::from_secs(days * DAY);
        store.set(":1:k", "v".into(), Expiry::After(life), SetMode::Always).await.unwrap();
        is_about(store.ttl(":1:k").await.unwrap(), life);
        store.set(":1:t", "v".into(), Expiry::Never, SetMode::Always).await.unwrap();
        assert!(store.touch(":1:t", Expiry::After(life)).await.unwrap());
        is_about(store.ttl(":1:t").await.unwrap(), life);
        let seen = store.get_entry(":1:k").await.unwrap().unwrap();
        let seen = cache_core::store::Expected::entry(&seen);
        let keep = cache_core::store::TtlUpdate::Keep;
        assert!(store.compare_and_set(":1:k", seen, "w".into(), keep).await.unwrap());
        is_about(store.ttl(":1:k").await.unwrap(), life);
    }
    for life in [Duration::from_secs(100 * 365 * DAY), Duration::MAX] {
        store.set(":1:k", "v".into(), Expiry::After(life), SetMode::Always).await.unwrap();
        assert_eq!(store.ttl(":1:k").await.unwrap(), Some(Ttl::Forever), "{life:?}");
        assert!(store.touch(":1:k", Expiry::After(Duration::from_secs(9))).await.unwrap());
        assert!(store.touch(":1:k", Expiry::After(life)).await.unwrap());
        assert_eq!(store.ttl(":1:k").await.unwrap(), Some(Ttl::Forever), "{life:?}");
        let key = stored_key(&mut raw, "", "k");
        assert_eq!(raw.ask(&format!("mg {key} t")).0, "HD t-1");
    }
}

/// "touch … true iff live, also for `Never` on a persistent key"; "never revives".
#[tokio::test]
async fn touch_sets_and_removes_lifetimes_and_revives_nothing() {
    let servers = servers(1);
    let cache = cache(&at(&servers), PATIENT).strict();
    loop {
        let began = Instant::now();
        cache.set("k", &1, secs(1)).await.unwrap();
        if cache.touch("k", Timeout::Never).await.unwrap() {
            break;
        }
        // The machine was too slow, so the test starts again.
        assert!(began.elapsed() >= Duration::from_secs(1), "it had expired early");
    }
    assert!(cache.touch("k", Timeout::Never).await.unwrap());
    assert_eq!(cache.ttl("k").await.unwrap(), Some(Ttl::Forever));
    cache.set("short", &1, secs(1)).await.unwrap();
    until("it is gone", async || !cache.has_key("short").await.unwrap()).await;
    assert!(!cache.touch("short", Timeout::Never).await.unwrap());
    assert!(!cache.has_key("short").await.unwrap());
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "it has outlived its second");
    assert!(cache.touch("k", secs(1)).await.unwrap());
    until("it is gone", async || !cache.has_key("k").await.unwrap()).await;
}

/// Never early, and not later than an entry without changes, however often the entry is written
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeatedly_rewritten_entry_keeps_its_expiry() {
    const LIFE: Duration = Duration::from_secs(6);
    let servers = servers(1);
    // The two stores do not share state, like two processes.
    let caches = [(); 2].map(|()| cache(&at(&servers), PATIENT).strict());
    caches[0].incr_or("n", -10, 0, LIFE).await.unwrap();
    caches[0].set("moved", &1, LIFE).await.unwrap();
    caches[0].set("kept", &"kept", LIFE).await.unwrap();
    caches[0].set("control", &1, LIFE).await.unwrap();
    let began = Instant::now();
    let mut all = Vec::new();
    // Each task returns the beginning of the last call that found its entry, and the end of the
    // call that did not: the lifetime ended between them, however slow the machine is.
    for i in 0..8 {
        let cache = caches[i % 2].clone();
        all.push(tokio::spawn(async move {
            let (mut found, mut call) = (Duration::ZERO, began.elapsed());
            while cache.decr("n", 1).await.is_ok() {
                (found, call) = (call, began.elapsed());
            }
            (found, began.elapsed())
        }));
    }
    let cache = caches[0].clone();
    all.push(tokio::spawn(async move {
        let (mut found, mut call, mut version) = (Duration::ZERO, began.elapsed(), 1);
        while let Ok(it) = cache.at_version(version).incr_version("moved", 3 - 2 * version).await {
            (found, call, version) = (call, began.elapsed(), it);
        }
        (found, began.elapsed())
    }));
    let store = caches[1].backend().clone();
    all.push(tokio::spawn(async move {
        let (mut found, mut call) = (Duration::ZERO, began.elapsed());
        while let Some(seen) = store.get_entry(":1:kept").await.unwrap() {
            let (seen, keep) =
                (cache_core::store::Expected::entry(&seen), cache_core::store::TtlUpdate::Keep);
            store.compare_and_set(":1:kept", seen, "kept".into(), keep).await.unwrap();
            (found, call) = (call, began.elapsed());
        }
        (found, began.elapsed())
    }));
    until("the control is gone", async || !caches[0].has_key("control").await.unwrap()).await;
    let control = began.elapsed();
    for lived in join_all(all).await {
        let (found, ended) = lived.unwrap();
        assert!(ended >= LIFE, "early, after {ended:?}");
        // One tick.
        assert!(found < control + Duration::from_millis(2500), "{found:?}, not {control:?}");
    }
}
