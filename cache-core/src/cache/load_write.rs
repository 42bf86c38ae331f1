//! Stores loaded values.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Cache, call, fetch::Fence, revision::Known};
use crate::{
    error::{Error, ErrorKind, Result},
    fetch::singleflight::Lead,
    key::FullKey,
    layer::Operation,
    runtime,
    store::SetMode,
    telemetry::{
        observer::{Direction, Loaded, NotStored, Size},
        stats::Event,
    },
    timeout::Expiry,
    value::{Form, payload_len, revision::Change},
};

impl<V: Form> Cache<V> {
    /// Stores a loaded value, unless the key was written meanwhile: in this process, and with a
    /// fence in any process. A failure is counted.
    pub(super) async fn store_loaded(
        &self,
        lead: &Lead,
        key: &FullKey,
        fence: Option<&mut Fence>,
        stored: Bytes,
        expiry: Expiry,
    ) {
        let store = || self.write_loaded(key, fence, stored.clone(), expiry);
        let dropped = |id| self.wait_out_write(key, id);
        let lasts = self.write_claim(1);
        match lead.store(store, lasts, self.write_patience(), dropped).await {
            Some(Ok(true)) => lead.set_stored(),
            Some(Err(error)) => self.load_not_stored(key, &stored, &error),
            None | Some(Ok(false)) => self.load_write_refused(),
        }
    }

    /// Counts a loaded value that the store did not take.
    pub(super) fn load_not_stored(&self, key: &str, stored: &Bytes, error: &Error) {
        self.load_write_failed();
        if error.kind() == ErrorKind::TooLarge {
            let limit = self.shared.backend.capabilities().max_value_len;
            self.shared.observer.load_too_large(key, payload_len(stored), limit);
        }
    }

    /// Counts a loaded value, or its absence, that could not be stored.
    pub(super) fn load_write_failed(&self) {
        self.shared.counters.event(Event::LoadWriteFailed);
        self.shared.observer.not_stored(NotStored::Failed);
    }

    /// Counts a loaded value that is not stored, because its key was written or deleted meanwhile.
    pub(super) fn load_write_refused(&self) {
        self.shared.counters.event(Event::LoadWriteRefused);
        self.shared.observer.not_stored(NotStored::Refused);
    }

    /// Keeps a write whose future was dropped in progress for as long as a write may take.
    pub(super) fn wait_out_write(&self, key: &str, id: u64) {
        let shared = Arc::clone(&self.shared);
        let key: Box<str> = key.into();
        match runtime::own() {
            Ok(own) => drop(own.spawn(async move {
                shared.clock.sleep(shared.write_patience).await;
                shared.flights.write_arrived(&key, id);
            })),
            Err(_) => shared.flights.write_arrived(&key, id),
        }
    }

    /// Writes a loaded value; returns whether the fence and the stored revision allowed it.
    pub(super) async fn write_loaded(
        &self,
        key: &str,
        fence: Option<&mut Fence>,
        bytes: Bytes,
        expiry: Expiry,
    ) -> Result<bool> {
        self.shared.observer.bytes(Direction::Written, Size::of(&bytes));
        let moment = self.shared.tombstones.moment();
        let res: Result<bool> = match fence {
            None if self.shared.fetch.allowed().revisions => {
                let change = Change::store(bytes, expiry);
                self.apply_loaded(Operation::Set, key, &change, Known::Absent).await
            }
            None => call!(self.set(key, bytes, expiry, SetMode::Always)),
            // Boxed because it is rare: it would enlarge the future of every load.
            Some(fence) => Box::pin(fence.replace(bytes, expiry)).await,
        };
        if let Ok(true) = res {
            self.shared.tombstones.remove(key, moment);
        }
        self.answer(Operation::Set, Some(key), res)
    }

    pub(super) fn load_shared(&self) {
        self.shared.counters.event(Event::LoadShared);
        self.shared.observer.load(Loaded::Shared, Duration::ZERO);
    }
}
