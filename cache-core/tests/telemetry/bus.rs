//! Memory on a bus, and the messages of other processes.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use async_trait::async_trait;
use cache_core::{
    Cache, Caches, Driver, Error, ErrorKind, Result, secs,
    store::{Backend, Bus, BusMessage, BusReceiver, Dummy, IntoBackend as _, Views, forward},
};
use cache_memory as _;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::sync::mpsc;

use crate::{logged, recorded};

const DRIVER: Driver = Driver::new("passing", |context| {
    let number: usize = context.location()?.unwrap_or_default()[10..].parse().unwrap();
    let receivers = RECEIVERS.lock().unwrap()[number].clone();
    let stream = Arc::new(Stream(receivers, AtomicBool::new(true)));
    Ok(Arc::new(Passing(Dummy.into_backend(), stream)))
})
.with_schemes(&["passing"]);

static RECEIVERS: Mutex<Vec<mpsc::UnboundedSender<BusReceiver>>> = Mutex::new(Vec::new());

/// A store whose first attempt to listen fails, and that gives the receiver of the second one to
/// this test.
#[derive(Debug)]
struct Passing(Arc<dyn Backend>, Arc<Stream>);

#[derive(Debug)]
struct Stream(mpsc::UnboundedSender<BusReceiver>, AtomicBool);

#[async_trait]
impl Backend for Passing {
    forward!(Backend, self.0);

    fn views(self: Arc<Self>) -> Views {
        Views::none().with_bus(Arc::clone(&self.1) as _)
    }
}

#[async_trait]
impl Bus for Stream {
    async fn publish(&self, _: &str, _: &[&str]) -> Result<()> {
        Ok(())
    }
    async fn listen(&self, _: &str, receiver: BusReceiver) -> Error {
        if !self.1.swap(false, SeqCst) {
            self.0.send(receiver).unwrap();
            std::future::pending::<()>().await;
        }
        Error::new(ErrorKind::Unavailable, "connection refused")
    }
}

/// Bypasses a key, and receives the removal of two keys and two resets.
async fn used(alias: &str) -> Cache {
    let (receivers, mut attempts) = mpsc::unbounded_channel();
    let number = {
        let mut all = RECEIVERS.lock().unwrap();
        all.push(receivers);
        all.len() - 1
    };
    let text = format!(
        "[caches.default]\nbackend = 'dummy'\n\
         [caches.{alias}]\nbackend = 'memory'\nbus = 'passing://{number}'"
    );
    let caches = Caches::builder().driver(DRIVER).toml(&text).unwrap().build().unwrap();
    let cache = caches.get(alias).unwrap().clone();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    let receive = attempts.recv().await.unwrap();
    receive(BusMessage::Ready);
    cache.set("k", &1, secs(60)).await.unwrap();
    receive(BusMessage::Text("0000000000000001 removed :1:k :1:l"));
    receive(BusMessage::Lost);
    cache
}

#[test]
fn messages_resets_and_bypassed_keys_are_counted() {
    let recorder = DebuggingRecorder::new();
    // The library's own runtime does not see this recorder, but the messages are sent here.
    let stats = metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { used("on_a_bus").await.stats() })
    });
    let bus = stats.bus.unwrap();
    assert_eq!((bus.invalidations, bus.resets, bus.bypassed), (2, 2, 1));
    assert!(format!("{stats:?}").contains("bus: BusStats { invalidations: 2"), "{stats:?}");
    let recorded = recorded(&recorder);
    for (name, count) in [
        ("cache_bus_invalidations_total alias=on_a_bus", 2),
        ("cache_bus_resets_total alias=on_a_bus", 2),
        ("cache_bus_bypassed_total alias=on_a_bus", 1),
    ] {
        assert_eq!(recorded.get(name), Some(&DebugValue::Counter(count)), "{name}: {recorded:?}");
    }
}

#[tokio::test]
async fn state_of_the_memory_is_logged() {
    logged();
    used("told_by_bus").await;
    let log = logged();
    for (level, text) in [
        ("WARN", "the memory is bypassed until messages of other processes arrive again"),
        ("INFO", "the memory is in use, and messages of other processes arrive"),
    ] {
        let mine = |it: &&str| it.contains("alias=\"told_by_bus\"") && it.contains(text);
        let lines: Vec<_> = log.lines().filter(mine).collect();
        assert!(lines.len() == 1 && lines[0].contains(level), "{text}: {lines:?}");
    }
}
