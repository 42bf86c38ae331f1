//! The fences of a batch: one for each key that it loads.

use std::{collections::HashMap, fmt, hash::Hash, time::Duration};

use bytes::Bytes;

use super::Batch;
use crate::{
    cache::{
        Cache,
        fetch::fence::{AT_ONCE, Fence, Fenced},
    },
    error::Result,
    fetch::singleflight::Lead,
    runtime::all,
    timeout::Expiry,
    value::{
        Decode, Encode, Form,
        envelope::{self, Found},
    },
};

impl<V, K, T> Batch<'_, V, K, T>
where
    V: Form,
    V: Encode<T> + Decode<T>,
    K: Eq + Hash + Clone,
{
    /// Puts up the fences of loads, if loads are fenced. Returns the loads that can begin, and
    /// those of keys that another process loads.
    pub(super) async fn put_up_fences(
        &mut self,
        leads: Vec<(usize, Lead)>,
    ) -> (Vec<(usize, Lead)>, Vec<(usize, Lead)>) {
        let waits = self.cache.shared.fetch.borrowed().lease_wait();
        let (fenced, mut ready): (Vec<_>, Vec<_>) =
            leads.into_iter().partition(|(place, _)| self.is_fenced(*place));
        let mut leased = Vec::new();
        let mut fenced = fenced.into_iter();
        loop {
            let chunk: Vec<_> = fenced.by_ref().take(AT_ONCE).collect();
            if chunk.is_empty() {
                break;
            }
            let fences =
                all(chunk.iter().map(|(place, lead)| self.fence(lead, *place, None))).await;
            for ((place, lead), fence) in chunk.into_iter().zip(fences) {
                match fence {
                    Fenced::Foreign if waits => leased.push((place, lead)),
                    fence => ready.extend(self.behind(fence, place, lead)),
                }
            }
        }
        ready.sort_by_key(|(place, _)| *place);
        (ready, leased)
    }

    /// Loads keys that another process loads, or takes the values that it stores until `wait`.
    ///
    /// When the first of them is free, the others often are, too: the other process has failed.
    /// They share one load.
    pub(super) async fn load_leased<E, R, F>(
        &mut self,
        mut leased: Vec<(usize, Lead)>,
        wait: Option<Duration>,
        load: &mut impl FnMut(Vec<K>) -> F,
    ) -> Result<()>
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        while !leased.is_empty() {
            let (place, lead) = leased.remove(0);
            let fence = self.fence(&lead, place, wait).await;
            let mut ready = Vec::from_iter(self.behind(fence, place, lead));
            let (others, still) = self.put_up_fences(leased).await;
            ready.extend(others);
            self.load(ready, load).await?;
            leased = still;
        }
        Ok(())
    }

    /// Loads a key, or takes the value that another process stores until `wait`.
    pub(super) async fn load_one<E, R, F>(
        &mut self,
        place: usize,
        lead: Lead,
        wait: Option<Duration>,
        load: &mut impl FnMut(Vec<K>) -> F,
    ) -> Result<()>
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        let lead = if self.is_fenced(place) {
            let fence = self.fence(&lead, place, wait).await;
            self.behind(fence, place, lead)
        } else {
            Some((place, lead))
        };
        self.load(lead.into_iter().collect(), load).await
    }

    fn is_fenced(&self, place: usize) -> bool {
        self.cache.shared.fetch.borrowed().fenced && !self.unwritable.contains(&place)
    }

    async fn fence(&self, lead: &Lead, place: usize, wait: Option<Duration>) -> Fenced {
        let (cache, policy) = (self.cache, self.cache.shared.fetch.borrowed());
        let accept = |found| match found {
            Found::Fresh(stored, _) => {
                V::open(&stored, &cache.shared.values).is_ok().then_some(stored)
            }
            Found::Absent => Some(envelope::absent()),
            Found::Stale(..) | Found::Floor | Found::Lease(_) | Found::Invalid => None,
        };
        cache.fence(lead, self.keys[place], policy, wait, false, &accept).await
    }

    /// Returns the load if it is still necessary, and keeps its fence.
    fn behind(&mut self, fence: Fenced, place: usize, lead: Lead) -> Option<(usize, Lead)> {
        match fence {
            Fenced::By(fence) => {
                self.fences.insert(self.keys[place], fence);
            }
            Fenced::Found(stored)
                if envelope::is_absent(&stored) || self.insert(place, &stored).is_ok() =>
            {
                lead.complete(Ok(stored));
                self.cache.load_shared();
                return None;
            }
            Fenced::Found(_) | Fenced::Foreign | Fenced::Failed => {
                self.unwritable.insert(place);
            }
        }
        Some((place, lead))
    }
}

impl<V: Form> Cache<V> {
    /// Stores loaded values behind their fences. Failures are counted.
    pub(super) async fn write_fenced_many(
        &self,
        items: Vec<(&str, Bytes)>,
        expiry: Expiry,
        fences: &mut HashMap<&str, Box<Fence>>,
    ) {
        let fenced = items.into_iter().filter_map(|(key, it)| Some((key, it, fences.remove(key)?)));
        let mut fenced: Vec<_> = fenced.collect();
        for chunk in fenced.chunks_mut(AT_ONCE) {
            let writes = chunk.iter_mut().map(async |(key, value, fence)| {
                match self.write_loaded(key, Some(fence), value.clone(), expiry).await {
                    Ok(true) => {}
                    Ok(false) => self.load_write_refused(),
                    Err(error) => self.load_not_stored(key, value, &error),
                }
            });
            all(writes).await;
        }
        Fence::release_all(fenced.into_iter().map(|(.., fence)| fence)).await;
    }
}
