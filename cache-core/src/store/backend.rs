//! What a store must do: bytes in, bytes out. The contract that every backend crate implements.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Capabilities, CounterInit, Entry, Expected, SetMode, StoreId, TtlUpdate};
use crate::{
    error::Result,
    key::Namespace,
    store::Views,
    timeout::{Expiry, Ttl},
};

/// A store of bytes with expiry. Object-safe: the facade holds an `Arc<dyn Backend>`.
///
/// A backend knows keys, bytes and lifetimes, and never types, aliases, versions or codecs. The facade has checked every
/// key before (1 to 230 bytes, no space, no control character) and never passes a lifetime of zero.
///
/// # What holds for every method
/// - **An expired entry is absent**, for every method, from the moment it expires and never before.
/// - **Methods are atomic** towards each other on one key, among all users of the store.
/// - **Errors tell the truth.** Nothing is invented when the store fails: no miss, no `false`, no zero. Of the
///   [kinds](crate::ErrorKind), `Unavailable` and `TimedOut` say that the store did not answer, `TooLarge`,
///   `NotAnInteger` and `Overflow` what the methods below name, `Unsupported` what cannot be done at all,
///   `Config` that the call cannot be made from here, `Backend` the rest. No text quotes a value or a password.
/// - **Something that is not a byte string is `WrongType`**: a list, say, that another program keeps under the key. `get`, `get_entry`,
///   `get_entries` and `take` return that error, and leave it there. The facade takes it for a miss, as bytes that do not decode. `get_many` may
///   answer that there is nothing, where the server's own command for many keys does not tell the two apart.
/// - **A batch answers per key**, in order: one of three servers may be down. No key is there twice.
/// - **A dropped future** may have had its effect or not, and disturbs no other call.
/// - Nothing connects before the first call.
///
/// There are no default methods, on purpose: a wrapper that forgets one would silently get the default
/// instead of what it wraps. Wrappers should carry `#[deny(clippy::missing_trait_methods)]`; most are
/// better written as a [`Layer`](crate::layer::Layer). Stores without async implement [`SyncBackend`].
///
/// The feature `testing` has a suite that checks an implementation against all of this.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The driver's name, for messages and counters.
    fn name(&self) -> &'static str;

    /// Returns the place where this store keeps its entries. Equal for all handles and views of one store, and the same at every
    /// call; made without connecting. Wrappers return the id of the wrapped store.
    fn id(&self) -> StoreId;

    /// What this store is.
    fn capabilities(&self) -> Capabilities;

    /// Returns the other forms in which the store can be called: see [`Views`].
    fn views(self: Arc<Self>) -> Views;

    /// The live value of `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// The live value of `key` with what remains of its life, both of one moment and in one round trip.
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>>;

    /// [`get`](Self::get) of many keys, one answer per key, in order.
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>>;

    /// [`get_entry`](Self::get_entry) of many keys, one answer per key, in order.
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>>;

    /// Writes value and lifetime if `mode` allows it; whether it did. In a race of
    /// [`IfAbsent`](SetMode::IfAbsent) exactly one caller is told `true`.
    ///
    /// `TooLarge` if the value is over the store's limit; then nothing is left under the key, unless
    /// `mode` forbade the write anyway.
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool>;

    /// Writes all, always, with one lifetime; one answer per item, in order.
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>>;

    /// Whether `key` is live, without transferring its value.
    async fn has(&self, key: &str) -> Result<bool>;

    /// What remains of the life of `key`; `None` if it is absent.
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>>;

    /// Gives a live key a new lifetime without transferring its value; `true` iff it was live, also if
    /// the lifetime is the same as before.
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool>;

    /// Removes a key; `true` iff it was live.
    async fn delete(&self, key: &str) -> Result<bool>;

    /// [`delete`](Self::delete) of many keys, one answer per key, in order.
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>>;

    /// Reads and removes in one step: of several callers one gets the value.
    async fn take(&self, key: &str) -> Result<Option<Bytes>>;

    /// Adds `delta` to an integer and keeps its lifetime; the new value, or `None` if the key is absent
    /// and `create` is `None`. With `create` an absent key becomes `initial + delta` with that lifetime,
    /// in the same step.
    ///
    /// An integer is decimal text, `0|-?[1-9][0-9]*` within `i64`, checked before any arithmetic: all else
    /// is `NotAnInteger`, and a result outside `i64` is `Overflow`. On an error nothing changes.
    async fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>)
    -> Result<Option<i64>>;

    /// Removes `key` if it is live and still as it was `seen`; whether it did.
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool>;

    /// Replaces the value of `key` if it is live and still as it was `seen`; whether it did. `TooLarge`
    /// leaves the old value.
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool>;

    /// Moves value and remaining lifetime of `from` to `to`, overwriting it; `false`, and nothing changed,
    /// if `from` is absent. The two are never the same key. One step where one server holds both;
    /// elsewhere `to` is written first and `from` then compared and deleted.
    async fn rename(&self, from: &str, to: &str) -> Result<bool>;

    /// Removes every key that the namespace [contains](Namespace::contains), and no other.
    async fn clear(&self, namespace: &Namespace) -> Result<()>;

    /// Removes every key of the store, foreign ones too.
    async fn clear_store(&self) -> Result<()>;

    /// Connects, if need be, and asks the store whether it serves.
    async fn check(&self) -> Result<()>;

    /// Flushes and disconnects. May be called again; a later call of another method connects again.
    async fn close(&self) -> Result<()>;
}

/// A store without async: one whose calls never wait, or one that blocks at heart (SQLite, files).
///
/// Its methods are those of [`Backend`] under the same rules. Wrap the first sort in
/// [`Inline`](crate::store::Inline) and the second in [`Offload`](crate::store::Offload); each is a [`Backend`].
pub trait SyncBackend: fmt::Debug + Send + Sync + 'static {
    /// See [`Backend::name`].
    fn name(&self) -> &'static str;
    /// See [`Backend::id`].
    fn id(&self) -> StoreId;
    /// See [`Backend::capabilities`].
    fn capabilities(&self) -> Capabilities;
    /// See [`Backend::get`].
    fn get(&self, key: &str) -> Result<Option<Bytes>>;
    /// See [`Backend::get_entry`].
    fn get_entry(&self, key: &str) -> Result<Option<Entry>>;
    /// See [`Backend::get_many`].
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>>;
    /// See [`Backend::get_entries`].
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>>;
    /// See [`Backend::set`].
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool>;
    /// See [`Backend::set_many`].
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>>;
    /// See [`Backend::has`].
    fn has(&self, key: &str) -> Result<bool>;
    /// See [`Backend::ttl`].
    fn ttl(&self, key: &str) -> Result<Option<Ttl>>;
    /// See [`Backend::touch`].
    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool>;
    /// See [`Backend::delete`].
    fn delete(&self, key: &str) -> Result<bool>;
    /// See [`Backend::delete_many`].
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>>;
    /// See [`Backend::take`].
    fn take(&self, key: &str) -> Result<Option<Bytes>>;
    /// See [`Backend::incr`].
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>>;
    /// See [`Backend::compare_and_delete`].
    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool>;
    /// See [`Backend::compare_and_set`].
    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool>;
    /// See [`Backend::rename`].
    fn rename(&self, from: &str, to: &str) -> Result<bool>;
    /// See [`Backend::clear`].
    fn clear(&self, namespace: &Namespace) -> Result<()>;
    /// See [`Backend::clear_store`].
    fn clear_store(&self) -> Result<()>;
    /// See [`Backend::check`].
    fn check(&self) -> Result<()>;
    /// See [`Backend::close`].
    fn close(&self) -> Result<()>;
}
