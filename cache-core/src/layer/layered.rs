use std::sync::Arc;

use bytes::Bytes;

use super::{Call, Layer, Operation};
use crate::{
    __private::BoxFuture,
    error::Result,
    key::Namespace,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, IntoBackend, SetMode, StoreId,
        SyncBackend, TtlUpdate, Views,
    },
    timeout::{Expiry, Ttl},
};

/// A store with a [`Layer`] around every call: the only place that forwards all methods.
///
/// The [views](Backend::views) of the store are wrapped in the same layer, except its stream of
/// changes.
#[derive(Debug)]
pub struct Layered<H, B: ?Sized = dyn Backend> {
    hook: Arc<H>,
    inner: Arc<B>,
}

impl<H: Layer> Layered<H> {
    /// Wraps `inner` in the layer `hook`.
    pub fn new(hook: Arc<H>, inner: impl IntoBackend) -> Self {
        Self { hook, inner: inner.into_backend() }
    }
}

impl<'a> Call<'a> {
    fn one(operation: Operation, key: &'a str) -> Self {
        Self { key: Some(key), ..Self::many(operation, 1) }
    }
    fn many(operation: Operation, keys: usize) -> Self {
        let idempotent = operation.is_idempotent();
        Self { operation, key: None, keys, bytes: 0, lifetime: None, idempotent }
    }
    fn set_many(items: &[(&str, Bytes)], expiry: Expiry) -> Self {
        let bytes = items.iter().map(|(_, value)| value.len()).sum();
        let lifetime = Some(expiry);
        Self { bytes, lifetime, ..Self::many(Operation::SetMany, items.len()) }
    }
    fn set(key: &'a str, value: &Bytes, expiry: Expiry, mode: SetMode) -> Self {
        let operation = match mode {
            SetMode::Always => Operation::Set,
            SetMode::IfAbsent => Operation::Add,
            SetMode::IfPresent => Operation::Replace,
        };
        Self { bytes: value.len(), lifetime: Some(expiry), ..Self::one(operation, key) }
    }
    fn touch(key: &'a str, expiry: Expiry) -> Self {
        Self { lifetime: Some(expiry), ..Self::one(Operation::Touch, key) }
    }
    fn compare_and_set(key: &'a str, value: &Bytes, lifetime: TtlUpdate) -> Self {
        let lifetime = match lifetime {
            TtlUpdate::New(expiry) => Some(expiry),
            TtlUpdate::Keep => None,
        };
        Self { bytes: value.len(), lifetime, ..Self::one(Operation::Update, key) }
    }
}

/// Writes the methods of both traits that a layer runs around.
///
/// The methods of `Backend` are written as `async_trait` would write them, but without a future
/// around the layer's: each future inside another one costs every call time.
macro_rules! methods {
    (async $me:ident $(
        $name:ident[$($life:lifetime)*]($($arg:ident: $type:ty),*) -> $reply:ty = $call:expr;
    )+) => { $(
        fn $name<'this, $($life,)* 'call>(
            &'this $me $(, $arg: $type)*
        ) -> BoxFuture<'call, $reply>
        where
            Self: 'call, 'this: 'call, $($life: 'call),*
        {
            Box::pin($me.hook.around($call, move || $me.inner.$name($(Clone::clone(&$arg)),*)))
        }
    )+ };
    (sync $me:ident $(
        $name:ident[$($life:lifetime)*]($($arg:ident: $type:ty),*) -> $reply:ty = $call:expr;
    )+) => { $(
        fn $name<$($life),*>(&$me $(, $arg: $type)*) -> $reply {
            $me.hook.around_sync($call, || $me.inner.$name($(Clone::clone(&$arg)),*))
        }
    )+ };
    ($how:ident $me:ident) => {
        methods! { $how $me
            get['a](key: &'a str) -> Result<Option<Bytes>> = Call::one(Operation::Get, key);
            get_entry['a](key: &'a str) -> Result<Option<Entry>> = Call::one(Operation::Get, key);
            get_many['a 'b](keys: &'a [&'b str]) -> Vec<Result<Option<Bytes>>>
                = Call::many(Operation::GetMany, keys.len());
            get_entries['a 'b](keys: &'a [&'b str]) -> Vec<Result<Option<Entry>>>
                = Call::many(Operation::GetMany, keys.len());
            set['a](key: &'a str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool>
                = Call::set(key, &value, expiry, mode);
            set_many['a 'b](items: &'a [(&'b str, Bytes)], expiry: Expiry) -> Vec<Result<()>>
                = Call::set_many(items, expiry);
            has['a](key: &'a str) -> Result<bool> = Call::one(Operation::HasKey, key);
            ttl['a](key: &'a str) -> Result<Option<Ttl>> = Call::one(Operation::Ttl, key);
            touch['a](key: &'a str, expiry: Expiry) -> Result<bool>
                = Call::touch(key, expiry);
            delete['a](key: &'a str) -> Result<bool> = Call::one(Operation::Delete, key);
            delete_many['a 'b](keys: &'a [&'b str]) -> Vec<Result<bool>>
                = Call::many(Operation::DeleteMany, keys.len());
            take['a](key: &'a str) -> Result<Option<Bytes>> = Call::one(Operation::Pop, key);
            incr['a](key: &'a str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>>
                = Call::one(Operation::Incr, key);
            compare_and_delete['a 'b](key: &'a str, seen: Expected<'b>) -> Result<bool>
                = Call::one(Operation::CompareAndDelete, key);
            compare_and_set['a 'b](
                key: &'a str, seen: Expected<'b>, value: Bytes, lifetime: TtlUpdate
            ) -> Result<bool> = Call::compare_and_set(key, &value, lifetime);
            rename['a 'b](from: &'a str, to: &'b str) -> Result<bool>
                = Call { keys: 2, ..Call::one(Operation::IncrVersion, from) };
            clear['a](namespace: &'a Namespace) -> Result<()> = Call::many(Operation::Clear, 0);
            clear_store[]() -> Result<()> = Call::many(Operation::ClearStore, 0);
            check[]() -> Result<()> = Call::many(Operation::Check, 0);
            close[]() -> Result<()> = Call::many(Operation::Close, 0);
        }
    };
}

#[deny(clippy::missing_trait_methods)]
impl<H: Layer> Backend for Layered<H, dyn Backend> {
    methods! { async self }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn id(&self) -> StoreId {
        self.inner.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn views(self: Arc<Self>) -> Views {
        let inner = Arc::clone(&self.inner).views();
        let mut views = Views::none();
        if let Some(inner) = inner.sync {
            views.sync = Some(Arc::new(Layered { hook: Arc::clone(&self.hook), inner }));
        }
        if let Some(inner) = inner.leader {
            views.leader = Some(Arc::new(Layered { hook: Arc::clone(&self.hook), inner }));
        }
        views.invalidations = inner.invalidations;
        views.bus = inner.bus;
        // Without `objects`: reads of decoded values would bypass the layer.
        views
    }
}

#[deny(clippy::missing_trait_methods)]
impl<H: Layer> SyncBackend for Layered<H, dyn SyncBackend> {
    methods! { sync self }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn id(&self) -> StoreId {
        self.inner.id()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}
