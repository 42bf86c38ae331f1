//! A simple reference store, and comparisons of other stores with it.

mod compare;
mod steps;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

pub use self::{
    compare::{Comparison, Mismatch},
    steps::{Life, Step, random_steps},
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::Namespace,
    runtime::Clock,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Inline, IntoBackend, SetMode, Stamp,
        StoreId, SyncBackend, TtlUpdate,
    },
    timeout::{Expiry, Ttl},
};

/// A simple store: a map behind one lock, with a clock. Slow, unbounded, and easy to verify by
/// reading.
///
/// It serves tests that need any store, and is the reference of [`Comparison`]. In [`Inline`] it is
/// a [`Backend`].
///
/// ```
/// use cache_core::{store::{Expiry, SetMode, SyncBackend}, testing::{FakeClock, Model}};
/// use std::time::Duration;
///
/// let time = FakeClock::new();
/// let model = Model::new(time.clock());
/// model.set("k", "v".into(), Expiry::After(Duration::from_secs(1)), SetMode::Always).unwrap();
/// assert!(model.has("k").unwrap());
/// time.advance(Duration::from_secs(1));
/// assert!(!model.has("k").unwrap());
/// ```
#[derive(Debug, Default)]
pub struct Model {
    clock: Clock,
    id: StoreId,
    max_value_len: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    items: HashMap<String, Item>,
    writes: u64,
}

struct Item {
    value: Bytes,
    /// `None` if the item never expires.
    expires: Option<Duration>,
    stamp: Stamp,
}

impl Model {
    /// Returns an empty store that follows this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Sets the largest value in bytes. Without it, values of any size are stored.
    #[must_use]
    pub fn with_max_value_len(mut self, len: usize) -> Self {
        self.max_value_len = Some(len);
        self
    }

    fn lock(&self) -> Moment<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // After the lock: otherwise a write could come between the reading of the clock and the
        // lock.
        let now = self.clock.now();
        state.items.retain(|_, it| it.expires.is_none_or(|at| now < at));
        Moment { now, state }
    }

    fn check_len(&self, value: &Bytes) -> Result<()> {
        match self.max_value_len {
            Some(max) if crate::value::payload_len(value) > max => Err(Error::new(
                ErrorKind::TooLarge,
                format!("the value has {} bytes; the limit of this store is {max}", value.len()),
            )),
            _ => Ok(()),
        }
    }

    fn write(
        &self,
        key: &str,
        value: Bytes,
        expiry: Expiry,
        moment: &mut Moment<'_>,
    ) -> Result<()> {
        moment.state.items.remove(key);
        self.check_len(&value)?;
        let expires = moment.expires(expiry);
        moment.put(key, value, expires);
        Ok(())
    }
}

/// The store at one moment, without expired items.
struct Moment<'a> {
    now: Duration,
    state: MutexGuard<'a, State>,
}

impl Moment<'_> {
    fn item(&self, key: &str) -> Option<&Item> {
        self.state.items.get(key)
    }

    fn entry(&self, key: &str) -> Option<Entry> {
        let it = self.item(key)?;
        Some(Entry::new(it.value.clone(), self.ttl(it), it.stamp))
    }

    fn ttl(&self, item: &Item) -> Ttl {
        item.expires.map_or(Ttl::Forever, |at| Ttl::Remaining(at.saturating_sub(self.now)))
    }

    fn expires(&self, expiry: Expiry) -> Option<Duration> {
        match expiry {
            Expiry::Never => None,
            Expiry::After(time) => self.now.checked_add(time),
        }
    }

    fn put(&mut self, key: &str, value: Bytes, expires: Option<Duration>) {
        self.state.writes += 1;
        let item = Item { value, expires, stamp: Stamp(self.state.writes) };
        self.state.items.insert(key.to_owned(), item);
    }

    fn delete(&mut self, key: &str) -> bool {
        self.state.items.remove(key).is_some()
    }

    fn is_expected(&self, key: &str, seen: Expected<'_>) -> bool {
        self.item(key).is_some_and(|it| seen.is(&it.value, it.stamp))
    }
}

impl IntoBackend for Model {
    fn into_backend(self) -> std::sync::Arc<dyn Backend> {
        std::sync::Arc::new(Inline::new(self))
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncBackend for Model {
    fn name(&self) -> &'static str {
        "model"
    }
    fn id(&self) -> StoreId {
        self.id.clone()
    }
    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::new();
        self.max_value_len.map_or(capabilities, |len| capabilities.max_value_len(len))
    }
    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.lock().item(key).map(|it| it.value.clone()))
    }
    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.lock().entry(key))
    }
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let moment = self.lock();
        keys.iter().map(|key| Ok(moment.item(key).map(|it| it.value.clone()))).collect()
    }
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let moment = self.lock();
        keys.iter().map(|key| Ok(moment.entry(key))).collect()
    }
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let mut moment = self.lock();
        let applies = match mode {
            SetMode::Always => true,
            SetMode::IfAbsent => moment.item(key).is_none(),
            SetMode::IfPresent => moment.item(key).is_some(),
        };
        if applies {
            self.write(key, value, expiry, &mut moment)?;
        }
        Ok(applies)
    }
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let mut moment = self.lock();
        items
            .iter()
            .map(|(key, value)| self.write(key, value.clone(), expiry, &mut moment))
            .collect()
    }
    fn has(&self, key: &str) -> Result<bool> {
        Ok(self.lock().item(key).is_some())
    }
    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let moment = self.lock();
        Ok(moment.item(key).map(|it| moment.ttl(it)))
    }
    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let mut moment = self.lock();
        let Some(value) = moment.item(key).map(|it| it.value.clone()) else { return Ok(false) };
        let expires = moment.expires(expiry);
        moment.put(key, value, expires);
        Ok(true)
    }
    fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.lock().delete(key))
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let mut moment = self.lock();
        keys.iter().map(|key| Ok(moment.delete(key))).collect()
    }
    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.lock().state.items.remove(key).map(|it| it.value))
    }
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        let mut moment = self.lock();
        let (old, expires) = match (moment.item(key), create) {
            (Some(it), _) => (integer(&it.value)?, it.expires),
            (None, Some(create)) => (create.initial, moment.expires(create.expiry)),
            (None, None) => return Ok(None),
        };
        let new = old
            .checked_add(delta)
            .ok_or_else(|| Error::new(ErrorKind::Overflow, "the result is outside i64"))?;
        moment.put(key, new.to_string().into(), expires);
        Ok(Some(new))
    }
    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let mut moment = self.lock();
        Ok(moment.is_expected(key, seen) && moment.delete(key))
    }
    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let mut moment = self.lock();
        let Some(item) = moment.item(key).filter(|it| seen.is(&it.value, it.stamp)) else {
            return Ok(false);
        };
        self.check_len(&value)?;
        let expires = match lifetime {
            TtlUpdate::Keep => item.expires,
            TtlUpdate::New(expiry) => moment.expires(expiry),
        };
        moment.put(key, value, expires);
        Ok(true)
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let mut moment = self.lock();
        let Some(item) = moment.state.items.remove(from) else { return Ok(false) };
        moment.put(to, item.value, item.expires);
        Ok(true)
    }
    fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.lock().state.items.retain(|key, _| !namespace.contains(key));
        Ok(())
    }
    fn clear_store(&self) -> Result<()> {
        self.lock().state.items.clear();
        Ok(())
    }
    fn check(&self) -> Result<()> {
        Ok(())
    }
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Parses `0|-?[1-9][0-9]*` within `i64`: text that is equal to the number written out again.
fn integer(value: &[u8]) -> Result<i64> {
    let parsed = std::str::from_utf8(value).ok().and_then(|it| it.parse::<i64>().ok());
    parsed
        .filter(|it| it.to_string().as_bytes() == value)
        .ok_or_else(|| Error::new(ErrorKind::NotAnInteger, "the value is not an integer"))
}

/// Shows the length of the value instead of its bytes.
impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item")
            .field("len", &self.value.len())
            .field("expires", &self.expires)
            .field("stamp", &self.stamp)
            .finish()
    }
}
