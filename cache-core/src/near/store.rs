//! The store of an alias with a near tier.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    fences::Ticket,
    listen,
    stats::NearStats,
    tier::{Look, Tier, Write},
};
use crate::{
    error::Result,
    key::Namespace,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, SetMode, StoreId, TtlUpdate, Views,
        forward,
    },
    telemetry::{
        observer::{NearRead, Observer},
        stats::{Counters, Event},
    },
    timeout::{Expiry, Ttl},
};

/// A store with its layers, and a near tier around it.
///
/// Reads look into the tier, and otherwise read where the store writes: a copy that lags behind
/// would be kept near. The `leader` view reads past the tier.
pub(crate) struct Near {
    far: Arc<dyn Backend>,
    /// The same store, with reads that are not stale.
    leader: Arc<dyn Backend>,
    tier: Arc<Tier>,
    counters: Counters,
    observer: Observer,
}

impl Near {
    pub(super) fn new(far: Arc<dyn Backend>, tier: Arc<Tier>, observer: Observer) -> Self {
        let leader = Arc::clone(&far).views().leader.unwrap_or_else(|| Arc::clone(&far));
        Self { far, leader, tier, counters: Counters::new(), observer }
    }

    /// Returns the counters of the alias, in which the tier counts as well.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Returns the counters of the tier and of the reads of the alias.
    pub(crate) fn stats(&self) -> NearStats {
        let reads = [Event::NearHit, Event::NearMiss, Event::NearBypassed];
        let [hits, misses, bypassed] = reads.map(|it| self.counters.sum(it));
        self.tier.stats(hits, misses, bypassed)
    }

    /// Returns the stored bytes of a key if they are near.
    #[inline]
    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        let found = self.tier.find(key)?;
        self.count(NearRead::Hit, 1);
        Some(found.value)
    }

    /// Returns the entry of a key if it is near.
    #[inline]
    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        let found = self.tier.find(key)?;
        self.count(NearRead::Hit, 1);
        Some(found.into_entry(|| self.tier.clock.now()))
    }

    /// Removes the near entry of a key. The next read finds what the far store holds.
    pub(crate) fn forget(&self, key: &str) {
        self.tier.forget(key);
    }

    /// Counts a read that found the decoded value near.
    #[inline]
    pub(crate) fn count_hit(&self) {
        self.count(NearRead::Hit, 1);
    }

    pub(super) fn tier(&self) -> &Tier {
        &self.tier
    }

    #[inline]
    fn count(&self, result: NearRead, keys: u64) {
        let event = match result {
            NearRead::Hit => Event::NearHit,
            NearRead::Miss => Event::NearMiss,
            NearRead::Bypassed => Event::NearBypassed,
        };
        self.counters.add_event(event, keys);
        self.observer.near_reads(result, keys);
    }

    /// Notes reads past the tier, and starts what it waits for.
    fn bypass(&self, keys: u64) {
        self.count(NearRead::Bypassed, keys);
        // The tier is bypassed until the task can start.
        let _: Result<()> = listen::start(&self.tier);
    }

    /// Reads a key from the far store, and keeps it near.
    async fn read_far(&self, key: &str, ticket: Option<Ticket>) -> Result<Option<Entry>> {
        let entry = self.leader.get_entry(key).await?;
        if let (Some(ticket), Some(entry)) = (ticket, &entry) {
            self.tier.fill(&ticket, key, entry);
        }
        Ok(entry)
    }

    /// Reads keys: those that are not near with one call of the far store.
    async fn read_many(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let mut answers: Vec<Option<Result<Option<Entry>>>> = Vec::with_capacity(keys.len());
        let (mut missing, mut tickets) = (Vec::new(), Vec::new());
        let mut bypassed = 0;
        for key in keys {
            let ticket = match self.tier.look(key) {
                Look::Found(found) => {
                    answers.push(Some(Ok(Some(found.into_entry(|| self.tier.clock.now())))));
                    continue;
                }
                Look::Missed(ticket) => ticket,
                Look::Bypassed => {
                    bypassed += 1;
                    None
                }
            };
            answers.push(None);
            missing.push(*key);
            tickets.push(ticket);
        }
        self.count(NearRead::Hit, (keys.len() - missing.len()) as u64);
        self.count(NearRead::Miss, missing.len() as u64 - bypassed);
        if bypassed > 0 {
            self.bypass(bypassed);
        }
        let read =
            if missing.is_empty() { Vec::new() } else { self.leader.get_entries(&missing).await };
        for ((key, ticket), answer) in missing.iter().zip(tickets).zip(&read) {
            if let (Some(ticket), Ok(Some(entry))) = (ticket, answer) {
                self.tier.fill(&ticket, key, entry);
            }
        }
        let mut read = read.into_iter();
        answers.into_iter().map_while(|it| it.or_else(|| read.next())).collect()
    }

    fn begin_writes<'a>(&'a self, keys: impl Iterator<Item = &'a str>) -> Vec<Write<'a>> {
        keys.map(|key| self.tier.begin_write(key)).collect()
    }
}

/// Makes a call that may change a key.
macro_rules! writing {
    ($me:ident.$method:ident($key:expr $(, $arg:expr)*)) => {{
        let write = $me.tier.begin_write($key);
        let result = $me.far.$method($key $(, $arg)*).await;
        write.end(&result);
        result
    }};
}

fn end_all<T>(writes: Vec<Write<'_>>, results: &[Result<T>]) {
    for (write, result) in writes.into_iter().zip(results) {
        write.end(result);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Near {
    fn name(&self) -> &'static str {
        self.far.name()
    }
    fn id(&self) -> StoreId {
        self.far.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.far.capabilities()
    }
    fn views(self: Arc<Self>) -> Views {
        Views::none().with_leader(Arc::new(Past(self)))
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.tier.look(key) {
            Look::Found(found) => {
                self.count(NearRead::Hit, 1);
                Ok(Some(found.value))
            }
            Look::Missed(Some(ticket)) => {
                self.count(NearRead::Miss, 1);
                Ok(self.read_far(key, Some(ticket)).await?.map(|it| it.value))
            }
            Look::Missed(None) => {
                self.count(NearRead::Miss, 1);
                self.leader.get(key).await
            }
            Look::Bypassed => {
                self.bypass(1);
                self.leader.get(key).await
            }
        }
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        match self.tier.look(key) {
            Look::Found(found) => {
                self.count(NearRead::Hit, 1);
                Ok(Some(found.into_entry(|| self.tier.clock.now())))
            }
            Look::Missed(ticket) => {
                self.count(NearRead::Miss, 1);
                self.read_far(key, ticket).await
            }
            Look::Bypassed => {
                self.bypass(1);
                self.leader.get_entry(key).await
            }
        }
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let entries = self.read_many(keys).await.into_iter();
        entries.map(|it| it.map(|it| it.map(|it| it.value))).collect()
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.read_many(keys).await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        if self.value(key).is_some() {
            return Ok(true);
        }
        self.far.has(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        match self.entry(key) {
            Some(entry) => Ok(Some(entry.ttl)),
            None => self.far.ttl(key).await,
        }
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        writing!(self.set(key, value, expiry, mode))
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let writes = self.begin_writes(items.iter().map(|(key, _)| *key));
        let results = self.far.set_many(items, expiry).await;
        end_all(writes, &results);
        results
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        writing!(self.touch(key, expiry))
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        writing!(self.delete(key))
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let writes = self.begin_writes(keys.iter().copied());
        let results = self.far.delete_many(keys).await;
        end_all(writes, &results);
        results
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        writing!(self.take(key))
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        writing!(self.incr(key, delta, create))
    }
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        writing!(self.compare_and_delete(key, seen))
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        writing!(self.compare_and_set(key, seen, value, lifetime))
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let target = self.tier.begin_write(to);
        let result = writing!(self.rename(from, to));
        target.end(&result);
        result
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        let clear = self.tier.begin_clear();
        let result = self.far.clear(namespace).await;
        clear.end(&result);
        result
    }
    async fn clear_store(&self) -> Result<()> {
        let clear = self.tier.begin_clear();
        let result = self.far.clear_store().await;
        clear.end(&result);
        result
    }
    /// Also verifies that the far store reports changes, if the tier needs it.
    async fn check(&self) -> Result<()> {
        self.far.check().await?;
        let Some(stream) = &self.tier.stream else { return Ok(()) };
        listen::start(&self.tier)?;
        stream.link.ready().await
    }
    async fn close(&self) -> Result<()> {
        if let Some(stream) = &self.tier.stream {
            stream.link.stop().await;
        }
        self.tier.reset();
        self.far.close().await
    }
}

/// The reads of the far store, past the tier, and the writes through it.
#[derive(Debug)]
struct Past(Arc<Near>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Past {
    forward!(Backend, self.0, except get, get_entry, get_many, get_entries, has, ttl);

    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.leader.get(key).await
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.0.leader.get_entry(key).await
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.0.leader.get_many(keys).await
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.0.leader.get_entries(keys).await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.0.leader.has(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.0.leader.ttl(key).await
    }
}

impl fmt::Debug for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near")
            .field("far", &self.far)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}
