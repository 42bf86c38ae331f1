//! Which results are kept.

use std::io;

use cache_core::{cache, cached};
use serde::{Deserialize, Serialize};

use crate::{MEMORY, Runs, with};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u32,
    active: bool,
}

#[tokio::test]
async fn result_is_kept_and_the_function_runs_once() {
    static RUNS: Runs = Runs::new();
    #[cached(ttl = "5m", key = "user:{id}")]
    async fn user(id: u32) -> User {
        User { id, active: RUNS.next() == 1 }
    }
    with(MEMORY, async {
        assert_eq!(user(7).await, user(7).await);
        assert_eq!(RUNS.count(), 1);
        assert_eq!(user(8).await.id, 8);
        assert_eq!(cache().get::<User>("user:7").await.unwrap().unwrap().id, 7);
    })
    .await;
}

#[tokio::test]
async fn only_ok_is_kept() {
    static RUNS: Runs = Runs::new();
    #[cached]
    async fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
        RUNS.next();
        text.parse()
    }
    with(MEMORY, async {
        assert!(parse("x").await.is_err() && parse("x").await.is_err());
        assert_eq!(RUNS.count(), 2);
        assert_eq!((parse("7").await, parse("7").await), (Ok(7), Ok(7)));
        assert_eq!(RUNS.count(), 3);
    })
    .await;
}

#[tokio::test]
async fn only_some_is_kept() {
    static RUNS: Runs = Runs::new();
    #[cached]
    async fn find(id: u32) -> Option<String> {
        RUNS.next();
        (id > 0).then(|| "Ada".to_owned())
    }
    #[cached]
    async fn try_find(id: u32) -> io::Result<Option<String>> {
        RUNS.next();
        Ok((id > 0).then(|| "Ada".to_owned()))
    }
    with(MEMORY, async {
        assert_eq!((find(0).await, find(0).await), (None, None));
        assert_eq!(RUNS.count(), 2);
        assert_eq!(find(1).await, find(1).await);
        assert_eq!(RUNS.count(), 3);
        assert_eq!(try_find(0).await.unwrap(), None);
        assert_eq!(try_find(0).await.unwrap(), None);
        assert_eq!(RUNS.count(), 5);
        assert_eq!(try_find(1).await.unwrap(), try_find(1).await.unwrap());
        assert_eq!(RUNS.count(), 6);
    })
    .await;
}

#[tokio::test]
async fn none_is_kept_with_cache_none() {
    static RUNS: Runs = Runs::new();
    #[cached(cache_none, key = "a:{id}")]
    async fn find(id: u32) -> Option<u32> {
        RUNS.next();
        (id > 0).then_some(id)
    }
    #[cached(cache_none, key = "b:{id}")]
    async fn try_find(id: u32) -> Result<Option<u32>, String> {
        RUNS.next();
        if id > 9 { Err("too large".to_owned()) } else { Ok((id > 0).then_some(id)) }
    }
    with(MEMORY, async {
        assert_eq!((find(0).await, find(0).await, RUNS.count()), (None, None, 1));
        assert_eq!((find(1).await, find(1).await, RUNS.count()), (Some(1), Some(1), 2));
        assert_eq!((try_find(0).await, try_find(0).await), (Ok(None), Ok(None)));
        assert_eq!(RUNS.count(), 3);
        assert!(try_find(10).await.is_err() && try_find(10).await.is_err());
        assert_eq!(RUNS.count(), 5);
    })
    .await;
}

#[tokio::test]
async fn error_is_kept_with_cache_err() {
    static RUNS: Runs = Runs::new();
    #[cached(cache_err, key = "a:{id}")]
    async fn double(id: u32) -> Result<u32, String> {
        RUNS.next();
        id.checked_mul(2).ok_or_else(|| "overflow".to_owned())
    }
    #[cached(cache_err, key = "b:{id}")]
    async fn find(id: u32) -> Result<Option<u32>, String> {
        RUNS.next();
        if id > 9 { Err("too large".to_owned()) } else { Ok((id > 0).then_some(id)) }
    }
    with(MEMORY, async {
        assert_eq!((double(7).await, double(7).await, RUNS.count()), (Ok(14), Ok(14), 1));
        assert_eq!(double(u32::MAX).await, double(u32::MAX).await);
        assert_eq!(RUNS.count(), 2);
        assert!(find(10).await.is_err() && find(10).await.is_err());
        assert_eq!(RUNS.count(), 3);
        assert_eq!((find(0).await, find(0).await, RUNS.count()), (Ok(None), Ok(None), 5));
        assert_eq!((find(1).await, find(1).await, RUNS.count()), (Ok(Some(1)), Ok(Some(1)), 6));
    })
    .await;
}

#[tokio::test]
async fn result_that_the_predicate_refuses_is_not_kept() {
    static RUNS: Runs = Runs::new();
    #[cached(key = "user:{id}", if = |user| user.active)]
    async fn user(id: u32) -> Result<User, String> {
        RUNS.next();
        Ok(User { id, active: id > 1 })
    }
    with(MEMORY, async {
        assert_eq!(user(1).await, user(1).await);
        assert_eq!(RUNS.count(), 2);
        assert_eq!(user(2).await, user(2).await);
        assert_eq!(RUNS.count(), 3);
    })
    .await;
}

#[tokio::test]
async fn result_that_cannot_be_serialized_is_returned_and_the_function_runs_once_per_call() {
    static RUNS: Runs = Runs::new();
    #[cached]
    async fn ratio(a: u32, b: u32) -> Vec<f64> {
        RUNS.next();
        vec![f64::from(a) / f64::from(b)]
    }
    with(MEMORY, async {
        assert!(ratio(0, 0).await[0].is_nan());
        assert_eq!(RUNS.count(), 1);
        assert!(ratio(0, 0).await[0].is_nan());
        assert_eq!(RUNS.count(), 2);
    })
    .await;
}
