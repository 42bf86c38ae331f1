//! Runtimes that come and go under one handle, dropped futures, and calls without a runtime.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use cache_core::{ErrorKind, Timeout, secs};
use futures_util::future::join_all;
use test_servers::{Postgres, wait_until};
use tokio::runtime::{Builder, Runtime};

use crate::support::{LONG, PATIENT, cache, number, options, raw, until};

const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cache-db'";

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn connections_belong_to_their_runtime_and_end_with_it() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    let outside = runtime();
    let client = outside.block_on(raw(&server));
    let connections = || outside.block_on(number(&client, OURS));
    for _ in 0..3 {
        let [first, second] = [runtime(), runtime()];
        first.block_on(cache.set("k", &1, secs(60))).unwrap();
        assert_eq!(second.block_on(cache.get::<i32>("k")).unwrap(), Some(1));
        assert!(connections() >= 2);
        first.shutdown_background();
        assert_eq!(second.block_on(cache.get::<i32>("k")).unwrap(), Some(1));
        drop(second);
        let gone = || connections() == 0;
        wait_until("the connections have ended", Duration::from_secs(30), gone).unwrap();
    }
}

#[tokio::test]
async fn close_ends_the_connections_and_the_next_call_reconnects() {
    let server = Postgres::start().unwrap();
    let client = raw(&server).await;
    let cache = cache(&server.url(), &options("connections = 3")).strict();
    for _ in 0..3 {
        for i in 0..20 {
            cache.set(&format!("k{i}"), &1, secs(60)).await.unwrap();
        }
        // And one for slow statements.
        until("there are all connections", async || number(&client, OURS).await == 4).await;
        cache.close().await.unwrap();
        cache.close().await.unwrap();
        until("the connections have ended", async || number(&client, OURS).await == 0).await;
    }
}

#[test]
fn call_without_a_runtime_is_a_clear_error() {
    let cache = cache("postgres://nobody@127.0.0.1:1/d", "").strict();
    let mut call = pin!(cache.get::<i32>("k"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match call.as_mut().poll(&mut cx) {
        Poll::Ready(Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::Runtime);
            assert!(error.to_string().contains("tokio runtime"), "{error}");
        }
        it => panic!("{it:?}"),
    }
}

#[test]
fn blocking_api_works_like_the_async_one() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), PATIENT).strict();
    let cache = cache.blocking();
    cache.set("k", &1, secs(60)).unwrap();
    assert_eq!(cache.incr("k", 1).unwrap(), 2);
}

/// Polls so often, and then never again.
async fn polled<T>(times: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = times;
    poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(it) => Poll::Ready(Some(it)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// All calls share one connection. A dropped call takes no other call's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_gets_its_own_answer_beside_dropped_calls() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    let keys: Vec<String> = (0..20).map(|i| format!("k{i}")).collect();
    for key in &keys {
        cache.set(key, key, secs(600)).await.unwrap();
    }
    let tasks = (0..20).map(|task: usize| {
        let (cache, keys) = (cache.clone(), keys.clone());
        tokio::spawn(async move {
            let mut dropped = 0;
            for round in 0..200 {
                let key = &keys[(task + round) % 20];
                let many = async {
                    let asked = [key, &keys[task]];
                    let found = cache.get_many::<String, _>(asked).await.unwrap();
                    assert!(found.iter().all(|(key, value)| *key == value));
                };
                let one = async {
                    assert_eq!(cache.get::<String>(key).await.unwrap().as_ref(), Some(key));
                };
                if task.is_multiple_of(2) {
                    many.await;
                    one.await;
                } else {
                    dropped += usize::from(polled(round % 3, many).await.is_none());
                    dropped += usize::from(polled(round % 2, one).await.is_none());
                }
            }
            dropped
        })
    });
    let dropped: usize = join_all(tasks).await.into_iter().map(Result::unwrap).sum();
    assert!(dropped > 0);
}

/// A call that is dropped while the connection or a statement is prepared does not take it away
/// from others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_first_call_delays_no_other() {
    let server = Postgres::start().unwrap();
    for times in 0..12 {
        let cache = cache(&server.url(), &options("connections = 1")).strict();
        // A quick server may have answered already.
        let _ = polled(times % 4, cache.get::<i32>("k")).await;
        let calls = (0..50).map(|_| cache.get::<i32>("k"));
        for it in join_all(calls).await {
            assert_eq!(it.unwrap(), None);
        }
    }
}

/// A caller that begins a call and then does something else delays no other caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_is_not_polled_delays_no_other() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    let keys: Vec<String> = (0..50).map(|i| format!("k{i}")).collect();
    for len in [100, 5000, 100_000] {
        let value = "x".repeat(len);
        let items = keys.iter().map(|it| (it, &value));
        assert!(cache.set_many(items, secs(600)).await.unwrap().is_empty());
        cache.get_many::<String, _>(&keys).await.unwrap();
        let mut left = pin!(cache.get_many::<String, _>(&keys));
        let first = poll_fn(|cx| Poll::Ready(left.as_mut().poll(cx))).await;
        let other = tokio::time::timeout(LONG, cache.get::<i32>("other")).await;
        assert!(other.is_ok(), "{len}");
        let found = match first {
            Poll::Ready(it) => it,
            Poll::Pending => left.await,
        };
        assert_eq!(found.unwrap().len(), keys.len());
    }
}

/// Also single calls, for any size of their answers and any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_calls_that_are_not_polled_delay_no_other() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    let keys: Vec<String> = (0..32).map(|i| format!("k{i}")).collect();
    // Answers that the server sends in one part or in several; some end where a part of 8 KiB ends.
    for len in [100, 8174, 16_366, 24_558, 300_000] {
        let value = "x".repeat(len);
        let items = keys.iter().map(|it| (it, &value));
        assert!(cache.set_many(items, secs(600)).await.unwrap().is_empty());
        let mut left: Vec<_> = keys.iter().map(|it| Box::pin(cache.get::<String>(it))).collect();
        let mut first = Vec::new();
        for it in &mut left {
            first.push(poll_fn(|cx| Poll::Ready(it.as_mut().poll(cx))).await);
            let other = tokio::time::timeout(LONG, cache.set("other", &1, Timeout::Default));
            assert!(other.await.is_ok(), "a call beside answers of {len} bytes");
        }
        for (first, call) in first.into_iter().zip(left) {
            let found = match first {
                Poll::Ready(it) => it,
                Poll::Pending => call.await,
            };
            assert_eq!(found.unwrap().map(|it| it.len()), Some(len));
        }
    }
}

/// A dropped call takes effect before later calls, or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_write_does_not_arrive_after_a_later_delete() {
    let server = Postgres::start().unwrap();
    let cache = cache(&server.url(), &options("connections = 1")).strict();
    for round in 0..300 {
        let _ = polled(round % 4, cache.set("k", &round, secs(600))).await;
        cache.delete("k").await.unwrap();
        for _ in 0..3 {
            assert_eq!(cache.get::<usize>("k").await.unwrap(), None, "round {round}");
        }
        if round % 50 == 0 {
            cache.close().await.unwrap();
        }
    }
}
