//! Servers that restart, crash, or start after the cache.

use std::time::{Duration, Instant};

use cache_core::{ErrorKind, Timeout};
use test_servers::Server as _;

use crate::{
    Connections, Harness, LONG, PATIENT, cache_on, connections_are_closed, is_outage, keys,
    load::{Freshness, Load, fails_open},
    promises, report, timed, until,
};

promises!($ restart:
    restart_while_idle_is_not_noticed,
    crash_under_load_causes_misses_until_the_restart,
    server_that_starts_after_the_cache_is_found,
);

/// After a restart while no call was active, the next call succeeds, in strict mode too, and values
/// that are written afterwards are found.
async fn restart_while_idle_is_not_noticed<S: Harness>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT).strict();
    cache.set("k", &0, Timeout::Default).await.unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        server.kill();
        // Without a task that reads between calls, only the next call notices the close.
        let which = if S::SHARES_CONNECTIONS {
            Connections::NotClosedByClient
        } else {
            Connections::Established
        };
        connections_are_closed(server.port(), which).await;
        server.restart().unwrap();
        let (res, took) = timed(cache.get::<i32>("k")).await;
        assert_eq!(res.unwrap(), None);
        longest = longest.max(took);
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    }
    report("restart while idle", "no error: the next call connects", longest);
}

/// While the server is down, calls return at once: reads are misses, writes seem to succeed,
/// increments and strict calls are errors. After the restart the same handle works again.
async fn crash_under_load_causes_misses_until_the_restart<S: Harness>() {
    let server = S::start();
    // The deadline plays no part in a crash, and must not make a call fail before it.
    let cache = cache_on::<S>(&server, PATIENT);
    let open = Load::start(&cache, keys("open", 32), Freshness::Latest);
    let strict = Load::start(&cache.strict(), keys("strict", 32), Freshness::Latest);
    until("all calls succeed", async || {
        open.has("incr", "done", 64) && strict.has("incr", "done", 64)
    })
    .await;
    assert_eq!(open.seen().failed(None) + strict.seen().failed(None), 0);

    server.kill();
    open.reset();
    strict.reset();
    let many = "Unavailable";
    until("all calls fail", async || open.has("incr", many, 200) && strict.has("get", many, 200))
        .await;
    let (open_seen, strict_seen) = (open.seen(), strict.seen());
    report("crash, failing open", &open_seen.to_string(), open_seen.longest());
    report("crash, strict", &strict_seen.to_string(), strict_seen.longest());
    assert!(fails_open(&open_seen), "{open_seen}");
    assert!(open_seen.of("get", "miss") > 100, "{open_seen}");
    assert!(open_seen.has_only_outages() && strict_seen.has_only_outages());

    server.restart().unwrap();
    open.reset();
    strict.reset();
    let back = until("all calls succeed again", async || {
        open.has("get", "hit", 64) && strict.has("incr", "done", 64)
    })
    .await;
    report("crash, after the restart", "the same handle works again", back);
    let (open, strict) = (open.stop().await, strict.stop().await);
    assert!(fails_open(&open), "{open}");
    assert!(open.longest().max(strict.longest()) < LONG, "{open}; {strict}");
}

/// The settings name a server that is not running: building succeeds, reads are misses at once,
/// errors of strict calls and of `check` name the server. After the start the same handle works.
async fn server_that_starts_after_the_cache_is_found<S: Harness>() {
    let server = S::start();
    server.kill();
    let cache = cache_on::<S>(&server, PATIENT);
    let (res, took) = timed(cache.get::<i32>("k")).await;
    assert_eq!(res.unwrap(), None);
    report("absent at the start, first get", "a miss", took);
    assert!(took < LONG / 3, "{took:?}");
    let (res, took) = timed(cache.set("k", &1, Timeout::Default)).await;
    res.unwrap();
    report("absent at the start, set", "`Ok`; a delete is pending", took);
    let (res, took) = timed(cache.add("k", &1, Timeout::Default)).await;
    assert!(is_outage(&res.unwrap_err()));
    report("absent at the start, add", "an error", took);
    let (res, took) = timed(cache.strict().get::<i32>("k")).await;
    let error = res.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    report("absent at the start, strict get", &error.to_string(), took);
    let (res, took) = timed(cache.check()).await;
    let error = res.unwrap_err();
    assert!(error.to_string().contains(&server.address().to_string()), "{error}");
    report("absent at the start, check", &error.to_string(), took);
    assert!(took < LONG / 3, "{took:?}");

    let began = Instant::now();
    server.restart().unwrap();
    until("calls succeed", async || cache.strict().set("k", &2, Timeout::Default).await.is_ok())
        .await;
    report("absent at the start, then started", "the handle works", began.elapsed());
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2));
    assert_eq!(S::stored(&server, "k").as_deref(), Some("2"));
    cache.check().await.unwrap();
}
