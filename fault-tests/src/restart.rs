//! A server that is killed, and one that is not there at first.

use std::time::{Duration, Instant};

use cache_core::{ErrorKind, Timeout};
use test_servers::Server as _;

use crate::{
    Held, LONG, PATIENT, Stage, cache_on, is_outage, keys,
    load::{Age, Load, is_open_about_it},
    loss_is_known, promises, report, timed, until,
};

promises!($ restart:
    a_restart_while_idle_is_not_seen,
    a_crash_under_load_is_misses_until_the_server_is_back,
    a_server_that_is_absent_at_the_start_is_found_when_it_comes,
);

/// Who calls again after a restart that came while nobody called sees nothing of it: neither a miss of what was written
/// since, nor an error in strict mode.
async fn a_restart_while_idle_is_not_seen<S: Stage>() {
    let server = S::start();
    let cache = cache_on::<S>(&server, PATIENT).strict();
    cache.set("k", &0, Timeout::Default).await.unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        server.kill();
        // Where nobody listens between calls, it is the next one that notices.
        let held = if S::SHARES_CONNECTIONS { Held::ByClient } else { Held::ByBoth };
        loss_is_known(server.port(), held).await;
        server.restart().unwrap();
        let (res, took) = timed(cache.get::<i32>("k")).await;
        assert_eq!(res.unwrap(), None);
        longest = longest.max(took);
        cache.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    }
    report("restart while idle", "nothing: the next call connects", longest);
}

/// Calls fail at once while the server is gone: reads are misses, writes seem done, counts and strict calls are errors. The same
/// handle works again as soon as the server does.
async fn a_crash_under_load_is_misses_until_the_server_is_back<S: Stage>() {
    let server = S::start();
    // Who has crashed is no matter of deadlines, and none may make a call fail beforehand.
    let cache = cache_on::<S>(&server, PATIENT);
    let open = Load::start(&cache, keys("open", 32), Age::Latest);
    let strict = Load::start(&cache.strict(), keys("strict", 32), Age::Latest);
    until("all work", async || open.has("incr", "done", 64) && strict.has("incr", "done", 64))
        .await;
    assert_eq!(open.seen().failed(None) + strict.seen().failed(None), 0);

    server.kill();
    open.forget();
    strict.forget();
    let many = "Unavailable";
    until("all fail", async || open.has("incr", many, 200) && strict.has("get", many, 200)).await;
    let (open_seen, strict_seen) = (open.seen(), strict.seen());
    report("crash, failing open", &open_seen.to_string(), open_seen.longest());
    report("crash, strict", &strict_seen.to_string(), strict_seen.longest());
    assert!(is_open_about_it(&open_seen), "{open_seen}");
    assert!(open_seen.of("get", "miss") > 100, "{open_seen}");
    assert!(open_seen.has_only_outages() && strict_seen.has_only_outages());

    server.restart().unwrap();
    open.forget();
    strict.forget();
    let back = until("all work again", async || {
        open.has("get", "hit", 64) && strict.has("incr", "done", 64)
    })
    .await;
    report("crash, after the restart", "the same handle works again", back);
    let (open, strict) = (open.stop().await, strict.stop().await);
    assert!(is_open_about_it(&open), "{open}");
    assert!(open.longest().max(strict.longest()) < LONG, "{open}; {strict}");
}

/// Settings name a server that is not there yet: building succeeds, calls are misses at once, strict ones and `check` say
/// which server it is. When it comes it is found.
async fn a_server_that_is_absent_at_the_start_is_found_when_it_comes<S: Stage>() {
    let server = S::start();
    server.kill();
    let cache = cache_on::<S>(&server, PATIENT);
    let (res, took) = timed(cache.get::<i32>("k")).await;
    assert_eq!(res.unwrap(), None);
    report("absent at the start, first get", "a miss", took);
    assert!(took < LONG / 3, "{took:?}");
    let (res, took) = timed(cache.set("k", &1, Timeout::Default)).await;
    res.unwrap();
    report("absent at the start, set", "as if done; the key is marked", took);
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
    until("it works", async || cache.strict().set("k", &2, Timeout::Default).await.is_ok()).await;
    report("absent at the start, then started", "the handle works", began.elapsed());
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(2));
    assert_eq!(S::stored(&server, "k").as_deref(), Some("2"));
    cache.check().await.unwrap();
}
