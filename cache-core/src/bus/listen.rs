//! Memory receives the messages of other processes.

use std::sync::Arc;

use super::{memory::BusMemory, message};
use crate::{
    __private::BoxFuture,
    error::Error,
    near::{Link, listen::Listener},
    runtime::Clock,
    store::BusMessage,
};

impl Listener for BusMemory {
    type Way = ();

    fn link(&self) -> Option<&Link<()>> {
        Some(&self.link)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn listen(self: &Arc<Self>, task: u64) -> BoxFuture<'static, Error> {
        let (bus, channel) = (Arc::clone(&self.bus), self.channel.clone());
        let memory = Arc::downgrade(self);
        let receive = move |message: BusMessage<'_>| {
            if let Some(memory) = memory.upgrade() {
                memory.receive(message, task);
            }
        };
        Box::pin(async move { bus.listen(&channel, Arc::new(receive)).await })
    }

    fn ended(self: &Arc<Self>, task: u64, error: &Error) -> Option<bool> {
        let ended = self.link.end(task, error)?;
        if ended.is_news {
            self.observer.bus_bypassed(error);
        }
        Some(ended.was_open)
    }
}

impl BusMemory {
    /// Receives a message, from the task with this number.
    fn receive(self: &Arc<Self>, message: BusMessage<'_>, task: u64) {
        match message {
            BusMessage::Text(text) => match message::parse(text) {
                // A value that was stored after the own delete stays.
                Some((sender, _)) if sender == self.id() => {}
                Some((_, change)) => self.apply(&change),
                // Another program, or a later version of this one.
                None => self.reset(),
            },
            BusMessage::Lost => self.reset(),
            BusMessage::Heartbeat(heartbeat) => {
                // With a reset: a write that was not kept has left the value before it.
                let late = self.link.heartbeat(task, &self.clock, heartbeat, || self.reset());
                if let Some(late) = late {
                    self.observer.late_heartbeat(late);
                }
            }
            BusMessage::Ready => {
                if self.link.open(task, (), || self.reset()) {
                    self.observer.bus_in_use(self.server.name());
                    self.answers();
                }
            }
        }
    }
}
