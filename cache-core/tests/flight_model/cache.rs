//! The parts of the cache that the source of the fences uses, over the store of the model.

pub(crate) mod fetch;
mod shared_store;

use std::marker::PhantomData;

pub(crate) use self::shared_store::{Bug, SharedStore};
use self::value::{Form, Typed};
use crate::{
    error::{Error, Result},
    runtime::sync::{Arc, Mutex},
    singleflight::Singleflight,
    store::Entry,
};

/// A cache of one process.
pub(crate) struct Cache<V = Typed> {
    pub(crate) shared: Arc<Shared>,
    form: PhantomData<V>,
}

pub(crate) struct Shared {
    pub(crate) clock: SharedStore,
    pub(crate) lease_owner: Owner,
    /// No store of the model answers at once.
    pub(crate) sync: Option<AtOnce>,
    pub(crate) store: SharedStore,
    pub(crate) flights: Arc<Singleflight>,
    /// The tasks that the cache has begun.
    pub(crate) tasks: Mutex<Vec<shuttle::future::JoinHandle<()>>>,
}

/// The number of a process.
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn get_or_init(&self, _: fn() -> u64) -> &u64 {
        &self.0
    }
}

/// A store that answers at once.
pub(crate) enum AtOnce {}

impl AtOnce {
    pub(crate) fn set(
        &self,
        _: &str,
        _: bytes::Bytes,
        _: timeout::Expiry,
        _: store::SetMode,
    ) -> Result<bool> {
        match *self {}
    }

    pub(crate) fn compare_and_set(
        &self,
        _: &str,
        _: store::Expected<'_>,
        _: bytes::Bytes,
        _: store::TtlUpdate,
    ) -> Result<bool> {
        match *self {}
    }

    pub(crate) fn compare_and_delete(&self, _: &str, _: store::Expected<'_>) -> Result<bool> {
        match *self {}
    }
}

impl Cache {
    pub(crate) fn new(store: &SharedStore, owner: u64) -> Self {
        let clock = store.clone();
        let shared = Shared {
            clock: store.clone(),
            lease_owner: Owner(owner),
            sync: None,
            store: store.clone(),
            flights: Arc::new(Singleflight::new(true, move || clock.now())),
            tasks: Mutex::default(),
        };
        Self { shared: Arc::new(shared), form: PhantomData }
    }
}

impl<V: Form> Cache<V> {
    pub(crate) fn store(&self) -> &SharedStore {
        &self.shared.store
    }

    fn in_form<W: Form>(&self) -> Cache<W> {
        Cache { shared: Arc::clone(&self.shared), form: PhantomData }
    }

    async fn read_entry(&self, _: &str, _: bool) -> Result<Option<Entry>> {
        Ok(self.store().get_entry().await)
    }

    #[expect(clippy::unused_async, reason = "the source of the fences awaits it")]
    async fn verified(
        &self,
        stored: bytes::Bytes,
        left: cache_core::Ttl,
    ) -> Result<value::envelope::Found> {
        Ok(value::envelope::find(stored, left))
    }

    fn fail(&self, _: layer::Operation, _: Option<&str>, error: Error) -> Error {
        panic!("the store of the model does not fail: {error}")
    }

    fn revision_refused(&self, _: layer::Operation) {
        unreachable!("the entries of the model have no revisions");
    }

    fn load_write_failed(&self) {
        unreachable!("the store of the model does not fail");
    }
}

impl<V: Form> Clone for Cache<V> {
    fn clone(&self) -> Self {
        self.in_form()
    }
}

/// As in `cache/call.rs`.
macro_rules! call {
    ($cache:ident.$method:ident($($arg:expr),*)) => {
        match &$cache.shared.sync {
            Some(store) => store.$method($($arg),*),
            None => $cache.store().$method($($arg),*).await,
        }
    };
}
use call;

/// As in `cache/lock.rs`: where a dropped value runs its last calls.
mod lock {
    use super::{Cache, Shared};
    use crate::{error::Result, runtime::sync::Arc};

    pub(super) struct Runtime(Arc<Shared>);

    #[expect(clippy::unnecessary_wraps, reason = "the source under test expects a result")]
    pub(super) fn runtime_of(cache: &Cache) -> Result<Runtime> {
        Ok(Runtime(Arc::clone(&cache.shared)))
    }

    impl Runtime {
        /// Returns a value that is dropped, as the handle of a task of tokio.
        pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Arc<Shared> {
            self.0.tasks.lock().unwrap().push(shuttle::future::spawn(task));
            Arc::clone(&self.0)
        }
    }
}

pub(crate) mod layer {
    pub(crate) use cache_core::layer::Operation;
}

pub(crate) mod store {
    pub(crate) use cache_core::store::{Entry, Expected, SetMode, Stamp, TtlUpdate};
}

pub(crate) mod timeout {
    pub(crate) use cache_core::{Ttl, store::Expiry};
}

pub(crate) mod value {
    pub(crate) trait Form: Send + Sync + 'static {}

    pub(crate) enum Typed {}

    impl Form for Typed {}

    /// Changes of entries without revisions, all of which apply.
    pub(crate) mod revision {
        use bytes::Bytes;
        use cache_core::{Ttl, store::Expiry};

        pub(crate) struct Change {
            new: Option<(Bytes, Expiry)>,
        }

        #[derive(PartialEq)]
        pub(crate) enum Verdict {
            Applies(Option<(Bytes, Expiry)>),
            IsOld,
        }

        impl Change {
            pub(crate) fn store(stored: Bytes, expiry: Expiry) -> Self {
                Self { new: Some((stored, expiry)) }
            }

            pub(crate) fn remove(revision: Option<u64>) -> Self {
                assert_eq!(revision, None);
                Self { new: None }
            }

            pub(crate) fn judge(&self, _: &Bytes, _: Ttl) -> Verdict {
                Verdict::Applies(self.new.clone())
            }
        }
    }

    /// The stored forms of the model: text instead of a header.
    pub(crate) mod envelope {
        use std::time::Duration;

        use bytes::Bytes;
        use cache_core::Ttl;

        use crate::runtime::random;

        /// The grace of values that end.
        pub(crate) const GRACE: Duration = Duration::from_secs(3600);
        /// The owner whose leases are all equal: each looks like the lease of another process.
        pub(crate) const OWNER_OF_EQUAL_LEASES: u64 = 0;

        pub(crate) enum Found {
            Fresh(Bytes),
            Stale(Bytes),
            Lease(u64),
        }

        impl Found {
            /// The entries of the model have no tags.
            pub(crate) fn is_invalid(&self) -> bool {
                false
            }
        }

        pub(crate) fn lease(owner: u64) -> Bytes {
            match owner {
                OWNER_OF_EQUAL_LEASES => Bytes::from_static(b"lease 99 0"),
                _ => format!("lease {owner} {}", random()).into(),
            }
        }

        pub(crate) fn find(stored: Bytes, left: Ttl) -> Found {
            let text = std::str::from_utf8(&stored).unwrap();
            if let Some(owner) = text.strip_prefix("lease ").and_then(|it| it.split(' ').next()) {
                return Found::Lease(owner.parse().unwrap());
            }
            match left {
                Ttl::Remaining(left) if left <= GRACE => Found::Stale(stored),
                _ => Found::Fresh(stored),
            }
        }
    }
}
