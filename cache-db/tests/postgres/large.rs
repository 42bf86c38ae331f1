//! A million rows.

use std::time::{Duration, Instant};

use cache_core::{secs, testing::FakeClock};
use test_servers::Postgres;

use crate::support::{cache_by, number, options, raw, timed, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn million_rows_are_served_trimmed_and_cleared() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    // A clock that stands still: an idle cache would trim without a write.
    let clock = FakeClock::new();
    let cache = cache_by(&clock, &server.url(), &options("max_entries = 800000")).strict();
    // Statements prepared here are planned for an empty table.
    cache.set("first", &1, secs(600)).await.unwrap();
    cache.clear().await.unwrap();
    let (fill, took) = timed(client.batch_execute(
        "INSERT INTO cache (key, value, expires) SELECT convert_to(':1:k' || i, 'UTF8'), convert_to(i::text, 'UTF8'), \
         CASE WHEN i % 10 = 0 THEN 1 END FROM generate_series(1, 1000000) i",
    ))
    .await;
    fill.unwrap();
    eprintln!("filled in {took:?}");
    let began = Instant::now();
    for i in (1..1_000_000).step_by(9973) {
        let expected = (i % 10 != 0).then_some(i);
        assert_eq!(cache.get::<i64>(&format!("k{i}")).await.unwrap(), expected);
        cache.set(&format!("new{i}"), &i, secs(600)).await.unwrap();
    }
    eprintln!("200 calls in {:?}", began.elapsed());
    let keys: Vec<_> = (500_000..510_000).map(|i| format!("k{i}")).collect();
    let (found, took) = timed(cache.get_many::<i64, _>(&keys)).await;
    eprintln!("10000 read in {took:?}");
    assert_eq!(found.unwrap().len(), 9000);
    // A new process estimates what others have written.
    let late = crate::support::cache(&server.url(), &options("max_entries = 800000")).strict();
    let began = Instant::now();
    for round in 0..30 {
        let items = (0..1000).map(|i| (format!("more{round}-{i}"), i));
        assert!(late.set_many(items, secs(600)).await.unwrap().is_empty());
    }
    eprintln!("30000 written in {:?}", began.elapsed());
    let count = "SELECT count(*) FROM cache";
    let took = until("it is trimmed", async || number(&client, count).await <= 880_000).await;
    eprintln!("trimmed in {took:?}");
    // sleeps: there is no other way to see whether too much is removed
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = number(&client, count).await;
    eprintln!("left {left}");
    assert!((720_000..=880_000).contains(&left), "{left}");
    let (cleared, took) = timed(cache.clear()).await;
    eprintln!("cleared in {took:?}");
    cleared.unwrap();
    assert_eq!(number(&client, count).await, 0);
}
