//! Limits the requests of each user, and tells a refused user when to come again.
//!
//! It shows how to build a limit on `incr_or`. Web services use `cache_tower::rate_limit`.

use std::time::Duration;

use cache_core::{
    Cache, Caches, ErrorKind, OnOutage, Result, Ttl, secs,
    testing::{FakeClock, Fault, Faulty},
};
use cache_memory::Memory;

// ANCHOR: recipe
/// The number of requests that a user may make in a minute.
const LIMIT: i64 = 5;

#[derive(Debug, PartialEq)]
enum Answer {
    /// The request may pass. So many more may pass in this minute.
    Pass(i64),
    /// The request is refused: status 429, with this time in the header `Retry-After`.
    Wait(Duration),
}

async fn request(cache: &Cache, user: &str) -> Result<Answer> {
    let key = format!("requests:{user}");
    // The first request of a minute creates the counter with its lifetime, in one step. While the
    // store is down, every request counts as the first one.
    let count = cache.incr_or(&key, 1, 0, secs(60)).await.on_outage(1)?;
    if count <= LIMIT {
        return Ok(Answer::Pass(LIMIT - count));
    }
    match cache.ttl(&key).await? {
        Some(Ttl::Remaining(left)) => Ok(Answer::Wait(left)),
        // The minute has just ended.
        _ => Ok(Answer::Wait(Duration::ZERO)),
    }
}
// ANCHOR_END: recipe

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // A clock that this program moves, and a store that it can switch off.
    let time = FakeClock::new();
    let store = Faulty::new(Memory::builder().clock(time.clock()).build()?);
    let caches = Caches::builder().backend("default", store.clone()).clock(time.clock()).build()?;
    let cache = caches.get("default")?;

    for left in (0..LIMIT).rev() {
        assert_eq!(request(cache, "ada").await?, Answer::Pass(left));
    }
    time.advance(Duration::from_secs(20));
    let wait = Answer::Wait(Duration::from_secs(40));
    assert_eq!(request(cache, "ada").await?, wait, "the window began with the first request");
    assert_eq!(request(cache, "bob").await?, Answer::Pass(4), "each user has a counter");

    time.advance(Duration::from_secs(40));
    assert_eq!(request(cache, "ada").await?, Answer::Pass(4));

    store.inject(|_| Fault::Error(ErrorKind::Unavailable));
    for _ in 0..20 {
        assert_eq!(request(cache, "ada").await?, Answer::Pass(4));
    }
    println!("{LIMIT} requests a minute, and all of them while the store is down");
    Ok(())
}
