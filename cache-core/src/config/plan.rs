//! One build of the stores of a program: a store can be made of the stores of other aliases.

use std::{cell::RefCell, collections::BTreeMap, fmt, sync::Arc};

use super::{
    BuildContext, Settings,
    build_context::{Resolve, Shared},
    list,
    registry::Registry,
};
use crate::{
    bus::BusMemories,
    error::{Error, ErrorKind, Result},
    layer::BuiltStore,
    near::Tiers,
    runtime::Clock,
    store::Backend,
    telemetry::observer::Observer,
};

/// One build. It keeps the finished stores and the aliases in progress.
pub(crate) struct Plan<'a> {
    registry: &'a Registry,
    settings: &'a Settings,
    /// The stores that were made in code.
    by_hand: &'a BTreeMap<String, Arc<dyn Backend>>,
    clock: &'a Clock,
    stderr_notice: bool,
    /// `None` marks a store in progress.
    done: RefCell<BTreeMap<String, Option<BuiltStore>>>,
    shared: Shared,
    tiers: Tiers,
    memories: BusMemories,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        settings: &'a Settings,
        by_hand: &'a BTreeMap<String, Arc<dyn Backend>>,
        clock: &'a Clock,
        stderr_notice: bool,
    ) -> Self {
        Self {
            registry,
            settings,
            by_hand,
            clock,
            stderr_notice,
            done: RefCell::default(),
            shared: Shared::default(),
            tiers: Tiers::default(),
            memories: BusMemories::default(),
        }
    }

    /// Returns the store of an alias with its layers. The first call builds it.
    pub(crate) fn store(&self, alias: &str) -> Result<BuiltStore> {
        let at = |setting: &str| format!("caches.{alias}.{setting}");
        match self.done.borrow().get(alias) {
            Some(Some(store)) => return Ok(store.clone()),
            Some(None) => {
                let what = format!("cyclic cache definition: `{alias}` depends on itself");
                return Err(
                    Error::new(ErrorKind::Config, what).with_context("setting", at("options"))
                );
            }
            None => {}
        }
        let settings = self.settings.get(alias).ok_or_else(|| {
            let known = list(self.settings.aliases());
            let what = format!("no cache is named `{alias}`; the settings have {known}");
            Error::new(ErrorKind::UnknownAlias, what)
        })?;
        let backend = if let Some(backend) = self.by_hand.get(alias) {
            Arc::clone(backend)
        } else {
            self.done.borrow_mut().insert(alias.to_owned(), None);
            let driver = self.registry.find(&settings.backend);
            let driver = driver.map_err(|error| error.with_context("setting", at("backend")))?;
            let (clock, shared) = (self.clock, &self.shared);
            let context = BuildContext { alias, settings, clock, resolve: self, shared };
            driver.build(&context).map_err(|it| it.with_context("alias", alias))?
        };
        BuiltStore::check(alias, &backend, settings)?;
        let observer = Observer::new(alias, self.clock).stderr_notice(self.stderr_notice);
        let breaker = self.shared.breaker(alias, settings, self.clock)?;
        let store = BuiltStore::new(backend, settings, self.clock, observer, breaker);
        let store = self.tiers.put_on(alias, settings, self.clock, self.registry, store)?;
        let store = self.memories.put_on(alias, settings, self.clock, self.registry, store)?;
        self.done.borrow_mut().insert(alias.to_owned(), Some(store.clone()));
        Ok(store)
    }
}

impl Resolve for Plan<'_> {
    fn backend(&self, alias: &str) -> Result<Arc<dyn Backend>> {
        Ok(self.store(alias)?.backend)
    }
}

impl fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}
