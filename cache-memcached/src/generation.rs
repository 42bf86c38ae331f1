//! Clears one prefix. memcached can only remove all entries, so `clear` changes the keys instead.
//!
//! Each server has a generation for each prefix: a random number that is part of all keys of that
//! prefix on that server. `clear` writes a new generation, so that the old keys are never read
//! again. A process caches the generation for one second, so another process may use the old
//! generation for that long. If the server has lost the generation, a new one is created by `add`.
//! It is random, so no old entry comes back.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cache_core::{Clock, Error, ErrorKind, Result, store::Namespace};

use crate::{
    address::Address,
    command::{self, Command, Mode},
    error,
    key::{Generation, Key, KeyNames},
    outcome,
    reply::{Code, Reply, ReturnCode},
};

/// How long a generation is cached.
const CACHE_TIME: Duration = Duration::from_secs(1);
/// How many times a process tries to create a generation while other processes do the same.
const TRIES: usize = 5;

/// The generations of one server, as this process has read them.
///
/// They are locked for moments only, never during a request: callers that wait for a lock would
/// each wait for the deadline of a frozen server, one after another, and a runtime that is not
/// polled any more could hold the lock.
#[derive(Debug)]
pub(crate) struct Generations {
    clock: Clock,
    known: Mutex<HashMap<Box<str>, Prefix>>,
    /// How many times the cached generations were invalidated.
    invalidations: AtomicU64,
}

/// The state of one prefix.
#[derive(Debug, Default)]
struct Prefix {
    /// The generation, and the time before it was read.
    generation: Option<(Generation, Duration)>,
    /// How many times `clear` has started or ended. A generation that was read before such a moment
    /// is not cached.
    clears: u64,
}

/// Sends a command whose key contains no generation.
#[async_trait]
pub(crate) trait SendCommand: Send + Sync {
    async fn send_command(&self, command: Command<'_>) -> Result<Reply>;
}

impl Prefix {
    /// Drops the cached generation and counts.
    fn clear(&mut self) -> u64 {
        self.generation = None;
        self.clears += 1;
        self.clears
    }
}

fn generation_key(prefix: &str) -> Key<'_> {
    Key::new("!:", prefix)
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
        // A key without a version belongs to no prefix, and `clear` never removes it.
        let Some(prefix) = Namespace::prefix_of(key) else {
            return Some(KeyNames { generation: None });
        };
        let known = self.lock();
        self.names_in(known.get(prefix)?)
    }

    /// Returns the key names for the prefix of this key. Reads the generation from the server if
    /// necessary.
    pub(crate) async fn names(
        &self,
        key: &str,
        server: &impl SendCommand,
        at: &Address,
    ) -> Result<KeyNames> {
        let Some(prefix) = Namespace::prefix_of(key) else {
            return Ok(KeyNames { generation: None });
        };
        loop {
            let clears = {
                let mut known = self.lock();
                let state = known.entry(prefix.into()).or_default();
                if let Some(names) = self.names_in(state) {
                    return Ok(names);
                }
                state.clears
            };
            // Take the time before the request, because the reply may be as old.
            let now = self.clock.now();
            let generation = read(prefix, server, at).await?;
            let mut known = self.lock();
            let state = known.entry(prefix.into()).or_default();
            if state.clears == clears {
                state.generation = Some((generation, now));
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
        let prefix = namespace.prefix();
        let clear = || self.lock().entry(prefix.into()).or_default().clear();
        // The cached generation is wrong from now on, with any outcome of the write.
        let clears = clear();
        let new = Generation::random();
        let now = self.clock.now();
        let write = command::set(generation_key(prefix), new.as_bytes(), Mode::Always, 0);
        let written = server.send_command(write).await;
        let is_written = written.and_then(|it| outcome::done(&it, at));
        let is_only = clear() == clears + 1;
        match is_written {
            // Of several concurrent `clear` calls, only the server knows which was the last.
            Ok(true) if is_only => {
                let mut known = self.lock();
                let state = known.entry(prefix.into()).or_default();
                if state.clears == clears + 1 {
                    state.generation = Some((new, now));
                }
                Ok(())
            }
            Ok(true) => Ok(()),
            Ok(false) => Err(error::unexpected_reply(at)),
            Err(error) => Err(error),
        }
    }

    /// Drops all cached generations, because the server was emptied or may have lost them. Called
    /// whenever a connection of this process to the server starts or ends, in any runtime, so that
    /// a generation in use was read after all connections were made.
    pub(crate) fn invalidate(&self) {
        for it in self.lock().values_mut() {
            it.clear();
        }
        // After the clears, so that a caller that reads the new count finds no old generation.
        self.invalidations.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how many times the cached generations were invalidated. A caller reads this number
    /// before the key names, and may use the names while the number is the same.
    pub(crate) fn invalidations(&self) -> u64 {
        self.invalidations.load(Ordering::SeqCst)
    }

    fn names_in(&self, prefix: &Prefix) -> Option<KeyNames> {
        let (generation, since) = prefix.generation?;
        let is_fresh = self.clock.coarse() < since + CACHE_TIME;
        is_fresh.then_some(KeyNames { generation: Some(generation) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Prefix>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the generation, or creates it. Of several concurrent creators, one wins.
async fn read(prefix: &str, server: &impl SendCommand, at: &Address) -> Result<Generation> {
    for _ in 0..TRIES {
        let reply = server.send_command(command::get(generation_key(prefix))).await?;
        let mode = match outcome::value(reply, at)? {
            Some(found) => match Generation::parse(&found) {
                Some(generation) => return Ok(generation),
                // A value of another program is replaced.
                None => Mode::Always,
            },
            None => Mode::IfAbsent,
        };
        let new = Generation::random();
        let write = command::set(generation_key(prefix), new.as_bytes(), mode, 0);
        match server.send_command(write).await?.code {
            Code::Meta(ReturnCode::Hd) => return Ok(new),
            Code::Meta(ReturnCode::Ns) => {}
            _ => return Err(error::unexpected_reply(at)),
        }
    }
    let what =
        "out of memory: the server evicts the generation of the prefix as soon as it is written";
    Err(error::at(Error::new(ErrorKind::Backend, what), at))
}
