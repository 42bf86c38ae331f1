use std::{
    future::{Future, pending},
    time::Duration,
};

use bytes::Bytes;
use shuttle::{
    future::yield_now,
    rand::{Rng, thread_rng},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use crate::{
    runtime::sync::Ordering::SeqCst,
    singleflight::{Joined, Lead, Singleflight, WaitOutcome, WriteGuard},
};

pub(super) const KEY: &str = "k";
/// The longest time of a load and of a write. Only scenarios move the time.
pub(super) const LASTS: Duration = Duration::from_secs(10);

/// A source of truth, a store in front of it, and a cache that reads through.
pub(super) struct World {
    pub(super) source: AtomicU64,
    pub(super) store: Mutex<Option<u64>>,
    pub(super) flights: Arc<Singleflight>,
    /// The value of the source when the last delete returned.
    pub(super) floor: AtomicU64,
    /// The number of times that a detach began, and that it ended.
    pub(super) detaching: AtomicU64,
    pub(super) detached: AtomicU64,
    /// The running loaders, each with `detached` from before it joined and `detaching` from when it
    /// ran.
    pub(super) loaders: Mutex<Vec<(u64, u64)>>,
    pub(super) loads: AtomicU64,
    pub(super) time: Arc<AtomicU64>,
    /// Whether writers may stop waiting for a value that is on its way.
    is_impatient: bool,
}

impl World {
    /// Creates a world whose writes take steps. At random, keys being written have exact claims or
    /// only the count of their stripe.
    pub(super) fn new() -> Arc<Self> {
        Self::with_patience(true)
    }

    /// Creates a world whose writers wait only for some steps.
    pub(super) fn impatient() -> Arc<Self> {
        Self::with_patience(false)
    }

    fn with_patience(is_patient: bool) -> Arc<Self> {
        let exact = thread_rng().gen_bool(0.5);
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        Arc::new(Self {
            source: AtomicU64::new(1),
            store: Mutex::new(None),
            flights: Arc::new(Singleflight::new(exact, move || {
                Duration::from_secs(clock.load(SeqCst))
            })),
            time,
            is_impatient: !is_patient,
            floor: AtomicU64::new(1),
            detaching: AtomicU64::new(0),
            detached: AtomicU64::new(0),
            loaders: Mutex::default(),
            loads: AtomicU64::new(0),
        })
    }

    /// Writes to the store. The write has its effect some time after it was sent.
    pub(super) async fn write(&self, value: Option<u64>) {
        yield_now().await;
        *self.store.lock().unwrap() = value;
        yield_now().await;
    }

    /// Waits for as long as a writer waits.
    async fn patience(&self) {
        if !self.is_impatient {
            pending::<()>().await;
        }
        for _ in 0..thread_rng().gen_range(0..8) {
            yield_now().await;
        }
    }

    pub(super) async fn read(&self) -> Option<u64> {
        yield_now().await;
        *self.store.lock().unwrap()
    }

    /// Runs the loader of a caller that joined after `before` detaches.
    pub(super) async fn load(&self, before: u64) -> u64 {
        let mine = {
            let mut loaders = self.loaders.lock().unwrap();
            let begun = self.detaching.load(SeqCst);
            // Two may run at once only if a detach happened between them.
            let apart = |it: &(u64, u64)| it.0 < begun || before < it.1;
            assert!(loaders.iter().all(apart), "I1: two loaders in one generation");
            loaders.push((before, begun));
            (before, begun)
        };
        let _running = Running { world: self, mine };
        self.loads.fetch_add(1, SeqCst);
        let value = self.source.load(SeqCst);
        yield_now().await;
        value
    }

    /// Does the steps of `Cache::get_or_set`.
    pub(super) async fn get(&self) -> u64 {
        let write_epoch = self.flights.write_epoch(KEY);
        if let Some(value) = self.read().await {
            return value;
        }
        loop {
            let before = self.detached.load(SeqCst);
            match self.flights.join(KEY, LASTS).unwrap() {
                Joined::Lead(lead) => {
                    if self.flights.write_epoch(KEY) != write_epoch
                        && let Some(value) = self.read().await
                    {
                        lead.complete(Ok(encode(value)));
                        return value;
                    }
                    return self.lead(lead, self.load(before)).await;
                }
                Joined::Wait(mut wait) => match wait.outcome().await {
                    WaitOutcome::Completed(result) => return decode(&result.unwrap()),
                    WaitOutcome::Lead(lead) => return self.lead(lead, self.load(before)).await,
                    WaitOutcome::Rejoin => {}
                },
            }
        }
    }

    pub(super) async fn lead(&self, lead: Lead, loader: impl Future<Output = u64>) -> u64 {
        let value = lead.load(loader).await;
        // A write that is dropped has no effect later.
        let dropped = |id| self.flights.write_arrived(KEY, id);
        lead.store(|| self.write(Some(value)), LASTS, pending(), dropped).await;
        lead.complete(Ok(encode(value)));
        value
    }

    /// Changes the source, then does the steps of `Cache::delete`.
    pub(super) async fn delete(&self) {
        // Begins at any point of the other loads, not mostly before them.
        for _ in 0..thread_rng().gen_range(0..16) {
            yield_now().await;
        }
        let new = self.source.fetch_add(1, SeqCst) + 1;
        self.detaching.fetch_add(1, SeqCst);
        let writing = self.flights.begin_write(KEY, LASTS);
        self.flights.detach(KEY, self.patience()).await;
        self.detached.fetch_add(1, SeqCst);
        self.write(None).await;
        self.end(writing);
        self.floor.fetch_max(new, SeqCst);
    }

    /// Ends a write, which detaches the flights that began during it.
    pub(super) fn end(&self, writing: WriteGuard<'_>) {
        self.detaching.fetch_add(1, SeqCst);
        drop(writing);
        self.detached.fetch_add(1, SeqCst);
    }

    /// Does the steps of `Cache::set`, with a value that only the cache has.
    pub(super) async fn set(&self, value: u64) {
        for _ in 0..thread_rng().gen_range(0..12) {
            yield_now().await;
        }
        // As with a delete, a flight that reads the source now has another generation.
        self.detaching.fetch_add(1, SeqCst);
        let writing = self.flights.begin_write(KEY, LASTS);
        self.flights.detach(KEY, self.patience()).await;
        self.detached.fetch_add(1, SeqCst);
        self.write(Some(value)).await;
        self.end(writing);
        self.floor.fetch_max(value, SeqCst);
    }

    /// Reads and checks I2.
    pub(super) async fn get_checked(&self) {
        let floor = self.floor.load(SeqCst);
        let value = self.get().await;
        assert!(value >= floor, "I2: read {value} after a delete that follows {floor}");
    }
}

/// A loader that runs, until it is dropped.
struct Running<'a> {
    world: &'a World,
    mine: (u64, u64),
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut loaders = self.world.loaders.lock().unwrap();
        let at = loaders.iter().position(|it| *it == self.mine).unwrap();
        loaders.swap_remove(at);
    }
}

pub(super) fn encode(value: u64) -> Bytes {
    value.to_string().into()
}

pub(super) fn decode(bytes: &Bytes) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}
