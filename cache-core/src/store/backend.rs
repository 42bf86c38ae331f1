//! The traits that every store implements: operations on keys, bytes and lifetimes.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Bus, Capabilities, CounterInit, Entry, Expected, Invalidations, Objects, SetMode, StoreId,
    TtlUpdate,
};
use crate::{
    error::Result,
    key::Namespace,
    timeout::{Expiry, Ttl},
};

/// A store of bytes with expiry. The trait is object-safe: the facade holds an `Arc<dyn Backend>`.
///
/// A backend handles keys, bytes and lifetimes, never types, aliases, versions or codecs. The
/// facade checks every key before the call (1 to 230 bytes, no space, no control character) and
/// never passes a lifetime of zero.
///
/// # Rules for every method
/// - **An expired entry is absent** for every method, from the moment it expires and never before.
/// - **Methods are atomic** on one key, among all users of the store.
/// - **A batch answers per key**, in order, because one of three servers may be down. The facade
///   passes each key only once per batch.
/// - **A dropped future** may have had its effect or not, and disturbs no other call.
/// - The store connects during the first call, not earlier.
///
/// # Errors
/// A failure of the store is always returned as an error, never as a miss, `false` or zero. The
/// [kinds](crate::ErrorKind) are:
/// - `Unavailable` and `TimedOut`: the store did not answer.
/// - `TooLarge`, `NotAnInteger` and `Overflow`: only from the methods that name them below.
/// - `WrongType`: another program keeps something under the key that is not a byte string, such as
///   a list. `get`, `get_entry`, `get_entries` and `take` return this error and leave the foreign
///   value in place. The facade treats the error as a miss, like bytes that do not decode.
///   `get_many` may return `None` for such a key if the server's command for many keys does not
///   tell the two cases apart.
/// - `Unsupported`: the store cannot do this at all.
/// - `Runtime`: the call cannot be made from this place, such as outside a tokio runtime.
/// - `Backend`: every other failure.
///
/// The text of an error never contains a value or a password.
///
/// # Wrappers
/// The trait has no default methods, because a wrapper that forgot one would silently use the
/// default instead of the wrapped store's method. [`forward!`](macro@crate::store::forward)
/// forwards the methods that a wrapper does not write itself. For the same behaviour around every
/// call, a [`Layer`](crate::layer::Layer) is the better choice.
///
/// Stores without async implement [`SyncBackend`]. The suite of the crate `cache-conformance`
/// checks an implementation against all of these rules.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Returns the driver's name, for messages and counters.
    fn name(&self) -> &'static str;

    /// Returns the id of the place where this store keeps its entries, without connecting.
    ///
    /// The id is equal for all handles and views of one store and does not change between calls.
    /// Wrappers return the id of the wrapped store.
    fn id(&self) -> StoreId;

    /// Returns the properties of this store.
    fn capabilities(&self) -> Capabilities;

    /// Returns the other forms in which the store can be called: see [`Views`].
    fn views(self: Arc<Self>) -> Views;

    /// Returns the live value of `key`.
    ///
    /// # Errors
    /// `WrongType`, and the failures of the store, see [Errors](Backend#errors).
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Returns the live value of `key` and its remaining lifetime, read at one moment and in one
    /// round trip.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>>;

    /// Returns the live values of many keys as [`get`](Self::get) does: one result per key, in
    /// order.
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>>;

    /// Returns the live entries of many keys as [`get_entry`](Self::get_entry) does: one result per
    /// key, in order.
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>>;

    /// Writes value and lifetime if `mode` allows it; returns whether it wrote. In a race of
    /// [`IfAbsent`](SetMode::IfAbsent) exactly one caller gets `true`.
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit: then the key is absent afterwards, unless
    /// `mode` did not allow the write. Else the failures of the store, see
    /// [Errors](Backend#errors).
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool>;

    /// Writes all items unconditionally, with one lifetime; returns one result per item, in order.
    /// Each item may fail as in [`set`](Self::set).
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>>;

    /// Returns whether `key` is live, without transferring its value.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn has(&self, key: &str) -> Result<bool>;

    /// Returns the remaining lifetime of `key`; `None` if `key` is absent.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>>;

    /// Gives a live key a new lifetime without transferring its value. Returns `true` if and only
    /// if the key was live, even if the new lifetime equals the old one.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool>;

    /// Removes a key; returns `true` if and only if the key was live.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn delete(&self, key: &str) -> Result<bool>;

    /// Removes many keys as [`delete`](Self::delete) does: one result per key, in order.
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>>;

    /// Reads and removes a key in one step: one of several callers gets the value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn take(&self, key: &str) -> Result<Option<Bytes>>;

    /// Adds `delta` to an integer, keeps its lifetime, and returns the new value. An absent key
    /// becomes `initial + delta` with the lifetime of `create`, in the same step. Returns `None` if
    /// the key is absent and `create` is `None`.
    ///
    /// An integer is decimal text, `0|-?[1-9][0-9]*` within `i64`, checked before any arithmetic.
    ///
    /// # Errors
    /// `NotAnInteger` if the stored value is anything else, `Overflow` if the result is outside
    /// `i64`: in both cases the stored value is unchanged. Else the failures of the store, see
    /// [Errors](Backend#errors).
    async fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>)
    -> Result<Option<i64>>;

    /// Removes `key` if it is live and still equals `seen`; returns whether it was removed.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool>;

    /// Replaces the value of `key` if it is live and still equals `seen`; returns whether it was
    /// replaced.
    ///
    /// # Errors
    /// `TooLarge` if the value exceeds the store's limit: the old value stays. Else the failures of
    /// the store, see [Errors](Backend#errors).
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool>;

    /// Moves value and remaining lifetime of `from` to `to` and overwrites `to`. Returns `false`
    /// and changes nothing if `from` is absent. The two keys are never equal.
    ///
    /// The move is one step where one server holds both keys. Elsewhere the store writes `to`
    /// first, then compares and deletes `from`.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn rename(&self, from: &str, to: &str) -> Result<bool>;

    /// Removes every key that the namespace [contains](Namespace::contains), and no other.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors): then some of the keys may remain.
    async fn clear(&self, namespace: &Namespace) -> Result<()>;

    /// Removes every key of the store, including keys of other programs.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors): then some of the keys may remain.
    async fn clear_store(&self) -> Result<()>;

    /// Connects if necessary and verifies that the store serves requests.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn check(&self) -> Result<()>;

    /// Flushes and disconnects. May be called again; a later call of another method connects again.
    ///
    /// # Errors
    /// The failures of the store, see [Errors](Backend#errors).
    async fn close(&self) -> Result<()>;
}

/// The other forms in which a store can be called, as [`Backend::views`] returns them.
///
/// Later releases may add views, so a store starts from [`none`](Self::none).
///
/// ```
/// use cache_core::store::{Backend, IntoBackend, Views};
/// use cache_memory::Memory;
///
/// let store = Memory::new().into_backend();
/// assert!(store.views().sync.is_some(), "memory never waits");
/// assert!(Views::none().leader.is_none());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Views {
    /// The same store without futures, if its calls never wait. The cache then boxes no future.
    pub sync: Option<Arc<dyn SyncBackend>>,
    /// The same store with every read answered by the server that takes the writes, if the reads of
    /// the store may be answered by a replica that lags behind.
    ///
    /// The cache reads through it where a stale answer would do harm: before and inside loads, for
    /// `update`, and before it removes damaged bytes. The view has no views of its own, and a store
    /// with a `sync` view has no `leader` view.
    pub leader: Option<Arc<dyn Backend>>,
    /// The changes of the store, whichever program makes them, if its server reports them.
    pub invalidations: Option<Arc<dyn Invalidations>>,
    /// Messages between processes through the server of the store, if it can pass them on.
    pub bus: Option<Arc<dyn Bus>>,
    /// The decoded values beside the bytes of a store in the process. A store with this view has a
    /// `sync` view.
    pub objects: Option<Arc<dyn Objects>>,
}

impl Views {
    /// Creates the views of a store that has only its asynchronous form.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the view without futures.
    #[must_use]
    pub fn with_sync(mut self, view: Arc<dyn SyncBackend>) -> Self {
        self.sync = Some(view);
        self
    }

    /// Sets the view that reads where the store writes.
    #[must_use]
    pub fn with_leader(mut self, view: Arc<dyn Backend>) -> Self {
        self.leader = Some(view);
        self
    }

    /// Sets the stream of changes.
    #[must_use]
    pub fn with_invalidations(mut self, view: Arc<dyn Invalidations>) -> Self {
        self.invalidations = Some(view);
        self
    }

    /// Sets the messages between processes.
    #[must_use]
    pub fn with_bus(mut self, view: Arc<dyn Bus>) -> Self {
        self.bus = Some(view);
        self
    }

    /// Sets the view of decoded values.
    #[must_use]
    pub fn with_objects(mut self, view: Arc<dyn Objects>) -> Self {
        self.objects = Some(view);
        self
    }
}

/// A store without async: its calls never wait, or they block their thread (SQLite, files).
///
/// The methods are those of [`Backend`], under the same rules and with the same errors.
/// [`Inline`](crate::store::Inline) turns a store that never waits into a [`Backend`],
/// [`Offload`](crate::store::Offload) a store that blocks.
pub trait SyncBackend: fmt::Debug + Send + Sync + 'static {
    /// Returns the driver's name. See [`Backend::name`].
    fn name(&self) -> &'static str;
    /// Returns the id of the store. See [`Backend::id`].
    fn id(&self) -> StoreId;
    /// Returns the properties of the store. See [`Backend::capabilities`].
    fn capabilities(&self) -> Capabilities;
    /// Returns the live value of `key`. See [`Backend::get`].
    ///
    /// # Errors
    /// As [`Backend::get`].
    fn get(&self, key: &str) -> Result<Option<Bytes>>;
    /// Returns the live value and lifetime of `key`. See [`Backend::get_entry`].
    ///
    /// # Errors
    /// As [`Backend::get_entry`].
    fn get_entry(&self, key: &str) -> Result<Option<Entry>>;
    /// Returns the live values of many keys. See [`Backend::get_many`].
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>>;
    /// Returns the live entries of many keys. See [`Backend::get_entries`].
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>>;
    /// Writes value and lifetime if `mode` allows it. See [`Backend::set`].
    ///
    /// # Errors
    /// As [`Backend::set`].
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool>;
    /// Writes all items. See [`Backend::set_many`].
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>>;
    /// Returns whether `key` is live. See [`Backend::has`].
    ///
    /// # Errors
    /// As [`Backend::has`].
    fn has(&self, key: &str) -> Result<bool>;
    /// Returns the remaining lifetime of `key`. See [`Backend::ttl`].
    ///
    /// # Errors
    /// As [`Backend::ttl`].
    fn ttl(&self, key: &str) -> Result<Option<Ttl>>;
    /// Gives a live key a new lifetime. See [`Backend::touch`].
    ///
    /// # Errors
    /// As [`Backend::touch`].
    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool>;
    /// Removes a key. See [`Backend::delete`].
    ///
    /// # Errors
    /// As [`Backend::delete`].
    fn delete(&self, key: &str) -> Result<bool>;
    /// Removes many keys. See [`Backend::delete_many`].
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>>;
    /// Reads and removes a key. See [`Backend::take`].
    ///
    /// # Errors
    /// As [`Backend::take`].
    fn take(&self, key: &str) -> Result<Option<Bytes>>;
    /// Adds `delta` to an integer. See [`Backend::incr`].
    ///
    /// # Errors
    /// As [`Backend::incr`].
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>>;
    /// Removes `key` if it still equals `seen`. See [`Backend::compare_and_delete`].
    ///
    /// # Errors
    /// As [`Backend::compare_and_delete`].
    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool>;
    /// Replaces the value of `key` if it still equals `seen`. See [`Backend::compare_and_set`].
    ///
    /// # Errors
    /// As [`Backend::compare_and_set`].
    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool>;
    /// Moves `from` to `to`. See [`Backend::rename`].
    ///
    /// # Errors
    /// As [`Backend::rename`].
    fn rename(&self, from: &str, to: &str) -> Result<bool>;
    /// Removes every key of the namespace. See [`Backend::clear`].
    ///
    /// # Errors
    /// As [`Backend::clear`].
    fn clear(&self, namespace: &Namespace) -> Result<()>;
    /// Removes every key of the store. See [`Backend::clear_store`].
    ///
    /// # Errors
    /// As [`Backend::clear_store`].
    fn clear_store(&self) -> Result<()>;
    /// Verifies that the store serves requests. See [`Backend::check`].
    ///
    /// # Errors
    /// As [`Backend::check`].
    fn check(&self) -> Result<()>;
    /// Flushes and disconnects. See [`Backend::close`].
    ///
    /// # Errors
    /// As [`Backend::close`].
    fn close(&self) -> Result<()>;
}
