//! A tier receives the stream of changes.

use std::{future::ready, sync::Arc};

use super::{link::Link, listen::Listener, tier::Tier};
use crate::{
    __private::BoxFuture,
    error::{Error, ErrorKind},
    runtime::Clock,
    store::{Heartbeat, Invalidation, NearInvalidation},
};

impl Listener for Tier {
    type Way = NearInvalidation;

    fn link(&self) -> Option<&Link<NearInvalidation>> {
        self.stream.as_ref().map(|it| &it.link)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn listen(self: &Arc<Self>, task: u64) -> BoxFuture<'static, Error> {
        self.forget_lag();
        let Some(stream) = &self.stream else { return Box::pin(ready(no_stream())) };
        let (source, namespace) = (Arc::clone(&stream.source), stream.namespace.clone());
        let tier = Arc::downgrade(self);
        let receive = move |message: Invalidation<'_>| {
            if let Some(tier) = tier.upgrade() {
                tier.receive(message, task);
            }
        };
        Box::pin(async move { source.listen(&namespace, Arc::new(receive)).await })
    }

    fn ended(self: &Arc<Self>, task: u64, error: &Error) -> Option<bool> {
        let stream = self.stream.as_ref()?;
        if error.kind() == ErrorKind::Unsupported
            && stream.may_be_refused
            && stream.link.do_without(task, NearInvalidation::None, || self.reset())
        {
            self.observer.near_refused(error, self.timeout());
            return None;
        }
        let ended = stream.link.end(task, error)?;
        if ended.is_news {
            self.observer.near_bypassed(error);
        }
        Some(ended.was_open)
    }
}

impl Tier {
    /// Receives a message of the stream of changes, from the task with this number.
    fn receive(&self, message: Invalidation<'_>, task: u64) {
        match message {
            Invalidation::Key(key) => self.invalidate(key),
            Invalidation::All => self.reset(),
            Invalidation::Heartbeat(heartbeat) => self.heartbeat(heartbeat, task),
            Invalidation::Ready(way) => {
                // Changes may have been missed.
                if let Some(link) = self.link()
                    && link.open(task, way, || self.reset())
                {
                    self.observer.near_in_use(way, self.timeout());
                }
            }
        }
    }

    fn heartbeat(&self, heartbeat: Heartbeat, task: u64) {
        self.note_lag(heartbeat.lag);
        let Some(link) = self.link() else { return };
        // Without a reset: changes are also reported to a tier that is bypassed, and writes of the
        // process remove its entries.
        if let Some(late) = link.heartbeat(task, &self.clock, heartbeat, || ()) {
            self.observer.late_heartbeat(late);
        }
    }
}

/// Creates the reason why a tier without a stream does not listen.
#[cold]
fn no_stream() -> Error {
    Error::new(ErrorKind::Unsupported, "the near tier has no stream of changes")
}
