//! Clearing one prefix of a server that can only be emptied as a whole: by never asking for its old keys again.
//!
//! Each server has a generation for each prefix, a random number that is part of all keys of that prefix there. `clear` writes a new
//! one. It is remembered for a second; so for that long another process may act on the old one. A generation that the server
//! has lost is made anew by `add`, and since it is random, no old entry comes back.

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

use crate::{address::Address, command, error, server::Member};

/// For how long a generation is remembered.
const CACHE_TIME: Duration = Duration::from_secs(1);
/// How often it is tried to make one while others make theirs.
const TRIES: usize = 5;

/// The generations of one server, as this process knows them.
#[derive(Debug)]
pub(crate) struct Generations {
    clock: Clock,
    known: Mutex<HashMap<Arc<str>, Arc<Prefix>>>,
    /// How often they have been in doubt.
    invalidations: AtomicU64,
}

/// Locked for moments only. A lock that is held while the server is asked would make a frozen server cost its deadline once for
/// each who waits, one after the other; and another runtime could hold it that is not driven any more.
#[derive(Debug, Default)]
struct Prefix(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// With the time at which it was read.
    generation: Option<(Arc<str>, Duration)>,
    /// How often `clear` has begun or ended: who has read before has read nothing.
    clears: u64,
}

impl Prefix {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what was, and counts.
    fn clear(&mut self) -> u64 {
        self.generation = None;
        self.clears += 1;
        self.clears
    }
}

/// The names under which things are kept at a server. No two sorts meet: a generation is of hexadecimal digits.
pub(crate) struct KeyNames {
    generation: Option<Arc<str>>,
}

impl KeyNames {
    /// The key of an entry.
    pub(crate) fn entry(&self, key: &str) -> String {
        self.join(":", key)
    }

    /// The key under which one marks an entry that one moves.
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
    /// Those of the server at this address, which all stores of this process share: what one of them clears is cleared for the
    /// others at once.
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

    /// The names for the prefix of this key, if they need not be asked for.
    pub(crate) fn cached_names(&self, key: &str) -> Option<KeyNames> {
        let Some(prefix) = Namespace::prefix_of(key) else {
            return Some(KeyNames { generation: None });
        };
        let generation = self.cached(&self.prefix(prefix))?;
        Some(KeyNames { generation: Some(generation) })
    }

    /// The names for the prefix of this key.
    pub(crate) async fn names(
        &self,
        key: &str,
        server: &Arc<Member>,
        at: &Address,
    ) -> Result<KeyNames> {
        // A key without a version is nobody's prefix: `clear` never concerns it.
        let Some(prefix) = Namespace::prefix_of(key) else {
            return Ok(KeyNames { generation: None });
        };
        let known = self.prefix(prefix);
        loop {
            let clears = known.lock().clears;
            if let Some(generation) = self.cached(&known) {
                return Ok(KeyNames { generation: Some(generation) });
            }
            // Of the time before the question: what the answer says may be as old.
            let now = self.clock.now();
            let generation = read(prefix, server, at).await?;
            let mut state = known.lock();
            if state.clears == clears {
                state.generation = Some((Arc::clone(&generation), now));
                return Ok(KeyNames { generation: Some(generation) });
            }
            // It may be the one that was cleared meanwhile.
        }
    }

    /// A new generation: the entries of the old one are never asked for again.
    pub(crate) async fn renew(
        &self,
        namespace: &Namespace,
        server: &Arc<Member>,
        at: &Address,
    ) -> Result<()> {
        let known = self.prefix(namespace.prefix());
        // Whatever comes of it, it is not the old one for sure.
        let clears = known.lock().clear();
        let new = random();
        let now = self.clock.now();
        let written =
            server.ask(command::set(generation_key(namespace.prefix()), new.as_bytes(), 0)).await;
        let is_written = written.and_then(|it| command::done(&it, at));
        let mut state = known.lock();
        let is_only = state.clear() == clears + 1;
        match is_written {
            // Of several at a time, the server knows which was the last.
            Ok(true) if is_only => state.generation = Some((new, now)),
            Ok(true) => {}
            Ok(false) => return Err(error::unexpected_reply(at)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Forgets all of them: the server has been emptied.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Remembers none of them any longer: the server may have lost them. Called whenever a connection of this process to the server
    /// begins or ends, whichever runtime has it: only what was read after that goes over any connection that there is.
    pub(crate) fn invalidate(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for it in known.values() {
            it.lock().clear();
        }
        drop(known);
        // Last: who has read this number finds none of those.
        self.invalidations.fetch_add(1, Ordering::SeqCst);
    }

    /// How often they have been in doubt. Read before the names are; they may be used as long as it is the same.
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

/// Reads it, or makes it. Of several who make it, one wins.
async fn read(prefix: &str, server: &Arc<Member>, at: &Address) -> Result<Arc<str>> {
    for _ in 0..TRIES {
        let found = command::value(server.ask(command::get(generation_key(prefix))).await?, at)?;
        // What somebody else has put there is not ours, and is replaced.
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
        match server.ask(write).await?.code {
            ReturnCode::Hd => return Ok(new),
            ReturnCode::Ns => {}
            _ => return Err(error::unexpected_reply(at)),
        }
    }
    let what = "the generation of the prefix is lost as soon as it is written; the server has too little memory";
    Err(error::at(Error::new(ErrorKind::Backend, what), at))
}

fn is_generation(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// 64 bits that nobody has had: each state is seeded by the operating system.
fn random() -> Arc<str> {
    format!("{:016x}", RandomState::new().hash_one(std::time::SystemTime::now())).into()
}
