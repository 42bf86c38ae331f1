//! Functions without async.

use std::{sync::Barrier, thread};

use cache_core::{CACHES, Caches, cached};

use crate::{MEMORY, Runs};

#[test]
fn blocking_function_is_cached_and_its_companions_block() {
    static RUNS: Runs = Runs::new();
    #[cached(key = "user:{id}")]
    fn user(id: u32) -> Result<u32, String> {
        if id == 0 { Err("no user".to_owned()) } else { Ok(RUNS.next() * 10 + id) }
    }
    CACHES.scope_sync(Caches::from_toml(MEMORY).unwrap().leak(), || {
        assert_eq!((user(1), user(1)), (Ok(11), Ok(11)));
        assert_eq!(user(0), Err("no user".to_owned()));
        assert_eq!(user::refresh(1), Ok(21));
        assert_eq!(user(1), Ok(21));
        assert!(user::invalidate(1).unwrap());
        user::prime(1, &5).unwrap();
        assert_eq!(user(1), Ok(5));
        assert_eq!(user::uncached(1), Ok(31));
    });
}

#[test]
fn threads_share_one_run() {
    static RUNS: Runs = Runs::new();
    static BARRIER: Barrier = Barrier::new(20);
    #[cached]
    fn slow(id: u32) -> u32 {
        RUNS.next();
        // Long enough for the others to come, if they did not wait for this run.
        for _ in 0..1000 {
            thread::yield_now();
        }
        id
    }
    for round in 0..20 {
        CACHES.scope_sync(Caches::from_toml(MEMORY).unwrap().leak(), || {
            let current = CACHES.current();
            let before = RUNS.count();
            thread::scope(|threads| {
                for _ in 0..20 {
                    threads.spawn(move || {
                        BARRIER.wait();
                        assert_eq!(current.scope_sync(|| slow(round)), round);
                    });
                }
            });
            assert_eq!(RUNS.count(), before + 1);
        });
    }
}

#[tokio::test]
async fn blocking_function_in_a_task_uses_a_store_that_never_waits() {
    static RUNS: Runs = Runs::new();
    #[cached]
    fn sum(a: u32, b: u32) -> u32 {
        RUNS.next();
        a + b
    }
    crate::with(MEMORY, async {
        assert_eq!((sum(1, 2), sum(1, 2), RUNS.count()), (3, 3, 1));
    })
    .await;
}

#[test]
fn blocking_function_with_a_grace_runs_on_a_thread() {
    static RUNS: Runs = Runs::new();
    #[cached(grace = "1h", ttl = "1m")]
    fn sum(a: u32, b: u32) -> u32 {
        RUNS.next();
        a + b
    }
    let settings = "
        caches.default.backend = 'memory'
        caches.default.fetch.grace = 0";
    CACHES.scope_sync(Caches::from_toml(settings).unwrap().leak(), || {
        assert_eq!((sum(1, 2), sum(1, 2), RUNS.count()), (3, 3, 1));
        assert_eq!((sum::refresh(1, 2), RUNS.count()), (3, 2));
    });
}
