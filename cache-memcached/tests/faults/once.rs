//! A reply that is lost: the server executed the command once, or not at all.

use std::time::Duration;

use cache_core::{Timeout, Ttl, secs};
use fault_tests::{LONG, NO_BREAKER, PATIENT, is_outage, once::count, report, timed, until};
use test_servers::{Memcached, Proxy, Server as _};

use crate::support::{OnMemcached, at, cache, cache_through, stored};

fault_tests::once!(OnMemcached);

/// The connection ends instead of a reply to an `incr`, which is two requests. The caller receives
/// an error, and the server has counted once or not at all. The same for an `incr` that creates the
/// counter: it has its lifetime, or it does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incr_with_a_cut_off_reply_counts_at_most_once() {
    let server = Memcached::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through(&proxy, &format!("{PATIENT}{NO_BREAKER}")).strict();
    cache.incr_or("n", 100, 0, secs(600)).await.unwrap();
    let (mut longest, mut counted, mut made) = (Duration::ZERO, 0, 0);
    for round in 0..60 {
        until("it works", async || cache.has_key("n").await.is_ok()).await;
        let before = count::<OnMemcached>(&server, "n");
        let key = format!("new{round}");
        let is_new = round % 2 == 0;
        // In the first replies, in the second, or after them.
        proxy.truncate_after(round * 3 / 2);
        let (res, took) = timed(async {
            if is_new {
                cache.incr_or(&key, 7, 0, secs(600)).await
            } else {
                cache.incr("n", -3).await
            }
        })
        .await;
        proxy.pass();
        proxy.cut();
        longest = longest.max(took);
        let is_done = res.is_ok();
        if let Err(error) = res {
            assert!(is_outage(&error), "{error}");
        }
        if is_new {
            let there = stored(&server, &key);
            assert!(there.is_none() && !is_done || there.as_deref() == Some("7"), "{there:?}");
            made += i32::from(there.is_some());
            until("it works", async || cache.has_key("n").await.is_ok()).await;
            let ttl = cache.ttl(&key).await.unwrap();
            assert!(matches!(ttl, None | Some(Ttl::Remaining(_))), "an immortal counter");
        } else {
            let after = count::<OnMemcached>(&server, "n");
            assert!(after == before - 3 || after == before && !is_done, "{before} {after}");
            counted += i32::from(after != before);
        }
    }
    assert!(longest < LONG);
    let seen =
        format!("`Unavailable`; of 30 each {counted} were counted and {made} made, none twice");
    report("an answer to an incr is cut off", &seen, longest);
    assert!(counted > 0 && made > 0, "{seen}");
}

/// At most one caller holds a lock, even if callers do not learn that they acquired or released it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn add_or_pop_with_a_lost_reply_has_no_second_winner() {
    let server = Memcached::start().unwrap();
    let proxy = Proxy::to(server.address()).unwrap();
    let more = format!("{PATIENT}{NO_BREAKER}");
    let near = cache(&[at(&server)], &more).strict();
    let far = cache_through(&proxy, &more).strict();
    for round in 0..24 {
        until("it works", async || far.has_key("k").await.is_ok()).await;
        let (lock, item) = (format!("lock{round}"), format!("item{round}"));
        near.set(&item, &1, Timeout::Default).await.unwrap();
        proxy.truncate_after(round);
        let (added, popped) =
            (far.add(&lock, &1, Timeout::Default).await, far.pop::<i32>(&item).await);
        proxy.pass();
        let (again, left) = (
            near.add(&lock, &2, Timeout::Default).await.unwrap(),
            near.pop::<i32>(&item).await.unwrap(),
        );
        assert!(!(added.is_ok_and(|it| it) && again), "two have the lock");
        assert!(!(popped.is_ok_and(|it| it.is_some()) && left.is_some()), "two have the item");
    }
}
