//! One server of three is down. Its keys are misses or on the next server, and the other servers
//! are not affected.

use std::time::{Duration, Instant};

use cache_core::{Cache, Timeout};
use fault_tests::{LONG, is_outage, keys, report, timed, until};
use test_servers::{Memcached, Server as _};

use crate::raw::Raw;
use crate::support::{at, cache, stored};

const KEYS: usize = 90;

struct Three {
    servers: Vec<Memcached>,
    cache: Cache,
    /// The keys of the server that goes down, and the keys of the others.
    its: Vec<String>,
    others: Vec<String>,
}

/// Long enough for a slow machine, and short enough to tell a wait for the frozen server from a
/// hang.
const DEADLINE: &str = "deadline = \"5s\"\nconnect_deadline = \"5s\"\n";
/// How long a breaker stays open before a probe, by default.
const OPEN_FOR: Duration = Duration::from_secs(1);

async fn three(more: &str) -> Three {
    let servers: Vec<_> = (0..3).map(|_| Memcached::start().unwrap()).collect();
    let locations: Vec<_> = servers.iter().map(at).collect();
    let cache = cache(&locations, &format!("{DEADLINE}{more}"));
    let keys = keys("k", KEYS);
    let failed =
        cache.strict().set_many(keys.iter().map(|it| (it, 1)), Timeout::Default).await.unwrap();
    assert!(failed.is_empty());
    let (its, others) = keys.into_iter().partition(|it| stored(&servers[1], it).is_some());
    let res = Three { servers, cache, its, others };
    assert!(res.its.len() > 5 && res.others.len() > 20, "{:?}", res.its);
    res
}

impl Three {
    /// Waits until the server is ejected. Returns how long that took.
    async fn ejected(&self) -> Duration {
        let strict = self.cache.strict();
        until("it is ejected", async || {
            let calls = (0..10).map(|_| strict.set(&self.its[0], &1, Timeout::Default));
            let answers = futures_util::future::join_all(calls).await;
            // A miss or a value of the next server, in both cases without waiting.
            answers.iter().all(|it| match it {
                Ok(()) => true,
                Err(error) => error.to_string().contains("circuit breaker"),
            })
        })
        .await
    }

    /// Checks that all keys of the other servers are served, one by one and in batches with keys of
    /// the lost server.
    async fn others_serve(&self, what: &str) {
        let strict = self.cache.strict();
        let mut longest = Duration::ZERO;
        for key in &self.others {
            let (res, took) = timed(strict.get::<i32>(key)).await;
            assert_eq!(res.unwrap(), Some(1), "{key}");
            longest = longest.max(took);
        }
        report(&format!("{what}, gets of the others' keys"), "nothing", longest);
        let all: Vec<_> = self.others.iter().chain(&self.its).collect();
        let (found, took) = timed(self.cache.get_many::<i32, _>(&all)).await;
        let found = found.unwrap();
        assert!(self.others.iter().all(|it| found.get(&it) == Some(&1)));
        report(&format!("{what}, a batch over all"), "the others' keys are hits", took);
        assert!(longest.max(took) < LONG, "{longest:?} {took:?}");
    }

    async fn back(&self) -> Duration {
        let strict = self.cache.strict();
        let back = until("it is back", async || {
            strict.set(&self.its[0], &1, Timeout::Default).await.is_ok()
                && stored(&self.servers[1], &self.its[0]).is_some()
        })
        .await;
        let all: Vec<_> = self.others.iter().chain(&self.its).collect();
        let failed = strict.set_many(all.iter().map(|it| (it, 1)), Timeout::Default).await.unwrap();
        assert!(failed.is_empty(), "{:?}", failed.first());
        assert_eq!(strict.get_many::<i32, _>(&all).await.unwrap().len(), KEYS);
        assert!(self.its.iter().all(|it| stored(&self.servers[1], it).is_some()));
        back
    }
}

/// `when_down = "miss"`, the default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_killed_server_are_misses_and_the_others_serve() {
    let three = three("").await;
    three.servers[1].kill();
    // Each key of a batch has its own result, from the first call on.
    three.others_serve("one of three killed").await;
    report(
        "one of three killed, until it is ejected",
        "its keys fail at once",
        three.ejected().await,
    );
    three.others_serve("one of three ejected").await;
    for key in &three.its {
        assert_eq!(three.cache.get::<i32>(key).await.unwrap(), None);
        assert!(is_outage(&three.cache.strict().get::<i32>(key).await.unwrap_err()));
    }
    let all = three.its.iter().chain(&three.others);
    let failed =
        three.cache.strict().set_many(all.map(|it| (it, 1)), Timeout::Default).await.unwrap();
    let mut failed: Vec<_> = failed.into_iter().map(|it| it.key).collect();
    failed.sort();
    let mut its = three.its.clone();
    its.sort();
    assert_eq!(failed, its, "listed are those, and only those");
    let (error, took) = timed(three.cache.check()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&at(&three.servers[1])), "{error}");
    report("one of three killed, check", &error, took);
    three.servers[1].restart().unwrap();
    report("one of three restarted", "its keys are there again", three.back().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_frozen_server_are_misses_and_the_others_serve() {
    let three = three("").await;
    three.servers[1].freeze();
    three.others_serve("one of three frozen").await;
    report(
        "one of three frozen, until it is ejected",
        "its keys take the deadline",
        three.ejected().await,
    );
    three.others_serve("one of three frozen and ejected").await;
    let (res, took) = timed(three.cache.get::<i32>(&three.its[0])).await;
    assert_eq!(res.unwrap(), None);
    report("one of three ejected, a get of its key", "a miss", took);
    let mut raw = Raw::to(three.servers[0].address());
    raw.set("foreign", "there");
    let (res, took) = timed(three.cache.clear()).await;
    let error = res.unwrap_err();
    assert!(is_outage(&error), "{error}");
    report("one of three frozen, clear", &error.to_string(), took);
    for key in &three.others {
        assert_eq!(three.cache.strict().get::<i32>(key).await.unwrap(), None, "cleared");
    }
    assert_eq!(raw.get("foreign").as_deref(), Some("there"));
    three.servers[1].thaw();
    report("one of three goes on", "its keys are there again", three.back().await);
}

/// `when_down = "next"`: the keys use the next server while theirs is ejected, and return with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_server_that_is_down_use_the_next_if_configured() {
    for is_killed in [true, false] {
        let three = three("[caches.default.options]\nwhen_down = \"next\"\n").await;
        let strict = three.cache.strict();
        let server = &three.servers[1];
        if is_killed {
            server.kill();
        } else {
            server.freeze();
        }
        report(
            "one of three down, next, until it is ejected",
            "its keys fail",
            three.ejected().await,
        );
        three.others_serve("one of three down, next").await;
        let (mut served, began) = (0_usize, Instant::now());
        for key in three.its.iter().cycle().take(200) {
            let write = strict.set(key, &2, Timeout::Default).await;
            let read = if write.is_ok() { strict.get::<i32>(key).await } else { Ok(None) };
            match write.and(read) {
                Ok(found) => {
                    assert_eq!(found, Some(2), "{key}");
                    served += 1;
                }
                Err(error) => assert!(is_outage(&error), "{error}"),
            }
        }
        report(
            "one of three down, next",
            &format!("{served} of 200 writes are read"),
            Duration::ZERO,
        );
        // A call fails if it is the probe. There is at most one while the breaker is open.
        let probes = 1 + (began.elapsed().as_millis() / OPEN_FOR.as_millis()) as usize;
        assert!(served + probes >= 200, "{served} with {probes} probes");
        let failed =
            strict.set_many(three.its.iter().map(|it| (it, 3)), Timeout::Default).await.unwrap();
        let found = strict.get_many::<i32, _>(&three.its).await.unwrap();
        assert!(failed.is_empty() && found.values().all(|it| *it == 3) || found.is_empty());
        if is_killed {
            server.restart().unwrap();
        } else {
            server.thaw();
        }
        report("one of three is back, next", "its keys are there again", three.back().await);
    }
}

/// While all servers are down, each call fails at once. All servers are used again when they are
/// up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_down_is_an_outage_until_one_is_up() {
    let three = three("[caches.default.options]\nwhen_down = \"next\"\n").await;
    let strict = three.cache.strict();
    for it in &three.servers {
        it.kill();
    }
    let all: Vec<_> = three.others.iter().chain(&three.its).collect();
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let (found, took) = timed(three.cache.get_many::<i32, _>(&all)).await;
        assert!(found.unwrap().is_empty());
        longest = longest.max(took);
        for key in &all[..20] {
            assert!(is_outage(&strict.set(key, &1, Timeout::Default).await.unwrap_err()));
        }
    }
    report("all three killed, a batch", "misses", longest);
    three.servers[0].restart().unwrap();
    until("all keys are on the one that is back", async || {
        strict.set_many(all.iter().map(|it| (it, 1)), Timeout::Default).await.unwrap().is_empty()
    })
    .await;
    // Now and then, a call is the probe of a server that is down, and fails.
    until("all keys are read", async || {
        strict.get_many::<i32, _>(&all).await.is_ok_and(|it| it.len() == KEYS)
    })
    .await;
}
