//! Closing a cache while the stream of its near tier begins.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{
    Cache, Error, NearInvalidation,
    store::{Backend, InvalidationReceiver, Invalidations, Namespace, Views, forward},
    testing::Faulty,
};
use cache_memory::Memory;
use tokio::sync::Notify;

use crate::support::near;

/// A store whose stream is at work until the test lets it go on, like a task that makes a
/// connection.
#[derive(Debug)]
struct Working(Faulty, Arc<Work>);

#[derive(Debug)]
struct Work {
    has_begun: Notify,
    go_on: Mutex<mpsc::Receiver<()>>,
    has_ended: AtomicBool,
}

#[async_trait]
impl Backend for Working {
    forward!(Backend, self.0);

    fn views(self: Arc<Self>) -> Views {
        Views::none().with_invalidations(Arc::clone(&self.1) as _)
    }
}

#[async_trait]
impl Invalidations for Work {
    fn ways(&self) -> &[NearInvalidation] {
        &[NearInvalidation::Tracking]
    }

    async fn listen(&self, _: &Namespace, _: InvalidationReceiver) -> Error {
        self.has_begun.notify_one();
        self.go_on.lock().unwrap().recv().unwrap();
        self.has_ended.store(true, SeqCst);
        pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_waits_until_the_stream_does_nothing_more() {
    let (go_on, receiver) = mpsc::channel();
    let (has_begun, has_ended) = (Notify::new(), AtomicBool::new(false));
    let work = Arc::new(Work { has_begun, go_on: Mutex::new(receiver), has_ended });
    let store = Working(Faulty::new(Memory::new()), Arc::clone(&work));
    let mut settings = near();
    settings.invalidation = NearInvalidation::Tracking;
    let cache = Cache::builder(store).near(settings).build("near").unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    work.has_begun.notified().await;
    let closing = tokio::spawn({
        let work = Arc::clone(&work);
        async move {
            cache.close().await.unwrap();
            work.has_ended.load(SeqCst)
        }
    });
    // sleeps: without the wait, the cache is closed by then
    tokio::time::sleep(Duration::from_millis(100)).await;
    go_on.send(()).unwrap();
    assert!(closing.await.unwrap(), "the stream was still at work");
}
