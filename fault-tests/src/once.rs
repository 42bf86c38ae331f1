//! A reply that is lost: what was asked was done once, or not at all.

use std::time::Duration;

use futures_util::future::join_all;
use test_servers::{Proxy, Server as _, proxy::Direction};

use crate::{NO_BREAKER, Stage, cache_through, is_outage, promises, report, timed, until};

promises!($ once:
    incrs_whose_answers_are_lost_count_at_most_once_each,
);

/// Where the server has counted.
pub fn count<S: Stage>(server: &S::Server, key: &str) -> i64 {
    S::stored(server, key).unwrap().parse().unwrap()
}

/// Answers to many at once are cut off or swallowed: never more than were asked for, never less than were
/// acknowledged.
async fn incrs_whose_answers_are_lost_count_at_most_once_each<S: Stage>() {
    let server = S::start();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through::<S>(&proxy, &format!("deadline = \"150ms\"\n{NO_BREAKER}")).strict();
    // From here on the server knows all that is needed to count: nothing else is sent.
    until("it is made", async || {
        cache.incr_or("n", 0, 0, cache_core::Timeout::Default).await.is_ok()
    })
    .await;
    let (mut asked, mut acknowledged, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..12 {
        until("it works", async || cache.has_key("n").await.is_ok()).await;
        let is_swallowed = round % 3 == 0;
        if is_swallowed {
            proxy.swallow(Direction::ToClient);
        } else {
            proxy.truncate_after(round * if S::SHARES_CONNECTIONS { 13 } else { 130 });
        }
        let (answers, took) = timed(join_all((0..16).map(|_| cache.incr("n", 1)))).await;
        longest = longest.max(took);
        asked += 16;
        for it in answers {
            match it {
                Ok(_) => acknowledged += 1,
                Err(error) => assert!(is_outage(&error), "{error}"),
            }
        }
        // No network goes on in the middle of what it has lost.
        proxy.cut();
        proxy.pass();
        let counted = count::<S>(&server, "n");
        assert!((acknowledged..=asked).contains(&counted), "{acknowledged} {counted} {asked}");
    }
    let counted = count::<S>(&server, "n");
    let seen = format!("{asked} asked, {acknowledged} acknowledged, {counted} counted");
    report("the answers to incrs are lost", &seen, longest);
    assert!(acknowledged < asked);
}
