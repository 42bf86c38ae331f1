//! Lost replies: the server has executed the call once or not at all.

use std::time::Duration;

use futures_util::future::join_all;
use test_servers::{Proxy, Server as _, proxy::Direction};

use crate::{Harness, NO_BREAKER, cache_through, is_outage, promises, report, timed, until};

promises!($ once:
    incr_whose_reply_is_lost_counts_at_most_once,
);

/// Returns the counter's value at the server.
pub fn count<S: Harness>(server: &S::Server, key: &str) -> i64 {
    S::stored(server, key).unwrap().parse().unwrap()
}

/// The replies to many concurrent increments are cut off or swallowed. The counter is at least the
/// number of acknowledged increments and at most the number of sent ones.
async fn incr_whose_reply_is_lost_counts_at_most_once<S: Harness>() {
    let server = S::start();
    let proxy = Proxy::to(server.address()).unwrap();
    let cache = cache_through::<S>(&proxy, &format!("deadline = \"150ms\"\n{NO_BREAKER}")).strict();
    // The counter exists now, so each call sends one command.
    until("the counter exists", async || {
        cache.incr_or("n", 0, 0, cache_core::Timeout::Default).await.is_ok()
    })
    .await;
    let (mut sent, mut acknowledged, mut longest) = (0, 0, Duration::ZERO);
    for round in 0..12 {
        until("calls succeed", async || cache.has_key("n").await.is_ok()).await;
        let is_swallowed = round % 3 == 0;
        if is_swallowed {
            proxy.swallow(Direction::ToClient);
        } else {
            proxy.truncate_after(round * if S::SHARES_CONNECTIONS { 13 } else { 130 });
        }
        let (results, took) = timed(join_all((0..16).map(|_| cache.incr("n", 1)))).await;
        longest = longest.max(took);
        sent += 16;
        for it in results {
            match it {
                Ok(_) => acknowledged += 1,
                Err(error) => assert!(is_outage(&error), "{error}"),
            }
        }
        // A real network does not resume in the middle of lost bytes.
        proxy.cut();
        proxy.pass();
        let counted = count::<S>(&server, "n");
        assert!((acknowledged..=sent).contains(&counted), "{acknowledged} {counted} {sent}");
    }
    let counted = count::<S>(&server, "n");
    let seen = format!("{sent} sent, {acknowledged} acknowledged, {counted} counted");
    report("the replies to incrs are lost", &seen, longest);
    assert!(acknowledged < sent);
}
