//! The task that runs a loader, stores its value, and completes the load for all callers.

use std::{
    future::poll_fn,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    fence::{Fence, Fenced},
    request::{LoadedBytes, Loader, Mode, Request},
};
use crate::{
    cache::{Cache, batch::one_each, call, tags::Declared},
    consistency::markers::Moment,
    error::{Error, ErrorKind, Result},
    fetch::{FetchState, LoadContext, NEEDS_REVISIONS, Orders, Policy, singleflight::Lead},
    key::FullKey,
    layer::Operation,
    runtime::{self, first},
    store::integer,
    telemetry::{
        observer::{self, Direction, Loaded, Size},
        stats::Event,
    },
    timeout::{Expiry, Timeout},
    value::{
        Form,
        envelope::{self, Found, Terms},
    },
};

/// The change of the entry after a load.
pub(in crate::cache) enum Write {
    Set(Bytes, Expiry),
    /// At this revision, if the load has one.
    Delete(Option<u64>),
    Nothing,
}

impl<V: Form> Cache<V> {
    /// Runs the load of a flight as a task.
    ///
    /// # Errors
    /// `Runtime` if the caller is not in a tokio runtime.
    pub(super) fn spawn_load(
        &self,
        lead: Lead,
        request: &Arc<Request>,
        loader: Loader<V>,
    ) -> Result<()> {
        let runtime = if self.on_own_runtime {
            runtime::own()?.clone()
        } else {
            Handle::try_current().map_err(|_| needs_runtime())?
        };
        let (cache, request) = (self.clone(), Arc::clone(request));
        let task = async move { cache.run_load(lead, &request, loader).await };
        runtime.spawn(observer::in_current_span(task));
        Ok(())
    }

    async fn run_load(&self, lead: Lead, request: &Arc<Request>, loader: Loader<V>) {
        if let Some(stored) = self.loaded_meanwhile(request).await {
            self.load_shared();
            lead.set_stored();
            lead.complete(Ok(stored));
            return;
        }
        // Another process refreshes the key: callers that wait here for a value load it themselves.
        let Ok(mut lock) = self.lock_refresh(request).await else { return };
        let load = Box::pin(self.run_fenced(&lead, request, loader));
        // If no caller wants the value any more, dropping the leader frees the flight.
        if let Some((result, write, fence)) = first(load, lead.unwanted()).await {
            self.write_entry(&lead, &request.key, write, fence).await;
            lead.complete(result);
        }
        if let Some(lock) = &mut lock {
            // If this fails, the lock ends by itself.
            let _ = lock.delete().await;
        }
    }

    /// Runs the loader behind a fence, if the load is fenced and may store its value.
    async fn run_fenced(
        &self,
        lead: &Lead,
        request: &Arc<Request>,
        loader: Loader<V>,
    ) -> (Result<Bytes>, Write, Option<Box<Fence>>) {
        let mut fence = None;
        let mut stores = true;
        if request.policy.fenced && !request.store_failed {
            match self.fence_request(lead, request).await {
                Fenced::By(it) => fence = Some(it),
                Fenced::Found(stored) => {
                    self.load_shared();
                    lead.set_stored();
                    return (Ok(stored), Write::Nothing, None);
                }
                Fenced::Foreign | Fenced::Failed => stores = false,
            }
        }
        // After the fence and before the loader.
        let tags = request.tags.as_deref();
        let declared = self.declare(tags, iter::once(lead), stores && !request.store_failed).await;
        let (result, write) = self.run_loader(lead, request, loader, declared).await;
        (result, if stores { write } else { Write::Nothing }, fence)
    }

    async fn fence_request(&self, lead: &Lead, request: &Request) -> Fenced {
        let is_forced = request.mode == Mode::Force;
        let accept = |found| match found {
            _ if is_forced => None,
            Found::Fresh(stored, _) => self.is_new(request, &stored).then_some(stored),
            Found::Absent if request.takes_absent => Some(envelope::absent()),
            _ => None,
        };
        let policy = &request.policy;
        // An earlier load does not store its value.
        let wait = if is_forced { Some(Duration::ZERO) } else { self.lease_wait(policy) };
        self.fence(lead, &request.key, policy, wait, request.old.is_some(), &accept).await
    }

    /// Returns whether a fresh value is one that another load has stored since the read.
    fn is_new(&self, request: &Request, stored: &Bytes) -> bool {
        Some(stored) != request.old.as_ref() && (request.is_type)(&self.shared.values, stored)
    }

    /// Returns the value of the key if another load has stored one since the read. A value that is
    /// refreshed ahead of its end is still the old one.
    async fn loaded_meanwhile(&self, request: &Request) -> Option<Bytes> {
        let is_unchanged = self.shared.flights.write_epoch(&request.key) == request.write_epoch;
        if is_unchanged || request.mode == Mode::Force {
            return None;
        }
        match self.find_for_fetch(&request.key, &request.policy).await {
            Ok(Some((Found::Fresh(stored, _), _))) if self.is_new(request, &stored) => Some(stored),
            _ => None,
        }
    }

    /// Runs the loader, and returns its result for all callers, and what to do with the entry.
    pub(super) async fn run_loader(
        &self,
        lead: &Lead,
        request: &Arc<Request>,
        loader: Loader<V>,
        mut declared: Declared,
    ) -> (Result<Bytes>, Write) {
        let (shared, policy) = (&*self.shared, &request.policy);
        let context =
            LoadContext::new(Arc::clone(&request.name), request.old.clone(), shared.values.clone());
        let orders = context.clone();
        let (began, began_at) = (shared.clock.now(), Moment::now());
        let load = catch_panic(async move { loader(context).await });
        let (operation, keyspace) = (Operation::Fetch, policy.keyspace);
        let load = shared.observer.in_load_span(operation, &request.key, keyspace, load);
        let load = lead.load(load);
        let loaded = first(load, shared.clock.sleep(policy.load_deadline)).await;
        let took = shared.clock.now().saturating_sub(began);
        let loaded = loaded.unwrap_or_else(|| Err(too_long(policy.load_deadline)));
        shared.counters.event(Event::Load);
        shared.counters.load_took(took);
        let result = if loaded.is_ok() { Loaded::Ok } else { Loaded::Error };
        shared.observer.load(result, took);
        let orders = orders.orders();
        let mut res = loaded.and_then(|it| self.answer_of(request, it, &orders, took));
        if !orders.tags.is_empty() && res.is_ok() {
            match Box::pin(self.add_late(declared.clone(), &orders.tags, began_at)).await {
                Ok(all) => declared = all,
                Err(error) => res = Err(error),
            }
        }
        match res {
            Ok((stored, write)) => {
                shared.fetch.failures.remove(&request.key);
                let may_write = !request.store_failed && request.mode != Mode::Bypass;
                let write = match write {
                    _ if !may_write || !declared.stores() => Write::Nothing,
                    Write::Set(stored, expiry) => Write::Set(declared.tag(stored), expiry),
                    write => write,
                };
                (Ok(stored), write)
            }
            Err(error) => {
                shared.counters.event(Event::LoadFailed);
                let error = self.failed(request, error);
                if request.mode != Mode::Bypass {
                    let now = shared.clock.coarse();
                    let backoff =
                        if request.old.is_some() { policy.backoff() } else { Duration::ZERO };
                    let error_ttl = policy.error_ttl;
                    shared.fetch.failures.add(&request.key, &error, now, backoff, error_ttl);
                }
                (Err(error), Write::Nothing)
            }
        }
    }

    fn answer_of(
        &self,
        request: &Request,
        loaded: LoadedBytes,
        orders: &Orders,
        took: Duration,
    ) -> Result<(Bytes, Write)> {
        let revision = orders.revision.or(request.policy.revision);
        let policy = Policy { revision, ..request.policy };
        if revision.is_some() && !self.shared.fetch.allowed().revisions {
            return Err(Error::new(ErrorKind::Config, NEEDS_REVISIONS));
        }
        let value = match (loaded, &request.old) {
            (LoadedBytes::Value(value), _) => value,
            (LoadedBytes::NotModified, Some(old)) => old.clone(),
            (LoadedBytes::NotModified, None) => return Err(nothing_to_keep()),
            (LoadedBytes::Absent, old) => {
                let kept = Expiry::After(policy.negative_ttl);
                let write = match old {
                    _ if orders.skip => Write::Nothing,
                    _ if !policy.negative_ttl.is_zero() => {
                        Write::Set(envelope::absent_at(revision), kept)
                    }
                    Some(_) => Write::Delete(revision),
                    None => Write::Nothing,
                };
                return Ok((envelope::absent(), write));
            }
        };
        let write = match self.to_stored(&policy, orders.ttl, value.clone(), took) {
            _ if orders.skip => Write::Nothing,
            Some((stored, expiry)) => Write::Set(stored, expiry),
            None if request.old.is_some() => Write::Delete(revision),
            None => Write::Nothing,
        };
        Ok((value, write))
    }

    /// Returns the stored form of a loaded value and its lifetime with the grace; `None` if it is
    /// not to be stored. `timeout` replaces the policy's lifetime.
    pub(in crate::cache) fn to_stored(
        &self,
        policy: &Policy,
        timeout: Option<Timeout>,
        value: Bytes,
        load_time: Duration,
    ) -> Option<(Bytes, Expiry)> {
        let shared = &*self.shared;
        let lifetime = policy.lifetime(timeout, shared.timeout, &shared.clock)?;
        Some(self.wrapped(policy, lifetime, value, load_time))
    }

    /// Returns the stored form of a loaded value, and its lifetime with the grace.
    pub(super) fn wrapped(
        &self,
        policy: &Policy,
        lifetime: Expiry,
        value: Bytes,
        load_time: Duration,
    ) -> (Bytes, Expiry) {
        let is_plain =
            policy.plain_integers && policy.revision.is_none() && integer::parse(&value).is_ok();
        let (value, expiry) = match lifetime {
            Expiry::After(lifetime) if FetchState::has_terms(policy) && !is_plain => {
                let (grace, revision) = (policy.grace, policy.revision);
                let terms = Terms { grace, lifetime, load_time, revision, ..Terms::default() };
                let whole = lifetime.saturating_add(policy.grace);
                (envelope::wrap(&value, terms), Expiry::After(whole))
            }
            lifetime => (envelope::at_revision(value, lifetime, policy.revision), lifetime),
        };
        self.shared.tombstones.note_lifetime(expiry);
        (value, expiry)
    }

    /// Writes loaded values with one lifetime. Failures are counted.
    pub(super) async fn write_loaded_many(&self, items: &[(&str, Bytes)], expiry: Expiry) {
        if items.is_empty() {
            return;
        }
        if self.shared.fetch.allowed().revisions {
            return self.apply_loaded_many(items, expiry).await;
        }
        for (_, value) in items {
            self.shared.observer.bytes(Direction::Written, Size::of(value));
        }
        let moment = self.shared.tombstones.moment();
        let answers: Vec<Result<()>> = call!(self.set_many(items, expiry));
        for ((key, value), answer) in items.iter().zip(one_each(answers)) {
            if answer.is_ok() {
                self.shared.tombstones.remove(key, moment);
            }
            if let Err(error) = self.answer(Operation::SetMany, Some(key), answer) {
                self.load_not_stored(key, value, &error);
            }
        }
    }

    /// Removes the stale values of keys for which a loader found no value. Failures are counted.
    pub(super) async fn delete_loaded_many(&self, keys: &[&str]) {
        if keys.is_empty() {
            return;
        }
        let answers: Vec<Result<bool>> = if self.shared.fetch.allowed().revisions {
            self.remove_loaded_many(keys).await
        } else {
            call!(self.delete_many(keys))
        };
        for (key, answer) in keys.iter().zip(one_each(answers)) {
            if self.answer(Operation::DeleteMany, Some(key), answer).is_err() {
                self.load_write_failed();
            }
        }
    }

    /// Changes the entry after a load, unless the key was written meanwhile.
    async fn write_entry(
        &self,
        lead: &Lead,
        key: &FullKey,
        write: Write,
        mut fence: Option<Box<Fence>>,
    ) {
        match write {
            Write::Set(stored, expiry) => {
                self.store_loaded(lead, key, fence.as_deref_mut(), stored, expiry).await;
            }
            Write::Delete(revision) => {
                let fence = fence.as_deref_mut();
                let delete = || self.delete_loaded(key, fence, revision);
                let dropped = |id| self.wait_out_write(key, id);
                let lasts = self.write_claim(1);
                let res = lead.store(delete, lasts, self.write_patience(), dropped).await;
                if let Some(Err(_)) = res {
                    self.load_write_failed();
                }
            }
            Write::Nothing => {}
        }
        Fence::release(fence).await;
    }
}

/// Returns an error if the future panics, so that its callers share it and no other load panics.
async fn catch_panic<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
    })
    .await
}

#[cold]
fn panicked() -> Error {
    Error::new(ErrorKind::Loader, "the loader panicked")
}

#[cold]
fn nothing_to_keep() -> Error {
    Error::new(
        ErrorKind::Loader,
        "the loader returned `NotModified`, and there is no stored value: check \
         `LoadContext::stale` first",
    )
}

#[cold]
fn too_long(deadline: Duration) -> Error {
    Error::new(
        ErrorKind::TimedOut,
        format!("the loader did not end within the load deadline of {deadline:?}"),
    )
    .ignored_by_breaker()
}

#[cold]
fn needs_runtime() -> Error {
    Error::new(
        ErrorKind::Runtime,
        "a fetch runs its loader as a task and needs a tokio runtime: call it from async code under \
         tokio, or use `blocking().fetch` or `get_or_set`",
    )
}
