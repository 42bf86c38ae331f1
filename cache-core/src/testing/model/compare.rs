use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Life, Model, Step};
use crate::{
    error::Error,
    key::Namespace,
    store::{Backend, CounterInit, Entry, Expected, SetMode, SyncBackend, TtlUpdate},
    testing::FakeClock,
    timeout::{Expiry, Ttl},
};

/// Runs the same steps on a store and a [`Model`], and compares the results.
///
/// The store must follow the given clock. Use [`without_time`](Self::without_time) for a store
/// whose time tests cannot move.
///
/// ```
/// use cache_core::{store::Inline, testing::{FakeClock, Model, model::{Comparison, random_steps}}};
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let time = FakeClock::new();
/// let store = Arc::new(Inline::new(Model::new(time.clock())));
/// let comparison = Comparison::new(store, "test", time).unwrap();
/// comparison.run(&random_steps(1, 200)).await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct Comparison {
    store: Arc<dyn Backend>,
    namespace: Namespace,
    time: FakeClock,
    moves_time: bool,
    unit: Duration,
    /// The largest difference between remaining lifetimes of the store and of the model.
    slack: Duration,
}

/// A step for which the store and the model returned different results.
#[derive(Debug)]
pub struct Mismatch {
    /// The index of the step.
    pub index: usize,
    /// The step.
    pub step: Step,
    /// The call, with both results.
    pub what: String,
}

impl Comparison {
    /// Compares `store`, which follows `time`. All keys are in the namespace of `key_prefix`, which
    /// no other caller may use.
    ///
    /// # Errors
    /// `InvalidKey` for an invalid `key_prefix`.
    pub fn new(
        store: Arc<dyn Backend>,
        key_prefix: &str,
        time: FakeClock,
    ) -> crate::error::Result<Self> {
        let slack = store.capabilities().granularity.max(Duration::from_millis(1));
        let unit = slack * 4;
        Ok(Self {
            store,
            namespace: Namespace::new(key_prefix)?,
            time,
            moves_time: true,
            unit,
            slack,
        })
    }

    /// Compares a store whose time tests cannot move: [`Step::Pass`] does nothing, a unit is an
    /// hour, and remaining lifetimes may differ by half a minute.
    ///
    /// # Errors
    /// `InvalidKey` for an invalid `key_prefix`.
    pub fn without_time(store: Arc<dyn Backend>, key_prefix: &str) -> crate::error::Result<Self> {
        let granularity = store.capabilities().granularity;
        Ok(Self {
            moves_time: false,
            unit: Duration::from_secs(3600),
            slack: granularity + Duration::from_secs(30),
            ..Self::new(store, key_prefix, FakeClock::new())?
        })
    }

    /// Clears the namespace, runs the steps, and clears it again.
    ///
    /// # Errors
    /// The first step for which store and model returned different results.
    ///
    /// # Cancel safety
    /// A dropped future leaves the entries of the steps so far in the store.
    pub async fn run(&self, steps: &[Step]) -> Result<(), Mismatch> {
        let mut run = Run {
            setup: self,
            model: Model::new(self.time.clock()),
            seen: HashMap::new(),
            written: 0,
        };
        let mut res = run.step(&Step::Clear).await.map_err(|what| (0, &Step::Clear, what));
        for (index, step) in steps.iter().enumerate() {
            if res.is_ok() {
                res = run.step(step).await.map_err(|what| (index, step, what));
            }
        }
        // An error here would hide a mismatch.
        let _ = self.store.clear(&self.namespace).await;
        res.map_err(|(index, step, what)| Mismatch { index, step: step.clone(), what })
    }

    fn key(&self, key: u8) -> String {
        format!("{}:1:{key}", self.namespace.prefix())
    }

    fn expiry(&self, life: Life) -> Expiry {
        match life {
            Life::Never => Expiry::Never,
            Life::Units(units) => Expiry::After(self.unit * u32::from(units) + self.unit / 2),
        }
    }

    fn same_ttl(&self, store: Option<Ttl>, model: Option<Ttl>) -> bool {
        match (store, model) {
            (Some(Ttl::Remaining(store)), Some(Ttl::Remaining(model))) => {
                store.abs_diff(model) <= self.slack
            }
            _ => store == model,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({:?}): {}", self.index, self.step, self.what)
    }
}

impl std::error::Error for Mismatch {}

/// One run: the model, and the last read entry of each key.
struct Run<'a> {
    setup: &'a Comparison,
    model: Model,
    seen: HashMap<u8, LastSeen>,
    written: u64,
}

struct LastSeen {
    store: Entry,
    model: Entry,
    /// By the clock of the model.
    expires: Option<Duration>,
}

impl Run<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let store = Arc::clone(&self.setup.store);
        match step {
            Step::Read(key) => self.read(*key).await,
            Step::ReadMany(keys) => self.read_many(keys).await,
            Step::Set(key, life) => self.set(*key, None, *life, SetMode::Always).await,
            Step::SetInteger(key, value, life) => {
                self.set(*key, Some(value.to_string().into()), *life, SetMode::Always).await
            }
            Step::Add(key, life) => self.set(*key, None, *life, SetMode::IfAbsent).await,
            Step::Replace(key, life) => self.set(*key, None, *life, SetMode::IfPresent).await,
            Step::SetMany(keys, life) => self.set_many(keys, *life).await,
            Step::Touch(key, life) => {
                let (key, expiry) = (self.setup.key(*key), self.setup.expiry(*life));
                same("touch", &store.touch(&key, expiry).await, &self.model.touch(&key, expiry))
            }
            Step::Delete(key) => {
                let key = self.setup.key(*key);
                same("delete", &store.delete(&key).await, &self.model.delete(&key))
            }
            Step::DeleteMany(keys) => {
                let keys = self.keys(keys);
                let keys = borrowed(&keys);
                same_all(
                    "delete_many",
                    &store.delete_many(&keys).await,
                    &self.model.delete_many(&keys),
                )
            }
            Step::Take(key) => {
                let key = self.setup.key(*key);
                same("take", &store.take(&key).await, &self.model.take(&key))
            }
            Step::Incr(key, delta) => {
                let key = self.setup.key(*key);
                same(
                    "incr",
                    &store.incr(&key, *delta, None).await,
                    &self.model.incr(&key, *delta, None),
                )
            }
            Step::IncrOr(key, delta, initial, life) => {
                let key = self.setup.key(*key);
                let create = Some(CounterInit::new(*initial, self.setup.expiry(*life)));
                let answer = store.incr(&key, *delta, create).await;
                same("incr with create", &answer, &self.model.incr(&key, *delta, create))
            }
            Step::CompareAndDelete(key) => self.compare_and_delete(*key).await,
            Step::CompareAndSet(key, life) => self.compare_and_set(*key, *life).await,
            Step::Rename(from, to) if from == to => Ok(()),
            Step::Rename(from, to) => {
                let (from, to) = (self.setup.key(*from), self.setup.key(*to));
                same("rename", &store.rename(&from, &to).await, &self.model.rename(&from, &to))
            }
            Step::Clear => {
                let namespace = &self.setup.namespace;
                same("clear", &store.clear(namespace).await, &self.model.clear(namespace))
            }
            Step::Pass(units) => {
                if self.setup.moves_time {
                    self.setup.time.advance(self.setup.unit * u32::from(*units));
                }
                Ok(())
            }
        }
    }

    async fn read(&mut self, number: u8) -> Result<(), String> {
        let store = Arc::clone(&self.setup.store);
        let key = self.setup.key(number);
        same("get", &store.get(&key).await, &self.model.get(&key))?;
        same("has", &store.has(&key).await, &self.model.has(&key))?;
        let (ttl, expected) = (store.ttl(&key).await, self.model.ttl(&key));
        match (&ttl, &expected) {
            (Ok(ttl), Ok(expected)) if self.setup.same_ttl(*ttl, *expected) => {}
            _ => return Err(format!("ttl: the store returned {ttl:?}, the model {expected:?}")),
        }
        let entry = self.same_entry(store.get_entry(&key).await, self.model.get_entry(&key))?;
        match entry {
            Some((store, model)) => {
                let expires = self.expires(model.ttl);
                self.seen.insert(number, LastSeen { store, model, expires });
            }
            None => drop(self.seen.remove(&number)),
        }
        Ok(())
    }

    async fn read_many(&mut self, keys: &[u8]) -> Result<(), String> {
        let store = Arc::clone(&self.setup.store);
        let keys = self.keys(keys);
        let keys = borrowed(&keys);
        same_all("get_many", &store.get_many(&keys).await, &self.model.get_many(&keys))?;
        let (entries, expected) = (store.get_entries(&keys).await, self.model.get_entries(&keys));
        if entries.len() != expected.len() {
            return Err(format!("get_entries: {} results for {} keys", entries.len(), keys.len()));
        }
        for (entry, expected) in entries.into_iter().zip(expected) {
            self.same_entry(entry, expected)?;
        }
        Ok(())
    }

    async fn set(
        &mut self,
        key: u8,
        value: Option<Bytes>,
        life: Life,
        mode: SetMode,
    ) -> Result<(), String> {
        let store = Arc::clone(&self.setup.store);
        let value = value.unwrap_or_else(|| self.new_value());
        let (key, expiry) = (self.setup.key(key), self.setup.expiry(life));
        let answer = store.set(&key, value.clone(), expiry, mode).await;
        same("set", &answer, &self.model.set(&key, value, expiry, mode))
    }

    async fn set_many(&mut self, keys: &[u8], life: Life) -> Result<(), String> {
        let store = Arc::clone(&self.setup.store);
        let keys = self.keys(keys);
        let items: Vec<_> = keys.iter().map(|key| (key.as_str(), self.new_value())).collect();
        let expiry = self.setup.expiry(life);
        same_all(
            "set_many",
            &store.set_many(&items, expiry).await,
            &self.model.set_many(&items, expiry),
        )
    }

    async fn compare_and_delete(&mut self, number: u8) -> Result<(), String> {
        let Some((key, seen, by_value)) = self.seen(number) else { return Ok(()) };
        let answer = self.setup.store.compare_and_delete(&key, look(&seen.store, by_value)).await;
        same(
            "compare_and_delete",
            &answer,
            &self.model.compare_and_delete(&key, look(&seen.model, by_value)),
        )
    }

    async fn compare_and_set(&mut self, number: u8, life: Option<Life>) -> Result<(), String> {
        let value = self.new_value();
        let lifetime = life.map_or(TtlUpdate::Keep, |it| TtlUpdate::New(self.setup.expiry(it)));
        let Some((key, seen, by_value)) = self.seen(number) else { return Ok(()) };
        let (store, theirs) = (&self.setup.store, look(&seen.store, by_value));
        let answer = store.compare_and_set(&key, theirs, value.clone(), lifetime).await;
        let ours = look(&seen.model, by_value);
        same("compare_and_set", &answer, &self.model.compare_and_set(&key, ours, value, lifetime))
    }

    /// Returns the last read entry of a key, and whether a comparison must leave its stamp out:
    /// after a write of the same bytes with the same expiry, a store may or may not change the
    /// stamp.
    fn seen(&self, number: u8) -> Option<(String, &LastSeen, bool)> {
        let key = self.setup.key(number);
        let seen = self.seen.get(&number)?;
        let now = self.model.get_entry(&key).ok().flatten();
        let by_value = now.is_some_and(|it| {
            let same = it.value == seen.model.value && self.expires(it.ttl) == seen.expires;
            same && it.stamp != seen.model.stamp
        });
        Some((key, seen, by_value))
    }

    fn same_entry(
        &self,
        store: crate::error::Result<Option<Entry>>,
        model: crate::error::Result<Option<Entry>>,
    ) -> Result<Option<(Entry, Entry)>, String> {
        match (store, model) {
            (Ok(Some(store)), Ok(Some(model)))
                if store.value == model.value
                    && self.setup.same_ttl(Some(store.ttl), Some(model.ttl)) =>
            {
                Ok(Some((store, model)))
            }
            (Ok(None), Ok(None)) => Ok(None),
            (store, model) => {
                Err(format!("get_entry: the store returned {store:?}, the model {model:?}"))
            }
        }
    }

    fn expires(&self, ttl: Ttl) -> Option<Duration> {
        match ttl {
            Ttl::Forever => None,
            Ttl::Remaining(left) => Some(self.setup.time.clock().now() + left),
        }
    }

    fn keys(&self, keys: &[u8]) -> Vec<String> {
        // The facade never passes a key twice in one batch.
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|it| self.setup.key(it)).collect()
    }

    fn new_value(&mut self) -> Bytes {
        self.written += 1;
        format!("value {}", self.written).into()
    }
}

fn look(entry: &Entry, by_value: bool) -> Expected<'_> {
    if by_value { Expected::value(&entry.value) } else { Expected::entry(entry) }
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Compares results. Errors are equal if their kinds are.
fn same<T: PartialEq + fmt::Debug>(
    what: &str,
    store: &Result<T, Error>,
    model: &Result<T, Error>,
) -> Result<(), String> {
    let is_same = match (store, model) {
        (Ok(store), Ok(model)) => store == model,
        (Err(store), Err(model)) => store.kind() == model.kind(),
        _ => false,
    };
    if is_same {
        Ok(())
    } else {
        Err(format!("{what}: the store returned {store:?}, the model {model:?}"))
    }
}

fn same_all<T: PartialEq + fmt::Debug>(
    what: &str,
    store: &[Result<T, Error>],
    model: &[Result<T, Error>],
) -> Result<(), String> {
    if store.len() != model.len() {
        return Err(format!("{what}: {} results for {} keys", store.len(), model.len()));
    }
    store.iter().zip(model).try_for_each(|(store, model)| same(what, store, model))
}
