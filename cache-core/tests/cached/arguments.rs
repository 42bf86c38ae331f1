//! Functions of all forms, under lints that a program may have.

#![deny(missing_docs, warnings, clippy::pedantic)]
#![allow(clippy::unused_async, clippy::needless_pass_by_value)]

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, time::Duration};

use cache_core as renamed;
use cache_core::{cached, secs};
use serde::{Serialize, de::DeserializeOwned};

use crate::{MEMORY, Runs, with};

/// A point.
#[derive(Clone, Debug, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

/// Adds what a pattern binds.
#[cached]
async fn add(Point { x, y }: Point, (a, b): (i32, i32)) -> i32 {
    x + y + a + b
}

/// Sorts.
#[cached(ttl = secs(60))]
async fn sorted(mut numbers: Vec<u32>, text: &str) -> Vec<u32> {
    numbers.sort_unstable();
    numbers.extend(text.parse::<u32>());
    numbers
}

/// Reads a value of any type.
#[cached(name = "read", ttl = Duration::from_secs(61))]
async fn read<T, const N: usize>(text: &str) -> Result<[T; N], serde_json::Error>
where
    T: Serialize + DeserializeOwned,
    [T; N]: Serialize + DeserializeOwned,
{
    serde_json::from_str(text)
}

/// Borrows with names.
#[cached(key = "{a}/{b}", crate = renamed)]
fn joined<'a, D: Display + Serialize>(a: &'a str, b: D, rest: Cow<'a, str>) -> String {
    format!("{a}{b}{rest}")
}

/// Calls itself.
#[cached]
#[must_use]
#[expect(clippy::many_single_char_names, reason = "it is a formula")]
fn fibonacci(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b, c, d, e) = (fibonacci(n - 1), fibonacci(n - 2), 0, 0, 0);
    a + b + c + d + e
}

/// Is seen by other crates.
#[cached(tags = [], name = "everything", key = "all:{n}", if = |it| !it.is_empty(), version = -2)]
#[tracing::instrument]
pub(crate) async fn everything(n: u32) -> BTreeMap<String, u32> {
    tokio::task::yield_now().await;
    BTreeMap::from([(n.to_string(), n)])
}

fn is_send<T: Send>(it: T) -> T {
    it
}

#[tokio::test]
async fn pattern_and_mutable_arguments_are_passed_on() {
    with(MEMORY, async {
        assert_eq!(is_send(add(Point { x: 1, y: 2 }, (3, 4))).await, 10);
        assert_eq!(add(Point { x: 1, y: 2 }, (3, 4)).await, 10);
        assert_eq!(is_send(sorted(vec![3, 1], "5")).await, [1, 3, 5]);
        assert_eq!(sorted(vec![3, 1], "x").await, [1, 3]);
        assert_eq!(sorted(vec![3, 1], "5").await, [1, 3, 5]);
    })
    .await;
}

#[tokio::test]
async fn generic_function_has_one_key_per_type() {
    with(MEMORY, async {
        assert_eq!(read::<u32, 1>("[1]").await.unwrap(), [1]);
        assert_eq!(read::<Option<u32>, 1>("[1]").await.unwrap(), [Some(1)]);
        assert!(read::<String, 1>("[1]").await.is_err());
        assert_eq!(read::<u32, 0>("[]").await.unwrap(), [0_u32; 0]);
        assert_ne!(read::key::<u8, 1>("[1]").unwrap(), read::key::<u16, 1>("[1]").unwrap());
        assert_ne!(read::key::<u8, 1>("[1]").unwrap(), read::key::<u8, 2>("[1]").unwrap());
        assert_eq!(joined("a", 1, "c".into()), "a1c");
        assert_eq!(joined("a", 1, "d".into()), "a1d");
        let key = joined::key("a", 1_u8, "d".into()).unwrap();
        assert_ne!(key, joined::key("a", 1_u16, "d".into()).unwrap());
        assert_eq!(everything(3).await["3"], 3);
        assert_eq!(everything(3).await, everything::refresh(3).await);
    })
    .await;
}

#[tokio::test]
async fn recursive_function_is_cached_at_each_step() {
    with(MEMORY, async {
        assert_eq!(fibonacci(80), 23_416_728_348_467_685);
    })
    .await;
}

#[tokio::test]
async fn function_within_a_function_is_cached() {
    static RUNS: Runs = Runs::new();
    /// Is local.
    #[cached]
    async fn local(n: u8) -> u8 {
        RUNS.next();
        n
    }
    with(MEMORY, async {
        assert_eq!((local(1).await, local(1).await, RUNS.count()), (1, 1, 1));
    })
    .await;
}
