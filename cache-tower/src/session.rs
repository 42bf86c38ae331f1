//! The stores of `tower-sessions` and `actix-session` over a cache.

#[cfg(feature = "actix-session")]
mod actix;
mod calls;
mod names;
mod rejected;
mod stored;
#[cfg(feature = "sessions")]
mod tower;

use std::{fmt, sync::Arc};

use cache_core::{Cache, Result};
use serde::Serialize;

pub use self::rejected::SessionRejected;

/// A session store over a cache: the `SessionStore` of `tower-sessions` (feature `sessions`) and of
/// `actix-session` (feature `actix-session`).
///
/// Each session is one entry of the cache, which expires with the session. Clones are the same
/// store.
///
/// # When the store fails
/// Every call returns the error, also if the alias fails open. So an outage logs no user out: the
/// request fails, the cookie stays, and the session is there when the store is back.
///
/// # Logged out stays logged out
/// A new session always has a new id, also after `flush` and `insert` in one request. It never
/// overwrites a session. Saving never creates one. If a request saves its changes after another
/// request has deleted the session, the call returns [`SessionRejected::Deleted`]. Saving an
/// unchanged session, as a session that expires on inactivity does after each request, then does
/// nothing.
///
/// A request that gives its session a new id (`cycle_id`, `renew`) while another request ends the
/// session creates the new one all the same: the session crates delete the old id and create the
/// new one, and a store cannot tell this delete from a logout.
///
/// # Concurrent requests of one session
/// The frameworks load a session as a whole and save it as a whole, so the slower one of two
/// requests would undo the changes of the other. This store compares, when it saves, the stored
/// session with the loaded one, value by value. Changes of different values are all kept. If both
/// requests changed the same value, the second save returns [`SessionRejected::Conflict`] and
/// stores nothing. [`last_write_wins`](Self::last_write_wins) overwrites instead.
///
/// A request that saves several times is compared with its own last save, whatever others save in
/// between. The entry remembers the last eight requests that changed the session. The next save of
/// a request that is forgotten is compared with what it loaded, and is then a conflict if it
/// changes a value again.
///
/// The loaded values travel with the session under the name `cache-tower:loaded`, which
/// `actix_session::Session::entries` shows. They are not stored. A request that clears the session
/// drops them, and its save replaces whatever is stored.
///
/// # Ids
/// An id is a password. The key of an entry is the SHA-256 hash of the id, so neither the store,
/// nor logs, nor errors contain ids.
///
/// # The alias
/// Evicting a session logs a user out: give sessions an alias that others do not fill, and on Redis
/// a `maxmemory-policy` that evicts nothing. Reads from replicas may be older than the login. The
/// alias may have any codec: a value is stored as its JSON text.
///
/// An entry that does not decode, for example after a change of the codec, is an absent session.
///
/// ```
/// # #[cfg(feature = "sessions")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use cache_core::{CACHES, Caches, install};
/// # use cache_memory as _;
/// use cache_tower::session::CacheSessionStore;
/// use tower_sessions_core::Session;
///
/// install(Caches::from_toml(r#"
///     [caches.default]
///     backend = "memory"
///     [caches.sessions]
///     backend = "memory"
/// "#)?)?;
///
/// let store = CacheSessionStore::new(CACHES.get("sessions")?);
/// // In a service, `SessionManagerLayer::new(store)` of `tower-sessions` does this per request.
/// let session = Session::new(None, Arc::new(store.clone()), None);
/// session.insert("user", "Ada").await?;
/// session.save().await?;
///
/// let later = Session::new(session.id(), Arc::new(store), None);
/// assert_eq!(later.get::<String>("user").await?.as_deref(), Some("Ada"));
/// # Ok(()) }
/// # #[cfg(not(feature = "sessions"))] fn main() {}
/// ```
#[derive(Clone)]
pub struct CacheSessionStore {
    cache: Cache,
    prefix: Arc<str>,
    user_key: Option<Arc<str>>,
    overwrites: bool,
}

impl CacheSessionStore {
    /// Creates a store whose sessions are entries of this cache, with keys that begin with
    /// `session:`.
    pub fn new(cache: &Cache) -> Self {
        Self { cache: cache.strict(), prefix: "session:".into(), user_key: None, overwrites: false }
    }

    /// Sets the beginning of the keys: for several services, or several kinds of sessions, on one
    /// alias. Sessions of one prefix are absent under another one.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Names the session value that identifies the user, for
    /// [`log_out_everywhere`](Self::log_out_everywhere). The alias needs the setting `tags`.
    ///
    /// Sessions that were saved without this name are not found by it.
    #[must_use]
    pub fn user_key(self, name: impl Into<Arc<str>>) -> Self {
        Self { user_key: Some(name.into()), ..self }
    }

    /// Lets a save overwrite the session, also if another request has changed the same values since
    /// this request loaded it, as in Django. A deleted session stays deleted.
    #[must_use]
    pub fn last_write_wins(self) -> Self {
        Self { overwrites: true, ..self }
    }

    /// Ends all sessions of a user: those in which the value named by [`user_key`](Self::user_key)
    /// equals `user`, whatever their number. It takes effect in this process at once, and in other
    /// processes within the alias's `tag_staleness` (1 s by default). Requests in progress cannot
    /// save such a session afterwards.
    ///
    /// # Errors
    /// Those of [`invalidate_tags`](Cache::invalidate_tags). `Codec` if `user` does not serialize
    /// to JSON.
    ///
    /// # Cancel safety
    /// As [`invalidate_tags`](Cache::invalidate_tags).
    ///
    /// ```
    /// # #[cfg(feature = "sessions")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::sync::Arc;
    /// # use cache_core::Cache; use cache_memory::Memory;
    /// # use cache_tower::session::CacheSessionStore;
    /// # use tower_sessions_core::Session;
    /// let cache = Cache::builder(Memory::new()).tags(true).build("sessions")?;
    /// let store = CacheSessionStore::new(&cache).user_key("user_id");
    /// # let new = |id| Session::new(id, Arc::new(store.clone()), None);
    /// let (laptop, phone) = (new(None), new(None));
    /// for session in [&laptop, &phone] {
    ///     session.insert("user_id", 7).await?;
    ///     session.save().await?;
    /// }
    /// store.log_out_everywhere(&7).await?;
    /// assert_eq!(new(phone.id()).get::<u64>("user_id").await?, None);
    /// # Ok(()) }
    /// # #[cfg(not(feature = "sessions"))] fn main() {}
    /// ```
    pub async fn log_out_everywhere<T: Serialize + ?Sized>(&self, user: &T) -> Result<()> {
        let user = names::json(user)?;
        self.cache.invalidate_tags([names::user_tag(&self.prefix, &user)]).await
    }
}

impl fmt::Debug for CacheSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSessionStore")
            .field("cache", &self.cache)
            .field("prefix", &self.prefix)
            .field("user_key", &self.user_key)
            .field("overwrites", &self.overwrites)
            .finish()
    }
}
