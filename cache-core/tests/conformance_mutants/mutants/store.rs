//! A store that breaks one promise: its state, and the bugs of keys, values, lifetimes and `clear`.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{Expiry, Namespace, SetMode, SyncBackend},
    testing::{Model, RESERVED_WORDS},
};

use super::{Bug, Calls, calls::Until};

/// The model with one [`Bug`].
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(super) bug: Bug,
    pub(super) model: Model,
    /// The values that were written and not removed, expired ones too.
    pub(super) written: Mutex<HashMap<String, Bytes>>,
    pub(super) closed: AtomicBool,
    /// Keys that some bugs treat differently from now on.
    flagged: Mutex<HashSet<String>>,
    pub(super) calls: Arc<Calls>,
}

pub(super) const MAX_LEN: usize = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);

impl Mutant {
    pub(crate) fn new(bug: Bug, model: Model) -> Self {
        let (written, closed) = (Mutex::default(), AtomicBool::new(false));
        let model = model.with_max_value_len(MAX_LEN);
        let (flagged, calls) = (Mutex::default(), Arc::default());
        Self { bug, model, written, closed, flagged, calls }
    }

    /// Returns the layer that must be around the store: its races wait for other calls.
    pub(crate) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// Returns the number of live entries.
    pub(crate) fn entries(&self) -> usize {
        let keys: Vec<_> = self.written.lock().unwrap().keys().cloned().collect();
        keys.iter().filter(|it| self.model.has(it).unwrap()).count()
    }

    pub(super) fn has_bug(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    /// Lets another call run between two steps that should be one.
    pub(super) fn pause(&self) {
        self.calls.pause(Until::Another);
    }

    /// Returns the key under which the store keeps the entry of `key`.
    pub(super) fn key(&self, key: &str) -> String {
        match self.bug {
            Bug::KeysIgnoreCase => key.to_lowercase(),
            Bug::KeysAreCut => key.chars().take(200).collect(),
            Bug::KeysAreAscii => key.replace(|it: char| !it.is_ascii(), "?"),
            Bug::KeysArePaths => key.replace("//", "/").replace("/./", "/"),
            _ => key.to_owned(),
        }
    }

    /// Returns the value that the store keeps for `value`.
    pub(super) fn value(&self, value: Bytes) -> Bytes {
        let text = std::str::from_utf8(&value).ok();
        match self.bug {
            Bug::ValuesAreText => String::from_utf8_lossy(&value).into_owned().into(),
            Bug::ValuesEndAtZero => {
                let end = value.iter().position(|it| *it == 0).unwrap_or(value.len());
                value.slice(..end)
            }
            Bug::ValuesAreTrimmed => value.trim_ascii().to_vec().into(),
            Bug::ValuesAreCut => value.slice(..value.len().min(u16::MAX.into())),
            Bug::NumbersAreNormalised => match text.and_then(|it| it.parse::<f64>().ok()) {
                Some(number) if number.is_finite() => number.to_string().into(),
                _ => value,
            },
            _ => value,
        }
    }

    /// Returns the lifetime that the store keeps for `expiry`.
    pub(super) fn expiry(&self, expiry: Expiry) -> Expiry {
        match (self.bug, expiry) {
            (Bug::WholeSecondsRoundedDown, Expiry::After(it)) => {
                Expiry::After(Duration::from_secs(it.as_secs()))
            }
            (Bug::WholeSeconds, Expiry::After(it)) => {
                Expiry::After(Duration::from_secs(it.as_secs().saturating_add(2)))
            }
            (Bug::AMillisecondEarly, Expiry::After(it)) => {
                Expiry::After(it.saturating_sub(Duration::from_millis(1)))
            }
            (Bug::ASecondLate, Expiry::After(it)) => {
                Expiry::After(it.saturating_add(Duration::from_secs(1)))
            }
            (Bug::ThirtyDaysAreADate, Expiry::After(it)) if it > DAY * 30 => {
                Expiry::After(Duration::ZERO)
            }
            (Bug::LongLifetimesWrap, Expiry::After(it)) => {
                let millis = it.as_millis() & u128::from(u32::MAX);
                Expiry::After(Duration::from_millis(millis.try_into().unwrap_or_default()))
            }
            (Bug::NeverIsAYear, Expiry::Never) => Expiry::After(DAY * 365),
            _ => expiry,
        }
    }

    pub(super) fn flag(&self, key: &str) {
        self.flagged.lock().unwrap().insert(key.to_owned());
    }

    pub(super) fn is_flagged(&self, key: &str) -> bool {
        self.flagged.lock().unwrap().contains(key)
    }

    /// Returns the value that was written last, also if it has expired.
    pub(super) fn last_written(&self, key: &str) -> Option<Bytes> {
        self.written.lock().unwrap().get(key).cloned()
    }

    /// Remembers the value that `key` has now.
    pub(super) fn remember(&self, key: &str) {
        if let Ok(Some(value)) = self.model.get(key) {
            self.written.lock().unwrap().insert(key.to_owned(), value);
        }
    }

    pub(super) fn forget(&self, key: &str) {
        self.written.lock().unwrap().remove(key);
    }

    /// Makes an expired entry live again.
    pub(super) fn revive(&self, key: &str) -> Result<()> {
        if let Some(last_written) = self.last_written(key) {
            self.model.set(key, last_written, Expiry::Never, SetMode::IfAbsent)?;
        }
        Ok(())
    }

    /// Returns the lifetime that remains.
    pub(super) fn lifetime(&self, key: &str) -> Result<Option<Expiry>> {
        Ok(self.model.ttl(key)?.map(|it| match it {
            Ttl::Forever => Expiry::Never,
            Ttl::Remaining(it) => Expiry::After(it),
        }))
    }

    /// Returns whether `clear` of the namespace removes the key.
    pub(super) fn clears(&self, namespace: &Namespace, key: &str) -> bool {
        let prefix = namespace.prefix();
        let right = namespace.contains(key);
        match self.bug {
            Bug::ClearByPrefix => key.starts_with(prefix),
            Bug::ClearByGlob => match prefix.split_once('*') {
                Some((head, tail)) => {
                    key.strip_prefix(head).is_some_and(|it| it.contains(&format!("{tail}:")))
                }
                None => right,
            },
            Bug::ClearIgnoresCase => {
                Namespace::new(&prefix.to_lowercase()).unwrap().contains(&key.to_lowercase())
            }
            Bug::ClearOneVersion => key.starts_with(&format!("{prefix}:1:")),
            Bug::ClearKeepsReservedWords => {
                right
                    && !RESERVED_WORDS.iter().any(|it| key.starts_with(&format!("{prefix}:{it}:")))
            }
            Bug::ClearForgetsNever => {
                right && !matches!(self.model.ttl(key), Ok(Some(Ttl::Forever)))
            }
            Bug::ClearIsFlush => true,
            Bug::ClearTheEmptyPrefixIsFlush => right || prefix.is_empty(),
            _ => right,
        }
    }
}
