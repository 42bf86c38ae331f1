//! From settings to tiers.

use std::{cell::RefCell, collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    settings::NearSettings,
    store::Near,
    stream::Stream,
    tier::{NearStore, Tier},
};
use crate::{
    config::{BuildContext, CacheSettings, Options, registry::Registry},
    error::{Error, ErrorKind, Result},
    key::Namespace,
    layer::BuiltStore,
    runtime::Clock,
    store::{NearInvalidation, StoreId},
};

/// The near tiers of one build. Aliases with the same keys in one store share a tier, because a
/// write through one of them must reach the near entries of the others.
#[derive(Default)]
pub(crate) struct Tiers(RefCell<HashMap<(StoreId, String), Shared>>);

struct Shared {
    /// The alias that was built first.
    alias: String,
    settings: Option<NearSettings>,
    tier: Option<Arc<Tier>>,
}

impl Tiers {
    /// Puts the near tier of an alias around its store, if the settings have one.
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
        let mut tiers = self.0.borrow_mut();
        let keys = (store.backend.id(), settings.key_prefix.clone());
        if let Some(shared) = tiers.get(&keys) {
            if shared.settings != settings.near {
                let what = format!(
                    "the aliases `{}` and `{alias}` have the same keys in one store, and a write \
                     through one must reach the near tier of the other; give both the same table \
                     `near`, or one of them another key_prefix",
                    shared.alias
                );
                return Err(error(alias, "near", what));
            }
            return Ok(match &shared.tier {
                Some(tier) => put_on(store, Arc::clone(tier)),
                None => store,
            });
        }
        let tier = match &settings.near {
            Some(near) => {
                let near_store = near_store(alias, near, clock, drivers)?;
                let stream = stream(alias, near, settings, &store)?;
                let timeout: Duration = near.timeout.into();
                if stream.is_none() {
                    store.observer.near_in_use(NearInvalidation::None, timeout);
                }
                let (clock, observer) = (clock.clone(), store.observer.clone());
                Some(Arc::new(Tier::new(near_store, timeout, clock, observer, stream)))
            }
            None => None,
        };
        let shared = Shared { alias: alias.into(), settings: settings.near, tier: tier.clone() };
        tiers.insert(keys, shared);
        Ok(match tier {
            Some(tier) => put_on(store, tier),
            None => store,
        })
    }
}

fn put_on(store: BuiltStore, tier: Arc<Tier>) -> BuiltStore {
    let near = Near::new(Arc::clone(&store.backend), tier, store.observer.clone());
    store.with_near(near)
}

/// Builds the near store with the driver `memory`: this crate knows no store.
fn near_store(
    alias: &str,
    near: &NearSettings,
    clock: &Clock,
    drivers: &Registry,
) -> Result<NearStore> {
    near.check().map_err(|(setting, what)| error(alias, &format!("near.{setting}"), what))?;
    let driver = drivers.find("memory").map_err(|_| {
        let what = "the near tier is a store of the crate cache-memory, which is not linked: add \
                    it to Cargo.toml, and name it once in the program: `use cache_memory as _;` \
                    (without the feature `inventory`: `.driver(cache_memory::DRIVER)`)";
        error(alias, "near", what)
    })?;
    let number = |it: u64| toml::Value::Integer(i64::try_from(it).unwrap_or(i64::MAX));
    let options = [("max_entries", near.max_entries), ("max_bytes", near.max_bytes.bytes())];
    let mut settings = CacheSettings::new("memory");
    settings.options =
        Options(options.into_iter().map(|(name, it)| (name.to_owned(), number(it))).collect());
    let built = BuildContext::with_clock(alias, &settings, clock, |context| driver.build(context));
    let built = built.map_err(|it| error(alias, "near", it.message().to_owned()))?;
    let views = built.views();
    let store = views.sync.ok_or_else(|| {
        error(alias, "near", "the driver `memory` of this program is not a store in the process")
    })?;
    Ok((store, views.objects))
}

/// Returns the stream of changes that the tier uses; `None` if it does without.
fn stream(
    alias: &str,
    near: &NearSettings,
    settings: &CacheSettings,
    store: &BuiltStore,
) -> Result<Option<Stream>> {
    let views = Arc::clone(&store.backend).views();
    if views.sync.is_some() {
        let what = format!(
            "has no effect: the store `{}` is in the process, and its entries are near already; \
             remove the table",
            store.backend.name()
        );
        return Err(error(alias, "near", what));
    }
    let namespace: Namespace = settings.namespace(alias)?;
    match (near.invalidation, views.invalidations) {
        (NearInvalidation::None, _) | (NearInvalidation::Auto, None) => Ok(None),
        (NearInvalidation::Auto, Some(source)) => Ok(Some(Stream::new(source, namespace, true))),
        (way, Some(source)) if source.ways().contains(&way) => {
            Ok(Some(Stream::new(source, namespace, false)))
        }
        (way, _) => {
            let what = format!(
                "the store `{}` does not report changes by \"{}\" with these settings: \
                 \"tracking\" needs Redis or Valkey and RESP3, \"pubsub\" Redis or Valkey, \
                 \"postgres\" PostgreSQL; set \"none\", then values are at most `near.timeout` \
                 old, or \"auto\"",
                store.backend.name(),
                way.as_str(),
            );
            Err(error(alias, "near.invalidation", what))
        }
    }
}

fn error(alias: &str, setting: &str, what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, what.into())
        .with_context("setting", format!("caches.{alias}.{setting}"))
}

impl fmt::Debug for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tiers({})", self.0.borrow().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_driver_is_an_error_that_names_the_line_to_add() {
        let near = NearSettings::default();
        let error = near_store("a", &near, &Clock::system(), &Registry::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        for part in ["caches.a.near", "cache-memory", "use cache_memory as _;"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
