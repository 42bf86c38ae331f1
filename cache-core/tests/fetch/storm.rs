//! A thousand callers of one key on several threads: some leave, some loaders panic or fail, the
//! key is deleted, loaded by force, and expires.

use std::{
    io,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, FetchSettings,
    store::Inline,
    testing::{FakeClock, Model},
};

use crate::{HOUR, SECOND};

const CALLERS: u64 = 1000;
/// Longer than a test moves the clock.
const AGES: Duration = Duration::from_secs(1 << 40);

/// A source of truth and a cache before it.
struct Place {
    cache: Cache,
    time: FakeClock,
    source: AtomicU64,
    /// The value of the source when the last delete returned.
    floor: AtomicU64,
}

impl Place {
    fn new() -> Arc<Self> {
        let time = FakeClock::new();
        let mut settings = FetchSettings::with_grace(HOUR);
        settings.ttl = Some((10 * SECOND).into());
        settings.max_refreshes = 1;
        let store = Arc::new(Inline::new(Model::new(time.clock())));
        // The time of a call must not end when a caller moves the clock: a delete waits that long
        // for the write of a load.
        let cache = Cache::builder(store).clock(time.clock()).fetch(settings).deadline(AGES);
        let (source, floor) = (AtomicU64::new(1), AtomicU64::new(1));
        Arc::new(Self { cache: cache.build("test").unwrap(), time, source, floor })
    }

    /// Loads the value in some steps. Some loads fail or panic.
    async fn load(self: Arc<Self>, n: u64) -> io::Result<u64> {
        let value = self.source.load(SeqCst);
        steps(n % 4).await;
        match n % 9 {
            0 => resume_unwind(Box::new("as the test wants")),
            1 => Err(io::Error::other("db down")),
            _ => Ok(value),
        }
    }

    /// Does what the caller with this number does.
    async fn call(self: Arc<Self>, n: u64) {
        steps(n % 7).await;
        let floor = self.floor.load(SeqCst);
        let own = Arc::clone(&self);
        let fetch = self.cache.fetch("k");
        let load = move |_| own.load(n);
        let found = match n % 10 {
            0 => {
                let new = self.source.fetch_add(1, SeqCst) + 1;
                self.cache.delete("k").await.unwrap();
                self.floor.fetch_max(new, SeqCst);
                return;
            }
            1 => return self.time.advance(4 * SECOND),
            2 => fetch.force().load(load).await,
            3 => fetch.soft_timeout(SECOND).load(load).await,
            4 => {
                let own = Arc::clone(&self);
                self.cache.get_or_try_set("k", 10 * SECOND, || own.load(n)).await
            }
            5 | 6 => tokio::select! {
                biased;
                found = fetch.load(load) => found,
                () = steps(n % 5) => return,
            },
            _ => fetch.load(load).await,
        };
        // A loader that failed or panicked, or that the clock ended.
        let Ok(value) = found else { return };
        assert!(value >= floor, "I2: got {value} after a delete that follows {floor}");
    }
}

async fn steps(n: u64) {
    for _ in 0..n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousand_callers_leave_nothing_behind_and_get_nothing_older_than_a_delete() {
    for round in 0..10 {
        let place = Place::new();
        // Other callers meet in each round.
        let numbers = (0..CALLERS).map(|n| n * (2 * round + 1) % CALLERS);
        let callers: Vec<_> = numbers.map(|n| tokio::spawn(Arc::clone(&place).call(n))).collect();
        for caller in callers {
            // A panic of a loader that ran inline is its caller's.
            if let Err(error) = caller.await {
                let panic = error.into_panic();
                assert_eq!(panic.downcast_ref::<&str>(), Some(&"as the test wants"));
            }
        }
        // A background refresh may still run: this never ends if something is left.
        let active = || {
            let stats = place.cache.stats();
            stats.active_loads + stats.active_refreshes
        };
        while active() > 0 {
            tokio::task::yield_now().await;
        }
        let value = place.cache.fetch("k").load(|_| async { Ok::<_, io::Error>(u64::MAX) }).await;
        assert!(value.unwrap() >= place.floor.load(SeqCst), "I2: an old value is left");
    }
}
