//! Clears one prefix. memcached can only remove all entries, so `clear` changes the keys instead.
//!
//! Each server has a generation for each prefix: a random number that is part of all keys of that
//! prefix on that server. `clear` writes a new generation, so that the old keys are never read
//! again. A process caches the generation for one second, so another process may use the old
//! generation for that long. If the server has lost the generation, a new one is created by `add`.
//! It is random, so no old entry comes back.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::{Clock, Error, ErrorKind, Result, store::Namespace};
use memcache::exp::ReturnCode;

use crate::{address::Address, command, error, transport::SendCommand};

/// How long a generation is cached.
const CACHE_TIME: Duration = Duration::from_secs(1);
/// How many times a process tries to create a generation while other processes do the same.
const TRIES: usize = 5;

/// The generations of one server, as this process has read them.
#[derive(Debug)]
pub(crate) struct Generations {
    clock: Clock,
    known: Mutex<HashMap<Arc<str>, Arc<Prefix>>>,
    /// How many times the cached generations were invalidated.
    invalidations: AtomicU64,
}

/// The state of one prefix. It is locked for moments only, never during a request: callers that
/// wait for a lock would each wait for the deadline of a frozen server, one after another, and a
/// runtime that is not polled any more could hold the lock.
#[derive(Debug, Default)]
struct Prefix(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The generation, and the time before it was read.
    generation: Option<(Arc<str>, Duration)>,
    /// How many times `clear` has started or ended. A generation that was read before such a moment
    /// is not cached.
    clears: u64,
}

impl Prefix {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the cached generation and counts.
    fn clear(&mut self) -> u64 {
        self.generation = None;
        self.clears += 1;
        self.clears
    }
}

/// Builds the server's keys for one generation. The kinds of keys cannot collide, because a
/// generation consists of hexadecimal digits.
pub(crate) struct KeyNames {
    generation: Option<Arc<str>>,
}

impl KeyNames {
    /// Returns the key of an entry.
    pub(crate) fn entry(&self, key: &str) -> String {
        self.join(":", key)
    }

    /// Returns the key of the lock for the rename of an entry.
    pub(crate) fn move_lock(&self, key: &str) -> String {
        self.join("~", key)
    }

    fn join(&self, by: &str, key: &str) -> String {
        [self.generation.as_deref().unwrap_or("-"), by, key].concat()
    }
}

fn generation_key(prefix: &str) -> String {
    format!("!:{prefix}")
}

impl Generations {
    /// Returns the generations of the server at this address. All stores of this process share
    /// them, so that a `clear` by one store takes effect for the others at once.
    pub(crate) fn of(address: &Address) -> Arc<Self> {
        static OF: LazyLock<Mutex<HashMap<Address, Weak<Generations>>>> =
            LazyLock::new(Mutex::default);
        let mut of = OF.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = of.get(address).and_then(Weak::upgrade) {
            return it;
        }
        of.retain(|_, it| it.strong_count() > 0);
        let it = Arc::new(Self {
            clock: Clock::system(),
            known: Mutex::default(),
            invalidations: AtomicU64::new(0),
        });
        of.insert(address.clone(), Arc::downgrade(&it));
        it
    }

    /// Returns the key names for the prefix of this key, if the generation is cached.
    pub(crate) fn cached_names(&self, key: &str) -> Option<KeyNames> {
        let Some(prefix) = Namespace::prefix_of(key) else {
            return Some(KeyNames { generation: None });
        };
        let generation = self.cached(&self.prefix(prefix))?;
        Some(KeyNames { generation: Some(generation) })
    }

    /// Returns the key names for the prefix of this key. Reads the generation from the server if
    /// necessary.
    pub(crate) async fn names(
        &self,
        key: &str,
        server: &impl SendCommand,
        at: &Address,
    ) -> Result<KeyNames> {
        // A key without a version belongs to no prefix, and `clear` never removes it.
        let Some(prefix) = Namespace::prefix_of(key) else {
            return Ok(KeyNames { generation: None });
        };
        let known = self.prefix(prefix);
        loop {
            let clears = known.lock().clears;
            if let Some(generation) = self.cached(&known) {
                return Ok(KeyNames { generation: Some(generation) });
            }
            // Take the time before the request, because the reply may be as old.
            let now = self.clock.now();
            let generation = read(prefix, server, at).await?;
            let mut state = known.lock();
            if state.clears == clears {
                state.generation = Some((Arc::clone(&generation), now));
                return Ok(KeyNames { generation: Some(generation) });
            }
            // Read again, because this may be the cleared generation.
        }
    }

    /// Writes a new generation. The entries of the old generation are never read again.
    pub(crate) async fn renew(
        &self,
        namespace: &Namespace,
        server: &impl SendCommand,
        at: &Address,
    ) -> Result<()> {
        let known = self.prefix(namespace.prefix());
        // The cached generation is wrong from now on, with any outcome of the write.
        let clears = known.lock().clear();
        let new = random();
        let now = self.clock.now();
        let written = server
            .send_command(command::set(generation_key(namespace.prefix()), new.as_bytes(), 0))
            .await;
        let is_written = written.and_then(|it| command::done(&it, at));
        let mut state = known.lock();
        let is_only = state.clear() == clears + 1;
        match is_written {
            // Of several concurrent `clear` calls, only the server knows which was the last.
            Ok(true) if is_only => state.generation = Some((new, now)),
            Ok(true) => {}
            Ok(false) => return Err(error::unexpected_reply(at)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Drops all cached generations, because the server was emptied.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Drops all cached generations, because the server may have lost them. Called whenever a
    /// connection of this process to the server starts or ends, in any runtime, so that a
    /// generation in use was read after all connections were made.
    pub(crate) fn invalidate(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for it in known.values() {
            it.lock().clear();
        }
        drop(known);
        // After the clears, so that a caller that reads the new count finds no old generation.
        self.invalidations.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how many times the cached generations were invalidated. A caller reads this number
    /// before the key names, and may use the names while the number is the same.
    pub(crate) fn invalidations(&self) -> u64 {
        self.invalidations.load(Ordering::SeqCst)
    }

    fn prefix(&self, prefix: &str) -> Arc<Prefix> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(prefix) {
            Some(it) => Arc::clone(it),
            None => Arc::clone(known.entry(prefix.into()).or_default()),
        }
    }

    fn cached(&self, known: &Prefix) -> Option<Arc<str>> {
        let state = known.lock();
        let (generation, since) = state.generation.as_ref()?;
        (self.clock.coarse() < *since + CACHE_TIME).then(|| Arc::clone(generation))
    }
}

/// Reads the generation, or creates it. Of several concurrent creators, one wins.
async fn read(prefix: &str, server: &impl SendCommand, at: &Address) -> Result<Arc<str>> {
    for _ in 0..TRIES {
        let found =
            command::value(server.send_command(command::get(generation_key(prefix))).await?, at)?;
        // A value of another program is replaced.
        let is_foreign = match &found {
            Some(found) => match std::str::from_utf8(found) {
                Ok(text) if is_generation(text) => return Ok(text.into()),
                _ => true,
            },
            None => false,
        };
        let new = random();
        let write = command::set(generation_key(prefix), new.as_bytes(), 0);
        let write = if is_foreign { write } else { write.flag("ME") };
        match server.send_command(write).await?.code {
            ReturnCode::Hd => return Ok(new),
            ReturnCode::Ns => {}
            _ => return Err(error::unexpected_reply(at)),
        }
    }
    let what =
        "out of memory: the server evicts the generation of the prefix as soon as it is written";
    Err(error::at(Error::new(ErrorKind::Backend, what), at))
}

fn is_generation(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// Returns 64 random bits. The operating system seeds each hasher state.
fn random() -> Arc<str> {
    format!("{:016x}", RandomState::new().hash_one(std::time::SystemTime::now())).into()
}
