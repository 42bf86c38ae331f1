//! One call of `get_or_set_many`.

mod fences;
mod loads;
mod store;

use std::{
    any::type_name,
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
    mem,
    time::Duration,
};

use bytes::Bytes;

use self::loads::Loads;
use super::fence::Fence;
use crate::{
    cache::{Cache, load::hung},
    error::{Error, Result},
    fetch::{
        Overrides,
        singleflight::{Joined, Lead, Wait, WaitOutcome},
    },
    layer::Operation,
    runtime::{all, first},
    telemetry::{
        observer::{Direction, Loaded, Size},
        stats::{Event, Outcome},
    },
    value::{Decode, Encode, Form, Undecodable, envelope},
};

/// One call. Keys are positions among the distinct stored keys.
pub(super) struct Batch<'a, V: Form, K, T> {
    cache: &'a Cache<V>,
    /// The caller's keys.
    names: &'a [K],
    /// The distinct stored keys.
    keys: &'a [&'a str],
    /// For each name, the position of its key.
    places: &'a [usize],
    pub(super) found: HashMap<K, T>,
    /// The keys whose values are not stored: their read failed, or another process loads them.
    unwritable: HashSet<usize>,
    /// The fences of the load that runs now.
    fences: HashMap<&'a str, Box<Fence>>,
    overrides: &'a Overrides,
    /// Returns the revision of a loaded value.
    revision: Option<fn(&T) -> u64>,
}

impl<'a, V, K, T> Batch<'a, V, K, T>
where
    V: Form,
    V: Encode<T> + Decode<T>,
    K: Eq + Hash + Clone,
{
    pub(super) fn new(
        cache: &'a Cache<V>,
        names: &'a [K],
        keys: &'a [&'a str],
        places: &'a [usize],
        overrides: &'a Overrides,
        revision: Option<fn(&T) -> u64>,
    ) -> Self {
        Self {
            cache,
            names,
            keys,
            places,
            found: HashMap::with_capacity(names.len()),
            unwritable: HashSet::new(),
            fences: HashMap::new(),
            overrides,
            revision,
        }
    }

    /// Judges what was read: adds the values to the result, and returns the missing keys.
    pub(super) async fn judge(
        &mut self,
        answers: Vec<Result<Option<Bytes>>>,
    ) -> Result<Vec<usize>> {
        let (cache, operation) = (self.cache, Operation::GetOrSet);
        let mut missing = Vec::new();
        for (place, answer) in answers.into_iter().enumerate() {
            let key = self.keys[place];
            match answer {
                Ok(Some(stored)) if envelope::is_absent(&stored) => {
                    cache.count(operation, Outcome::Absent);
                    continue;
                }
                Ok(Some(stored)) => {
                    cache.shared.observer.bytes(Direction::Read, Size::of(&stored));
                    match self.insert(place, &stored) {
                        Ok(()) => {
                            cache.count(operation, Outcome::Hit);
                            continue;
                        }
                        Err(why) => {
                            cache.count(operation, Outcome::Miss);
                            let noted = cache.note_undecodable::<T>(operation, key, &stored, why);
                            Box::pin(noted).await;
                        }
                    }
                }
                Ok(None) => cache.count(operation, Outcome::Miss),
                Err(error) if error.kind().is_unreadable() => {
                    cache.count(operation, Outcome::Miss);
                    let wanted = type_name::<T>();
                    cache.count_undecodable(operation, key, wanted, &error.message());
                }
                Err(error) => {
                    let error = cache.fail(operation, Some(key), error);
                    if !cache.hides(&error) {
                        return Err(error);
                    }
                    self.unwritable.insert(place);
                }
            }
            missing.push(place);
        }
        Ok(missing)
    }

    /// Adds the value of a key under each of its names.
    fn insert(&mut self, place: usize, stored: &Bytes) -> Result<(), Undecodable> {
        for name in names_of(self.names, self.places, self.keys, place) {
            self.found.insert(name.clone(), self.cache.open(stored)?);
        }
        Ok(())
    }

    /// Loads the missing keys that no other caller loads, then waits for the others.
    pub(super) async fn load_missing<E, R, F>(
        &mut self,
        mut missing: Vec<usize>,
        epochs: &[u64],
        load: &mut impl FnMut(Vec<K>) -> F,
    ) -> Result<()>
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        let flights = &self.cache.shared.flights;
        let policy = self.cache.shared.fetch.borrowed();
        let lasts = policy.longest_load();
        // One time for all keys: leases that a dead process left end together.
        let lease_wait = self.cache.lease_wait(policy);
        let end = flights.now().saturating_add(lasts.saturating_mul(2));
        while !missing.is_empty() {
            let mut leads = Vec::new();
            let mut waits = Vec::new();
            for place in missing.drain(..) {
                match flights.join(self.keys[place], lasts).map_err(|it| self.fail(place, it))? {
                    Joined::Lead(lead) => leads.push((place, lead)),
                    Joined::Wait(wait) => waits.push((place, wait)),
                }
            }
            let leads = self.found_meanwhile(leads, epochs).await;
            let (leads, leased) = self.put_up_fences(leads).await;
            // First, so that no two batches wait for each other.
            self.load(leads, load).await?;
            self.load_leased(leased, lease_wait, load).await?;
            for (place, wait) in waits {
                let is_over = flights.now() >= end;
                match self.wait(place, wait, end).await? {
                    Waited::Found => {}
                    // At once: other callers wait for this load.
                    Waited::Lead(lead) => self.load_one(place, lead, lease_wait, load).await?,
                    Waited::Again if is_over => return Err(self.fail(place, hung(lasts))),
                    Waited::Again => missing.push(place),
                }
            }
        }
        Ok(())
    }

    /// Loads all keys without other callers, and stores nothing.
    pub(super) async fn load_alone<E, R, F>(
        &mut self,
        load: &mut impl FnMut(Vec<K>) -> F,
    ) -> Result<()>
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        self.unwritable.extend(0..self.keys.len());
        let flights = &self.cache.shared.flights;
        let leads = self.keys.iter().enumerate().map(|(place, key)| (place, flights.alone(key)));
        self.load(leads.collect(), load).await
    }

    /// Adds the stale values of the keys whose load failed. Returns the error if a key has none.
    pub(super) async fn stale_instead(&mut self, missing: &[usize], error: Error) -> Result<()> {
        let is_missing = |it: &usize| self.names_of(*it).any(|it| !self.found.contains_key(it));
        let missing: Vec<_> = missing.iter().copied().filter(is_missing).collect();
        let stale = missing.iter().map(|it| self.cache.read_stale(self.keys[*it]));
        for (place, stored) in missing.iter().zip(all(stale).await) {
            match stored {
                Some(stored) if self.insert(*place, &stored).is_ok() => {
                    self.cache.count(Operation::GetOrSet, Outcome::Stale);
                }
                _ => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the keys again that were written since the read. Returns those that are still missing.
    async fn found_meanwhile(
        &mut self,
        leads: Vec<(usize, Lead)>,
        epochs: &[u64],
    ) -> Vec<(usize, Lead)> {
        let flights = &self.cache.shared.flights;
        let is_same = |it: &(usize, Lead)| flights.write_epoch(self.keys[it.0]) == epochs[it.0];
        let (mut rest, changed): (Vec<_>, Vec<_>) = leads.into_iter().partition(is_same);
        let keys: Vec<_> = changed.iter().map(|(place, _)| self.keys[*place]).collect();
        let answers = self.cache.read_many(&keys, true).await;
        for ((place, lead), answer) in changed.into_iter().zip(answers) {
            match answer {
                Ok(Some(stored))
                    if envelope::is_absent(&stored) || self.insert(place, &stored).is_ok() =>
                {
                    lead.complete(Ok(stored));
                    self.cache.load_shared();
                }
                _ => rest.push((place, lead)),
            }
        }
        rest.sort_by_key(|(place, _)| *place);
        rest
    }

    /// Waits for the load of another caller.
    async fn wait(&mut self, place: usize, mut wait: Wait, end: Duration) -> Result<Waited> {
        let shared = &self.cache.shared;
        let time = wait.until().min(end).saturating_sub(shared.flights.now());
        match first(wait.outcome(), shared.clock.sleep(time)).await {
            Some(WaitOutcome::Completed(result)) => {
                self.cache.load_shared();
                let stored = result?;
                if envelope::is_absent(&stored) || self.insert(place, &stored).is_ok() {
                    return Ok(Waited::Found);
                }
                // The leader loaded another type, so this caller loads for itself.
                self.unwritable.insert(place);
                Ok(Waited::Lead(shared.flights.alone(self.keys[place])))
            }
            Some(WaitOutcome::Lead(lead)) => Ok(Waited::Lead(lead)),
            Some(WaitOutcome::Rejoin) | None => Ok(Waited::Again),
        }
    }

    /// Runs the loader for keys that this caller leads, stores its values and completes the loads.
    async fn load<E, R, F>(
        &mut self,
        leads: Vec<(usize, Lead)>,
        load: &mut impl FnMut(Vec<K>) -> F,
    ) -> Result<()>
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        R: IntoIterator<Item = (K, T)>,
        F: Future<Output = Result<R, E>>,
    {
        let Some((first, _)) = leads.first() else { return Ok(()) };
        let (shared, key) = (&self.cache.shared, self.keys[*first]);
        let (places, leads): (Vec<_>, Vec<_>) = leads.into_iter().unzip();
        let names: Vec<_> =
            places.iter().filter_map(|it| self.names_of(*it).next()).cloned().collect();
        let tags = self.cache.tags.as_deref();
        let stores = !places.iter().all(|it| self.unwritable.contains(it));
        let declared = Box::pin(self.cache.declare(tags, leads.iter(), stores)).await;
        let began = shared.clock.now();
        let (operation, keyspace) = (Operation::GetOrSet, self.overrides.keyspace);
        let loader = shared.observer.in_load_span(operation, key, keyspace, load(names));
        let loaded = Lead::load_all(&leads, loader).await;
        let took = shared.clock.now().saturating_sub(began);
        shared.counters.event(Event::Load);
        shared.counters.load_took(took);
        shared.observer.load(if loaded.is_ok() { Loaded::Ok } else { Loaded::Error }, took);
        let fences = mem::take(&mut self.fences);
        let sealed = match loaded {
            Ok(values) => self.seal(values),
            Err(error) => Err(Error::from_loader(error)),
        };
        let mut sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                shared.counters.event(Event::LoadFailed);
                Fence::release_all(fences.into_values()).await;
                let error = self.cache.fail(Operation::GetOrSet, Some(key), error);
                for lead in leads {
                    lead.complete(Err(error.clone()));
                }
                return Err(error);
            }
        };
        let written = Loads { leads: &leads, places: &places, declared, took };
        self.store(&written, &sealed, fences).await;
        for (place, lead) in places.into_iter().zip(leads) {
            let sealed = sealed.remove(&place).map(|it| it.bytes);
            lead.complete(Ok(sealed.unwrap_or_else(envelope::absent)));
        }
        Ok(())
    }

    /// Serializes the loaded values, and adds them to the result.
    fn seal(&mut self, values: impl IntoIterator<Item = (K, T)>) -> Result<HashMap<usize, Sealed>> {
        let by_name: HashMap<&K, usize> =
            self.names.iter().zip(self.places.iter().copied()).collect();
        let mut sealed = HashMap::new();
        for (name, value) in values {
            // Ignores values of keys that were not requested.
            let Some(place) = by_name.get(&name) else { continue };
            let bytes = self.cache.seal(&value, self.overrides.codec)?;
            let revision = self.revision.map(|of| of(&value));
            sealed.insert(*place, Sealed { bytes, revision });
            self.found.insert(name, value);
        }
        // Other names of the same key.
        for (name, place) in self.names.iter().zip(self.places) {
            if let Some(stored) = sealed.get(place)
                && !self.found.contains_key(name)
                && let Ok(value) = self.cache.open(&stored.bytes)
            {
                self.found.insert(name.clone(), value);
            }
        }
        Ok(sealed)
    }

    /// Returns the names of a key.
    fn names_of(&self, place: usize) -> impl Iterator<Item = &'a K> {
        names_of(self.names, self.places, self.keys, place)
    }

    fn fail(&self, place: usize, error: Error) -> Error {
        self.cache.fail(Operation::GetOrSet, Some(self.keys[place]), error)
    }
}

/// A loaded value.
struct Sealed {
    bytes: Bytes,
    revision: Option<u64>,
}

/// Returns the names of a key. Usually each key has one, at the position of the key.
fn names_of<'a, K>(
    names: &'a [K],
    places: &'a [usize],
    keys: &[&str],
    place: usize,
) -> impl Iterator<Item = &'a K> {
    let (from, to) = if names.len() == keys.len() { (place, place + 1) } else { (0, names.len()) };
    let names = names[from..to].iter().zip(&places[from..to]);
    names.filter(move |(_, it)| **it == place).map(|(name, _)| name)
}

/// How waiting for another caller's load ended.
enum Waited {
    Found,
    Lead(Lead),
    /// The load ended without a result: the caller joins again.
    Again,
}
