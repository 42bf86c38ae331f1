//! Counters. The server's own casts would accept almost any text.

use cache_core::{
    Error, ErrorKind, Ttl,
    store::{Backend, CounterInit, Expiry, SetMode, integer},
};
use futures_util::{FutureExt as _, future::join_all};
use std::{sync::Arc, time::Duration};
use test_servers::Postgres;

use crate::support::{options, store, until};

const LONG: Expiry = Expiry::After(Duration::from_secs(600));

async fn put(store: &Arc<dyn Backend>, key: &str, value: &[u8]) {
    let value = value.to_vec().into();
    store.set(key, value, LONG, SetMode::Always).await.unwrap();
}

/// For every stored value and delta: as if the client had read the value and added by itself.
#[tokio::test]
async fn counting_follows_the_rules_of_cache_core() {
    let server = Postgres::start().unwrap();
    let store = store(&server.url(), &options(""));
    let numbers = [0, 1, -1, 9, 10, -10, 41, i64::MAX, i64::MAX - 5, i64::MIN, i64::MIN + 5];
    let mut texts: Vec<Vec<u8>> = numbers.iter().map(|it| it.to_string().into_bytes()).collect();
    let odd: [&[u8]; 24] = [
        b"",
        b"-",
        b"+5",
        b"007",
        b"-0",
        b"00",
        b"-01",
        b" 1",
        b"1 ",
        b"1\n",
        b"\n1",
        b"12abc",
        b"\"41\"",
        b"true",
        b"1.0",
        b"1e3",
        b"0x1",
        b"--1",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"99999999999999999999",
        b"\xff1",
        b"1\0",
        "\u{663}".as_bytes(),
    ];
    texts.extend(odd.iter().map(|it| it.to_vec()));
    for text in texts {
        for delta in numbers {
            let expected = integer::parse(&text).and_then(|it| integer::add(it, delta));
            let create = CounterInit::new(i64::MAX, LONG);
            for create in [None, Some(create), Some(CounterInit::new(0, LONG))] {
                put(&store, "n", &text).await;
                let counted = store.incr("n", delta, create).await;
                let said = counted.as_ref().map_err(Error::kind).copied();
                let wanted = expected.as_ref().map(|it| Some(*it)).map_err(Error::kind);
                assert_eq!(said, wanted, "{} + {delta}", text.escape_ascii());
                let stored = expected.as_ref().map_or(text.clone(), |it| it.to_string().into());
                assert_eq!(store.get("n").await.unwrap().unwrap(), stored);
            }
        }
    }
}

#[tokio::test]
async fn missing_counter_is_created_only_by_incr_or() {
    let server = Postgres::start().unwrap();
    let store = store(&server.url(), &options(""));
    assert_eq!(store.incr("n", 1, None).await.unwrap(), None);
    let create = CounterInit::new(i64::MAX, LONG);
    let error = store.incr("n", 1, Some(create)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert!(!store.has("n").await.unwrap());
    let moment = Expiry::After(Duration::from_millis(1));
    store.set("n", "no number".into(), moment, SetMode::Always).await.unwrap();
    until("it has expired", async || !store.has("n").await.unwrap()).await;
    assert_eq!(store.incr("n", -1, Some(create)).await.unwrap(), Some(i64::MAX - 1));
    let ttl = store.ttl("n").await.unwrap();
    assert!(matches!(ttl, Some(Ttl::Remaining(it)) if it > Duration::from_secs(500)), "{ttl:?}");
    let never = CounterInit::new(0, Expiry::Never);
    assert_eq!(store.incr("n", -5, Some(never)).await.unwrap(), Some(i64::MAX - 6));
    assert!(matches!(store.ttl("n").await.unwrap(), Some(Ttl::Remaining(_))));
}

/// Changes that come while another one is under way are added up; no caller sees a difference.
#[tokio::test]
async fn concurrent_changes_of_one_counter_are_answered_as_if_each_were_alone() {
    let server = Postgres::start().unwrap();
    let store = store(&server.url(), &options(""));
    let create = Some(CounterInit::new(100, LONG));
    let count = async |deltas: &[i64], create| {
        join_all(deltas.iter().map(|delta| store.incr("n", *delta, create))).await
    };
    let kinds = |answers: Vec<cache_core::Result<Option<i64>>>| {
        answers.into_iter().map(|it| it.map_err(|error| error.kind())).collect::<Vec<_>>()
    };
    assert_eq!(kinds(count(&[1; 9], None).await), [Ok(None); 9]);
    let (first, others) = tokio::join!(count(&[1; 9], create), count(&[1; 9], None));
    assert_eq!(kinds(first), (101..110).map(|it| Ok(Some(it))).collect::<Vec<_>>());
    assert!(others.into_iter().all(|it| it.unwrap().is_some_and(|it| it <= 118)));
    assert_eq!(store.incr("n", 0, None).await.unwrap(), Some(118));
    assert!(matches!(store.ttl("n").await.unwrap(), Some(Ttl::Remaining(_))));

    put(&store, "n", b"0").await;
    let answers = count(&[1, -1, 2, -2, i64::MAX, -i64::MAX, 3, -3], create).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(store.incr("n", 0, None).await.unwrap(), Some(0));

    put(&store, "n", (i64::MAX - 5).to_string().as_bytes()).await;
    let answers = kinds(count(&[3; 9], create).await);
    assert_eq!(answers[0], Ok(Some(i64::MAX - 2)));
    assert_eq!(answers[1..], [Err(ErrorKind::Overflow); 8]);
    assert_eq!(store.incr("n", 0, None).await.unwrap(), Some(i64::MAX - 2));

    put(&store, "n", b"no number").await;
    assert_eq!(kinds(count(&[1; 9], create).await), [Err(ErrorKind::NotAnInteger); 9]);
    assert_eq!(store.get("n").await.unwrap().unwrap(), "no number");
}

/// The first of them has the turn, and the last two wait for it.
#[tokio::test]
async fn dropped_or_unpolled_increment_delays_no_other_and_is_not_made_later() {
    let server = Postgres::start().unwrap();
    let store = store(&server.url(), &options(""));
    put(&store, "n", b"0").await;
    let mut calls: Vec<_> = (0..4).map(|_| store.incr("n", 1, None)).collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    // The first is not polled again, and the second leaves.
    drop(calls.remove(1));
    let last = calls.split_off(1);
    let answers: Vec<_> = join_all(last).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [Some(2), Some(3)]);
    assert_eq!(calls.remove(0).await.unwrap(), Some(1));
    assert_eq!(store.incr("n", 0, None).await.unwrap(), Some(3));
}

/// Also while the counter expires again and again: each life begins with the first count and holds
/// no sum of the previous one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_concurrent_increment_counts_once() {
    const TASKS: i64 = 8;
    const EACH: i64 = 300;
    let server = Postgres::start().unwrap();
    let store = store(&server.url(), &options("connections = 4"));
    for expiry in [LONG, Expiry::After(Duration::from_millis(3))] {
        let create = Some(CounterInit::new(0, expiry));
        let tasks = (0..TASKS).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut said = Vec::new();
                for _ in 0..EACH {
                    said.push(store.incr("n", 1, create).await.unwrap().unwrap());
                }
                said
            })
        });
        let mut said: Vec<i64> =
            join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
        said.sort_unstable();
        if expiry == LONG {
            assert_eq!(said, (1..=TASKS * EACH).collect::<Vec<_>>());
            store.delete("n").await.unwrap();
        } else {
            // As many twos as ones, except for lives that ended with one, and so on.
            let counts = |n: i64| said.iter().filter(|it| **it == n).count();
            assert!((1..TASKS * EACH).all(|n| counts(n) >= counts(n + 1)));
        }
    }
}
