use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use cache_core::{
    Cache, CacheSettings, Caches, NearInvalidation, NearSettings, Settings,
    layer::{Call, Layer, Layered, Operation, Reply},
    store::{Backend, Expiry, SetMode},
    testing::{FakeClock, Faulty},
};
use cache_memory::Memory;
use tokio::sync::Semaphore;

/// `near.timeout` of [`world`].
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const KEY: &str = ":1:k";
pub(crate) const LONG: Expiry = Expiry::After(Duration::from_secs(3600));

/// A cache with a near tier over a far store, whose entries a test changes as another process
/// would.
pub(crate) struct World {
    pub(crate) far: Faulty,
    pub(crate) cache: Cache,
    pub(crate) time: FakeClock,
    pub(crate) late: Arc<Late>,
}

pub(crate) fn near() -> NearSettings {
    let mut near = NearSettings::default();
    near.timeout = TIMEOUT.into();
    near.invalidation = NearInvalidation::None;
    near
}

pub(crate) fn world() -> World {
    world_with(|_| ())
}

/// Returns a cache with these settings besides the near tier.
pub(crate) fn world_with(change: impl FnOnce(&mut CacheSettings)) -> World {
    let time = FakeClock::new();
    let memory = Memory::builder().clock(time.clock()).build().unwrap();
    let far = Faulty::new(memory).with_clock(time.clock());
    let late = Arc::new(Late::default());
    let mut settings = CacheSettings::new("memory");
    settings.near = Some(near());
    change(&mut settings);
    let mut all = Settings::new();
    all.insert("default", settings);
    let store = Layered::new(Arc::clone(&late), far.clone());
    let builder = Caches::builder().settings(all).backend("default", store);
    let caches = builder.clock(time.clock()).stderr_notice(false).build().unwrap();
    World { cache: caches.get("default").unwrap().clone(), far, time, late }
}

impl World {
    /// Writes a value as another process.
    pub(crate) async fn put(&self, value: &'static str, expiry: Expiry) {
        assert!(self.far.set(KEY, value.into(), expiry, SetMode::Always).await.unwrap());
    }

    /// Reads the key through the cache.
    pub(crate) async fn get(&self) -> Option<i32> {
        self.cache.get("k").await.unwrap()
    }

    /// Returns how many reads have reached the far store.
    pub(crate) fn far_reads(&self) -> u64 {
        self.far.calls(Operation::Get) + self.far.calls(Operation::GetMany)
    }

    /// Reads the key, and returns whether the far store was asked.
    pub(crate) async fn is_far(&self) -> bool {
        let before = self.far_reads();
        self.get().await;
        self.far_reads() > before
    }

    /// Starts a read whose reply arrives when the test says so. Returns after the far store has
    /// answered it.
    pub(crate) async fn read_late(&self) -> tokio::task::JoinHandle<Option<i32>> {
        self.late.is_armed.store(true, SeqCst);
        let cache = self.cache.clone();
        let read = tokio::spawn(async move { cache.get::<i32>("k").await.unwrap() });
        self.late.answered.acquire().await.unwrap().forget();
        read
    }
}

/// Holds the reply of the next read back.
#[derive(Debug)]
pub(crate) struct Late {
    is_armed: AtomicBool,
    answered: Semaphore,
    released: Semaphore,
}

impl Late {
    pub(crate) fn release(&self) {
        self.released.add_permits(1);
    }
}

impl Default for Late {
    fn default() -> Self {
        let semaphore = || Semaphore::new(0);
        Self { is_armed: AtomicBool::new(false), answered: semaphore(), released: semaphore() }
    }
}

impl Layer for Late {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        call: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        let reply = run().await;
        if call.operation == Operation::Get && self.is_armed.swap(false, SeqCst) {
            self.answered.add_permits(1);
            self.released.acquire().await.unwrap().forget();
        }
        reply
    }

    fn around_sync<R: Reply>(&self, _: Call<'_>, run: impl Fn() -> R) -> R {
        run()
    }
}
