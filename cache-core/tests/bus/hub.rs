//! A bus in this process, whose server a test stops and starts.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use cache_core::{
    Driver, Error, ErrorKind, Result,
    store::{Backend, BuildContext, Bus, BusMessage, BusReceiver, IntoBackend, Views, forward},
};
use cache_memory::Memory;
use tokio::sync::{RwLock, Semaphore, watch};

pub(crate) const DRIVER: Driver = Driver::new("hub", build).with_schemes(&["hub"]);

/// The hubs by URL.
static HUBS: Mutex<Option<HashMap<String, Arc<Hub>>>> = Mutex::new(None);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let url = context.location()?.unwrap_or_default();
    let hubs = HUBS.lock().unwrap();
    let hub = hubs.as_ref().and_then(|it| it.get(url)).cloned();
    let hub = hub.ok_or_else(|| context.error("location", "no such hub"))?;
    Ok(Arc::new(Passing(Memory::new().into_backend(), hub)))
}

/// A store whose server passes messages on.
#[derive(Debug)]
struct Passing(Arc<dyn Backend>, Arc<Hub>);

#[async_trait]
impl Backend for Passing {
    forward!(Backend, self.0, except name);

    fn name(&self) -> &'static str {
        "hub"
    }
    fn views(self: Arc<Self>) -> Views {
        Views::none().with_bus(Arc::clone(&self.1) as _)
    }
}

pub(crate) struct Hub {
    pub(crate) url: String,
    streams: Mutex<Vec<Stream>>,
    /// No stream can begin.
    is_down: AtomicBool,
    /// Messages are refused.
    refuses: AtomicBool,
    acknowledged: watch::Sender<Vec<String>>,
    /// Messages wait here before they are passed on.
    gate: RwLock<()>,
    /// Streams wait here before they begin.
    streams_gate: RwLock<()>,
}

struct Stream {
    number: usize,
    channel: String,
    receiver: BusReceiver,
    end: Arc<Semaphore>,
}

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let url = format!("hub://{}", NUMBER.fetch_add(1, SeqCst));
        let hub = Arc::new(Self {
            url: url.clone(),
            streams: Mutex::default(),
            is_down: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            acknowledged: watch::Sender::default(),
            gate: RwLock::default(),
            streams_gate: RwLock::default(),
        });
        HUBS.lock().unwrap().get_or_insert_default().insert(url, Arc::clone(&hub));
        hub
    }

    /// Ends all streams, and lets none begin.
    pub(crate) fn stop_streams(&self) {
        self.is_down.store(true, SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.end.add_permits(1);
        }
    }

    pub(crate) fn start_streams(&self) {
        self.is_down.store(false, SeqCst);
    }

    /// Sets whether messages are refused.
    pub(crate) fn refuse(&self, yes: bool) {
        self.refuses.store(yes, SeqCst);
    }

    /// Holds messages back until the result is dropped.
    pub(crate) async fn hold(&self) -> impl Drop + '_ {
        self.gate.write().await
    }

    /// Lets no stream begin, and none fail, until the result is dropped.
    pub(crate) async fn hold_streams(&self) -> impl Drop + '_ {
        self.streams_gate.write().await
    }

    /// Reports a message to all streams.
    pub(crate) fn report(&self, message: BusMessage<'_>) {
        let receivers: Vec<_> =
            self.streams.lock().unwrap().iter().map(|it| Arc::clone(&it.receiver)).collect();
        for receive in receivers {
            receive(message);
        }
    }

    /// Returns the messages that were passed on.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.acknowledged.borrow().clone()
    }

    /// Waits until a message was passed on that ends like this.
    pub(crate) async fn passed_on(&self, end: &str) {
        let mut messages = self.acknowledged.subscribe();
        messages.wait_for(|it| it.iter().any(|it| it.ends_with(end))).await.unwrap();
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.lock().unwrap().len()
    }
}

#[async_trait]
impl Bus for Hub {
    async fn publish(&self, channel: &str, messages: &[&str]) -> Result<()> {
        drop(self.gate.read().await);
        if self.refuses.load(SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the hub refuses messages"));
        }
        let streams = self.streams.lock().unwrap();
        let streams = streams.iter().filter(|it| it.channel == channel);
        let receivers: Vec<_> = streams.map(|it| Arc::clone(&it.receiver)).collect();
        for message in messages {
            for receive in &receivers {
                receive(BusMessage::Text(message));
            }
        }
        self.acknowledged.send_modify(|it| it.extend(messages.iter().map(|it| (*it).to_owned())));
        Ok(())
    }

    async fn listen(&self, channel: &str, receiver: BusReceiver) -> Error {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        drop(self.streams_gate.read().await);
        if self.is_down.load(SeqCst) {
            return Error::new(ErrorKind::Unavailable, "the hub is down");
        }
        let end = Arc::new(Semaphore::new(0));
        let number = NUMBER.fetch_add(1, SeqCst);
        let stream = Stream {
            number,
            channel: channel.to_owned(),
            receiver: Arc::clone(&receiver),
            end: Arc::clone(&end),
        };
        self.streams.lock().unwrap().push(stream);
        let _registered = Registered(self, number);
        receiver(BusMessage::Ready);
        end.acquire().await.unwrap().forget();
        Error::new(ErrorKind::Unavailable, "the stream ended")
    }
}

/// Removes a stream when its future is dropped.
struct Registered<'a>(&'a Hub, usize);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.streams.lock().unwrap().retain(|it| it.number != self.1);
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hub").field(&self.url).finish()
    }
}
