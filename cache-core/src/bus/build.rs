//! From settings to memory on a bus.

use std::{borrow::Cow, cell::RefCell, collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{memory::BusMemory, store::BusStore};
use crate::{
    config::{BuildContext, CacheSettings, Location, registry::Registry},
    error::{Error, ErrorKind, Result},
    layer::BuiltStore,
    runtime::Clock,
    store::{Backend, Bus, StoreId},
};

/// The memory on a bus of one build. Aliases with the same keys in one store share it, because a
/// delete through one of them must be published, and a message must reach the loads of all.
#[derive(Default)]
pub(crate) struct BusMemories(RefCell<HashMap<(StoreId, String), Shared>>);

struct Shared {
    /// The alias that was built first.
    alias: String,
    bus: Location,
    memory: Option<Arc<BusMemory>>,
}

impl BusMemories {
    /// Puts the store of an alias on a bus, if the settings have one.
    pub(crate) fn put_on(
        &self,
        alias: &str,
        settings: &CacheSettings,
        clock: &Clock,
        drivers: &Registry,
        store: BuiltStore,
    ) -> Result<BuiltStore> {
        // It keeps nothing, and replaces any store in tests.
        if store.backend.name() == "dummy" {
            return Ok(store);
        }
        let views = Arc::clone(&store.backend).views();
        let Some(memory) = views.sync else {
            if settings.bus.as_slice().is_empty() {
                return Ok(store);
            }
            let what = format!(
                "is for stores in the process, and the store `{}` is not one; to keep its entries \
                 in memory as well, write a table [caches.{alias}.near]",
                store.backend.name()
            );
            return Err(error(alias, what));
        };
        let mut memories = self.0.borrow_mut();
        let keys = (store.backend.id(), settings.key_prefix.clone());
        if let Some(shared) = memories.get(&keys) {
            if shared.bus != settings.bus {
                let what = format!(
                    "the aliases `{}` and `{alias}` have the same keys in one store, and a delete \
                     through one must be published for the other; give both the same bus, or one \
                     of them another key_prefix",
                    shared.alias
                );
                return Err(error(alias, what));
            }
            return Ok(match &shared.memory {
                Some(memory) => store.with_bus(BusStore::new(Arc::clone(memory))),
                None => store,
            });
        }
        let memory = if settings.bus.as_slice().is_empty() {
            None
        } else {
            let bus = bus(alias, settings, clock, drivers)?;
            let namespace = settings.namespace(alias)?;
            let connect: Duration = settings.connect_deadline.into();
            let patience = connect.saturating_add(settings.deadline.into());
            let tools = (clock.clone(), store.observer.clone());
            let memory = (memory, views.objects);
            Some(Arc::new(BusMemory::new(memory, bus, namespace, patience, tools)))
        };
        let (alias, bus) = (alias.to_owned(), settings.bus.clone());
        memories.insert(keys, Shared { alias, bus, memory: memory.clone() });
        Ok(match memory {
            Some(memory) => store.with_bus(BusStore::new(memory)),
            None => store,
        })
    }
}

/// Builds the store whose server passes messages on, with the driver for the scheme of its URL.
fn bus(
    alias: &str,
    settings: &CacheSettings,
    clock: &Clock,
    drivers: &Registry,
) -> Result<(Arc<dyn Bus>, Arc<dyn Backend>)> {
    let scheme = |url: &String| url.split_once("://").map(|(it, _)| it.to_ascii_lowercase());
    let mut schemes = settings.bus.as_slice().iter().map(scheme);
    let Some(Some(first)) = schemes.next() else {
        return Err(error(alias, "expected a URL, such as redis://host:6379"));
    };
    let driver = drivers.serving(&first).map_err(|it| error(alias, it.message().to_owned()))?;
    let is_same = |it: Option<String>| it.is_some_and(|it| driver.schemes().contains(&&*it));
    if !schemes.all(is_same) {
        return Err(error(alias, "expected URLs of one store"));
    }
    let mut server = CacheSettings::new(driver.name());
    server.location = settings.bus.clone();
    server.deadline = settings.deadline;
    server.connect_deadline = settings.connect_deadline;
    server.breaker = settings.breaker;
    let build = |server: &CacheSettings| {
        BuildContext::with_clock(alias, server, clock, |context| driver.build(context))
    };
    let store = build(&server).map_err(|failure| {
        // The error may name options, which a bus has not.
        let url = server.location.as_slice().first().map(Location::one);
        let is_one = server.location.as_slice().len() == 1;
        server.location = url.unwrap_or_default();
        if !is_one && build(&server).is_ok() {
            let what = format!(
                "the store `{}` does not accept a list of URLs here; give one URL",
                driver.name()
            );
            return error(alias, what);
        }
        error(alias, failure.message().to_owned())
    })?;
    let Some(bus) = Arc::clone(&store).views().bus else {
        let what = format!(
            "the store `{}` passes no messages on between processes; use Redis, Valkey or PostgreSQL",
            store.name()
        );
        return Err(error(alias, what));
    };
    Ok((bus, store))
}

fn error(alias: &str, what: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, what.into())
        .with_context("setting", format!("caches.{alias}.bus"))
}

impl fmt::Debug for BusMemories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusMemories({})", self.0.borrow().len())
    }
}
