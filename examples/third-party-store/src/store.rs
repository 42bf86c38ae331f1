//! The store: the trait that every blocking store implements.

use std::{fmt, path::PathBuf};

use bytes::Bytes;
use cache_core::{
    Clock, Error, ErrorKind, Result, Ttl,
    store::{
        Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, SetMode, StoreId,
        SyncBackend, TtlUpdate, integer, payload_len,
    },
};

use crate::{engine::Engine, options::Options};

/// A store in a file. Its calls block, so it runs in [`Offload`](cache_core::store::Offload).
pub struct Redb {
    id: StoreId,
    engine: Engine,
    max_value_len: usize,
}

/// The name of the backend in the settings.
pub(crate) const NAME: &str = "redb";

impl Redb {
    /// Returns the store in this file, which the first call opens or creates.
    pub fn new(path: impl Into<PathBuf>, options: Options, clock: Clock) -> Self {
        let max_value_len = usize::try_from(options.max_value_bytes.bytes()).unwrap_or(usize::MAX);
        let path = path.into();
        let id = StoreId::of_path(NAME, &path, [""; 0]);
        Self { id, engine: Engine::new(path, options, clock), max_value_len }
    }

    fn check_len(&self, value: &Bytes) -> Result<()> {
        // Without the header that the facade may have added.
        let (len, max) = (payload_len(value), self.max_value_len);
        if len <= max {
            return Ok(());
        }
        let what = format!("the value has {len} bytes; max_value_bytes is {max}");
        Err(Error::new(ErrorKind::TooLarge, what))
    }
}

impl SyncBackend for Redb {
    fn name(&self) -> &'static str {
        NAME
    }

    // ANCHOR: id
    fn id(&self) -> StoreId {
        self.id.clone()
    }
    // ANCHOR_END: id

    // ANCHOR: facts
    fn capabilities(&self) -> Capabilities {
        // Not `shared`: redb opens a file in one process at a time.
        Capabilities::new().persistent().connects().max_value_len(self.max_value_len)
    }
    // ANCHOR_END: facts

    // ANCHOR: reads
    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.engine.read(|it| it.value(key))
    }

    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.engine.read(|it| it.entry(key))
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let found = self.engine.read(|it| keys.iter().map(|key| it.value(key)).collect());
        per_key(keys.len(), found)
    }

    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let found = self.engine.read(|it| keys.iter().map(|key| it.entry(key)).collect());
        per_key(keys.len(), found)
    }
    // ANCHOR_END: reads

    // ANCHOR: set
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let fits = self.check_len(&value);
        let wrote = self.engine.write(|it| {
            let allowed = match mode {
                SetMode::Always => true,
                SetMode::IfAbsent => it.view.expires(key)?.is_none(),
                SetMode::IfPresent => it.view.expires(key)?.is_some(),
            };
            if allowed && fits.is_ok() {
                it.put(key, &value, it.view.expires_at(expiry))?;
            } else if allowed {
                // The caller expects the old value to be replaced, so it must not stay.
                it.remove(key)?;
            }
            Ok(allowed)
        })?;
        fits.map(|()| wrote)
    }
    // ANCHOR_END: set

    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let written = self.engine.write(|it| {
            let mut answers = Vec::with_capacity(items.len());
            for (key, value) in items {
                let fits = self.check_len(value);
                match fits {
                    Ok(()) => it.put(key, value, it.view.expires_at(expiry))?,
                    Err(_) => drop(it.remove(key)?),
                }
                answers.push(fits);
            }
            Ok(answers)
        });
        written.unwrap_or_else(|err| vec![Err(err); items.len()])
    }

    fn has(&self, key: &str) -> Result<bool> {
        self.engine.read(|it| Ok(it.expires(key)?.is_some()))
    }

    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.engine.read(|it| Ok(it.expires(key)?.map(|expires| it.ttl(expires))))
    }

    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.engine.write(|it| {
            let Some(found) = it.view.get(key)? else { return Ok(false) };
            it.put(key, &found.value, it.view.expires_at(expiry))?;
            Ok(true)
        })
    }

    fn delete(&self, key: &str) -> Result<bool> {
        self.engine.write(|it| it.remove(key))
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let removed = self.engine.write(|it| keys.iter().map(|key| it.remove(key)).collect());
        per_key(keys.len(), removed)
    }

    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.engine.write(|it| {
            let found = it.view.get(key)?;
            it.remove(key)?;
            Ok(found.map(|it| it.value))
        })
    }

    // ANCHOR: incr
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        self.engine.write(|it| {
            let (old, expires) = match (it.view.get(key)?, create) {
                (Some(found), _) => (integer::parse(&found.value), found.expires),
                (None, Some(create)) => (Ok(create.initial), it.view.expires_at(create.expiry)),
                (None, None) => return Ok(Ok(None)),
            };
            let new = old.and_then(|old| integer::add(old, delta));
            if let Ok(new) = new {
                it.put(key, new.to_string().as_bytes(), expires)?;
            }
            Ok(new.map(Some))
        })?
    }
    // ANCHOR_END: incr

    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        self.engine.write(|it| {
            let is_expected = it.view.get(key)?.is_some_and(|it| it.is(seen));
            Ok(is_expected && it.remove(key)?)
        })
    }

    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.check_len(&value)?;
        self.engine.write(|it| {
            let Some(found) = it.view.get(key)?.filter(|it| it.is(seen)) else {
                return Ok(false);
            };
            let expires = match lifetime {
                TtlUpdate::Keep => found.expires,
                TtlUpdate::New(expiry) => it.view.expires_at(expiry),
            };
            it.put(key, &value, expires)?;
            Ok(true)
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.engine.write(|it| {
            let Some(found) = it.view.get(from)? else { return Ok(false) };
            it.remove(from)?;
            it.put(to, &found.value, found.expires)?;
            Ok(true)
        })
    }

    fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.engine.write(|it| it.clear(namespace))
    }

    #[expect(clippy::redundant_closure_for_method_calls, reason = "as a path it does not compile")]
    fn clear_store(&self) -> Result<()> {
        self.engine.write(|it| it.clear_all())
    }

    fn check(&self) -> Result<()> {
        self.engine.open()
    }

    fn close(&self) -> Result<()> {
        self.engine.close()
    }
}

// ANCHOR: per_key
/// Returns one result per key: a batch is one transaction, so if it fails, it fails for each key.
fn per_key<T: Clone>(len: usize, answers: Result<Vec<T>>) -> Vec<Result<T>> {
    match answers {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(err) => vec![Err(err); len],
    }
}
// ANCHOR_END: per_key

/// Omits the path, which the settings may treat as a secret.
impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").field("max_value_len", &self.max_value_len).finish_non_exhaustive()
    }
}
