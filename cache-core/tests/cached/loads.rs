//! Loads: one per key, stale values, invalidations and refreshes.

use std::{sync::Mutex, time::Duration};

use cache_core::{CACHES, Caches, cache, cached, testing::FakeClock};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{MEMORY, Runs, with};

const CALLERS: usize = 100;

/// Calls a function by many tasks at once.
async fn by_many<T, F>(call: impl Fn() -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for _ in 0..CALLERS {
        tasks.spawn(CACHES.current().scope(call()));
    }
    tasks.join_all().await
}

/// A gate that a function waits for, so that all of its callers have come.
struct Gate(Semaphore);

impl Gate {
    const fn new() -> Self {
        Self(Semaphore::const_new(0))
    }

    fn open(&self) {
        self.0.add_permits(1_000_000);
    }

    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// Opens the gate when all tasks of this runtime wait.
async fn open_later(gate: &Gate) {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    gate.open();
}

#[tokio::test]
async fn concurrent_callers_share_one_run() {
    static RUNS: Runs = Runs::new();
    static GATE: Gate = Gate::new();
    #[cached(key = "slow:{id}")]
    async fn slow(id: u32) -> u32 {
        GATE.pass().await;
        RUNS.next() + id
    }
    with(MEMORY, async {
        let (answers, ()) = tokio::join!(by_many(|| slow(1)), open_later(&GATE));
        assert_eq!(answers, [2; CALLERS]);
        assert_eq!(RUNS.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn concurrent_callers_share_an_error_that_is_clone_and_an_absent_value() {
    static RUNS: Runs = Runs::new();
    static GATE: Gate = Gate::new();
    /// A value that is not `Clone`.
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Unique(u32);
    #[cached(key = "fails:{id}")]
    async fn fails(id: u32) -> Result<u32, String> {
        GATE.pass().await;
        RUNS.next();
        Err(format!("no {id}"))
    }
    #[cached(key = "absent:{id}")]
    async fn absent(id: u32) -> Option<Unique> {
        GATE.pass().await;
        RUNS.next();
        (id > 1).then_some(Unique(id))
    }
    with(MEMORY, async {
        let (answers, ()) = tokio::join!(by_many(|| fails(1)), open_later(&GATE));
        assert_eq!(answers, vec![Err("no 1".to_owned()); CALLERS]);
        assert_eq!(RUNS.count(), 1);
    })
    .await;
    with(MEMORY, async {
        let answers = by_many(|| absent(1)).await;
        assert!(answers.iter().all(Option::is_none));
    })
    .await;
}

#[tokio::test]
async fn callers_of_a_failed_load_run_the_function_if_the_error_is_not_clone() {
    static RUNS: Runs = Runs::new();
    static GATE: Gate = Gate::new();
    #[cached(key = "fails:{id}")]
    async fn fails(id: u32) -> std::io::Result<u32> {
        GATE.pass().await;
        RUNS.next();
        Err(std::io::Error::other(id.to_string()))
    }
    with(MEMORY, async {
        let (answers, ()) = tokio::join!(by_many(|| fails(1)), open_later(&GATE));
        assert!(answers.iter().all(|it| it.as_ref().unwrap_err().to_string() == "1"));
        assert_eq!(RUNS.count(), u32::try_from(CALLERS).unwrap());
    })
    .await;
}

const GRACE: &str = "
    caches.default.backend = 'memory'
    caches.default.fetch.grace = 0
    caches.default.fetch.jitter = 0.0";

/// Caches whose time is moved by hand.
fn at(clock: &FakeClock, settings: &str) -> &'static Caches {
    let clock = clock.clock();
    Caches::builder().clock(clock).toml(settings).unwrap().build().unwrap().leak()
}

#[tokio::test]
async fn stale_result_is_returned_while_a_new_one_is_loaded_and_when_the_function_fails() {
    static RUNS: Runs = Runs::new();
    #[cached(ttl = "1m", grace = "1h")]
    async fn report(id: u32) -> Result<u32, String> {
        let run = RUNS.next();
        if run == 3 { Err("the source is down".to_owned()) } else { Ok(run + id) }
    }
    let clock = FakeClock::new();
    CACHES
        .scope(at(&clock, GRACE), async {
            assert_eq!(report(0).await, Ok(1));
            clock.advance(Duration::from_secs(90));
            assert_eq!(report(0).await, Ok(1), "stale");
            while RUNS.count() < 2 || report(0).await != Ok(2) {
                tokio::task::yield_now().await;
            }
            clock.advance(Duration::from_secs(90));
            assert_eq!(report(0).await, Ok(2), "stale");
            while RUNS.count() < 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(report(0).await, Ok(2), "the function failed");
        })
        .await;
}

#[tokio::test]
async fn absent_value_is_not_replaced_by_a_stale_one() {
    static RUNS: Runs = Runs::new();
    #[cached(ttl = "1m", key = "user:{id}")]
    async fn find(id: u32) -> Option<u32> {
        (RUNS.next() == 1).then_some(id)
    }
    let clock = FakeClock::new();
    let settings = "
        caches.default.backend = 'memory'
        caches.default.fetch.grace = '1h'";
    CACHES
        .scope(at(&clock, settings), async {
            assert_eq!(find(1).await, Some(1));
            clock.advance(Duration::from_secs(90));
            assert_eq!(find(1).await, None);
        })
        .await;
}

#[tokio::test]
async fn result_of_a_run_that_began_before_an_invalidation_is_not_kept() {
    static RUNS: Runs = Runs::new();
    static GATE: Gate = Gate::new();
    #[cached(key = "user:{id}")]
    async fn user(id: u32) -> u32 {
        let run = RUNS.next();
        GATE.pass().await;
        run * 10 + id
    }
    with(MEMORY, async {
        let late = async {
            while RUNS.count() < 1 {
                tokio::task::yield_now().await;
            }
            assert!(!user::invalidate(1).await.unwrap());
            GATE.open();
        };
        let (first, ()) = tokio::join!(user(1), late);
        assert_eq!(first, 11);
        assert_eq!(user(1).await, 21);
        assert_eq!(user(1).await, 21);
    })
    .await;
}

#[tokio::test]
async fn refresh_runs_the_function_and_keeps_the_new_result() {
    static RUNS: Runs = Runs::new();
    static FAILS: Mutex<bool> = Mutex::new(false);
    #[cached(key = "user:{id}")]
    async fn user(id: u32) -> Result<u32, String> {
        if *FAILS.lock().unwrap() { Err("down".to_owned()) } else { Ok(RUNS.next() * 10 + id) }
    }
    #[cached(key = "owned:{id}", grace = "1h", ttl = "1m")]
    async fn owned(id: u32) -> u32 {
        RUNS.next() * 10 + id
    }
    with(GRACE, async {
        assert_eq!(user(1).await, Ok(11));
        assert_eq!(user::refresh(1).await, Ok(21));
        assert_eq!(user(1).await, Ok(21));
        *FAILS.lock().unwrap() = true;
        assert_eq!(user::refresh(1).await, Err("down".to_owned()));
        assert_eq!(user(1).await, Ok(21), "a failed refresh changes nothing");
        assert_eq!(owned(1).await, 31);
        assert_eq!(owned::refresh(1).await, 41);
        assert_eq!(owned(1).await, 41);
    })
    .await;
}

#[tokio::test]
async fn result_that_an_invalidation_overtakes_is_not_kept_by_a_refresh() {
    static RUNS: Runs = Runs::new();
    static GATE: Gate = Gate::new();
    #[cached(key = "user:{id}")]
    async fn user(id: u32) -> u32 {
        let run = RUNS.next();
        GATE.pass().await;
        run * 10 + id
    }
    with(MEMORY, async {
        let late = async {
            while RUNS.count() < 1 {
                tokio::task::yield_now().await;
            }
            user::invalidate(1).await.unwrap();
            GATE.open();
        };
        let (first, ()) = tokio::join!(user::refresh(1), late);
        assert_eq!(first, 11);
        assert_eq!(cache().get::<u32>("user:1").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn primed_result_is_returned_without_a_run() {
    static RUNS: Runs = Runs::new();
    #[cached(key = "user:{id}")]
    async fn user(id: u32) -> Result<String, String> {
        RUNS.next();
        Ok(id.to_string())
    }
    with(MEMORY, async {
        user::prime(7, &"Ada".to_owned()).await.unwrap();
        assert_eq!(user(7).await.as_ref(), Ok(&"Ada".to_owned()));
        assert_eq!(RUNS.count(), 0);
        assert_eq!(user::uncached(7).await.as_ref(), Ok(&"7".to_owned()));
        assert!(user::invalidate(7).await.unwrap());
        assert_eq!(user(7).await.as_ref(), Ok(&"7".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn tags_invalidate_results() {
    static RUNS: Runs = Runs::new();
    #[cached(tags = ["user:{id}", "users"])]
    async fn user(id: u32) -> u32 {
        RUNS.next() * 10 + id
    }
    let settings = "
        caches.default.backend = 'memory'
        caches.default.tags = true";
    with(settings, async {
        assert_eq!((user(1).await, user(2).await), (11, 22));
        cache().invalidate_tags(["user:1"]).await.unwrap();
        assert_eq!((user(1).await, user(2).await), (31, 22));
        cache().invalidate_tags(["users"]).await.unwrap();
        assert_eq!((user(1).await, user(2).await), (41, 52));
    })
    .await;
}
