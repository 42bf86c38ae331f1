//! What a driver gets to build a store from.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{CacheSettings, deserializer};
use crate::{
    error::{Error, ErrorKind, Result},
    layer::{Breaker, Breakers, Known},
    runtime::Clock,
    store::Backend,
};

/// What a driver gets to build a store from: its settings, the clock, and other aliases' stores. Nothing is global.
#[derive(Debug)]
pub struct BuildContext<'a> {
    pub(crate) alias: &'a str,
    pub(crate) settings: &'a CacheSettings,
    pub(crate) clock: &'a Clock,
    pub(crate) resolve: &'a dyn Resolve,
    pub(crate) shared: &'a Shared,
}

/// Builds other aliases' stores.
pub(crate) trait Resolve: fmt::Debug {
    fn backend(&self, alias: &str) -> Result<Arc<dyn Backend>>;
}

/// There are no other aliases.
#[derive(Debug)]
struct Alone;

impl Resolve for Alone {
    fn backend(&self, alias: &str) -> Result<Arc<dyn Backend>> {
        Err(Error::new(ErrorKind::UnknownAlias, format!("there is no cache `{alias}` here")))
    }
}

/// What the aliases of one `Caches` share while it is built, by type and name.
#[derive(Default)]
pub(crate) struct Shared(RefCell<BTreeMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>);

/// The one server of an alias.
struct OneServer(String);

impl Shared {
    fn get<T: Any + Send + Sync>(&self, name: &str) -> Option<Arc<T>> {
        let found = self.0.borrow().get(&(TypeId::of::<T>(), name.to_owned())).cloned();
        found.and_then(|it| it.downcast().ok())
    }

    fn get_or_make<T: Any + Send + Sync>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        if let Some(found) = self.get(name) {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        self.0.borrow_mut().insert((TypeId::of::<T>(), name.to_owned()), Arc::clone(&made) as _);
        Ok(made)
    }

    fn breakers(
        &self,
        alias: &str,
        settings: &CacheSettings,
        clock: &Clock,
    ) -> Result<Option<Breakers>> {
        let known = self.get_or_make("breakers", || Ok(Known::default()))?;
        Ok(Breakers::new(&known, alias, settings, clock))
    }

    /// The breaker that the facade puts around the store of an alias.
    pub(crate) fn breaker(
        &self,
        alias: &str,
        settings: &CacheSettings,
        clock: &Clock,
    ) -> Result<Option<Arc<Breaker>>> {
        let server = self.get::<OneServer>(alias);
        // A server that has no name is the alias's own.
        let server = server.map_or_else(|| format!("of {alias}"), |it| it.0.clone());
        Ok(self.breakers(alias, settings, clock)?.map(|it| it.of(&server)))
    }
}

impl BuildContext<'_> {
    /// What a driver would get for this alias, for what a backend crate offers beside its driver: to make a table, say.
    ///
    /// ```
    /// use cache_core::{CacheSettings, store::BuildContext};
    ///
    /// let settings = CacheSettings::new("mine");
    /// let deadline = BuildContext::with("default", &settings, |context| Ok(context.deadline()))?;
    /// assert_eq!(deadline.as_millis(), 500);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn with<T>(
        alias: &str,
        settings: &CacheSettings,
        read: impl FnOnce(&BuildContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let (clock, shared) = (Clock::system(), Shared::default());
        read(&BuildContext { alias, settings, clock: &clock, resolve: &Alone, shared: &shared })
    }

    /// The alias that is being built.
    pub fn alias(&self) -> &str {
        self.alias
    }

    /// Its whole table.
    pub fn settings(&self) -> &CacheSettings {
        self.settings
    }

    /// The clock that the store must ask.
    pub fn clock(&self) -> &Clock {
        self.clock
    }

    /// The longest that a round trip may take once connected.
    pub fn deadline(&self) -> Duration {
        self.settings.deadline.into()
    }

    /// The longest that connecting may take.
    pub fn connect_deadline(&self) -> Duration {
        self.settings.connect_deadline.into()
    }

    /// The breaker of one of the servers of this store; `None` if the settings say that there is none. All aliases of one `Caches` that
    /// name the server in the same way, and have the same table `breaker` and deadlines, get the same one. For a store that keeps one for each server
    /// ([`Capabilities::breaks_per_server`](crate::store::Capabilities::breaks_per_server)); all others get theirs from the facade, and
    /// say by [`one_server`](Self::one_server) which it is.
    ///
    /// `Config` if the settings make no sense.
    ///
    /// ```
    /// use cache_core::{Caches, Driver, Result, layer::Layered, store::{Backend, BuildContext, Inline}};
    /// use cache_memory::Memory;
    /// use std::sync::Arc;
    ///
    /// fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    ///     let server: Arc<dyn Backend> = Arc::new(Inline::new(Memory::new()));
    ///     Ok(match context.breaker("10.0.0.1:4000")? {
    ///         Some(breaker) => Arc::new(Layered::new(Arc::new(breaker), server)),
    ///         None => server,
    ///     })
    /// }
    ///
    /// let caches = |breaker: &str| {
    ///     let text = format!("caches.default = {{ backend = 'mine', breaker = {{ {breaker} }} }}");
    ///     Caches::builder().driver(Driver::new("mine", build)).toml(&text)?.build()
    /// };
    /// assert!(caches("open_for = '5s'").is_ok() && caches("enabled = false").is_ok());
    /// assert!(caches("min_calls = 0").unwrap_err().to_string().contains("caches.default.breaker.min_calls"));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn breaker(&self, server: &str) -> Result<Option<Arc<Breaker>>> {
        Ok(self.breakers()?.map(|it| it.of(server)))
    }

    /// As [`breaker`](Self::breaker), for servers that are not known yet.
    pub fn breakers(&self) -> Result<Option<Breakers>> {
        // A driver is asked before the facade checks them.
        self.settings
            .breaker
            .check()
            .map_err(|(setting, what)| self.error(&format!("breaker.{setting}"), what))?;
        self.shared.breakers(self.alias, self.settings, self.clock)
    }

    /// Says that all calls of this store go to this server: the facade puts the breaker of that server around it, which the aliases share
    /// as [`breaker`](Self::breaker) says. Without this, the alias has a breaker of its own.
    ///
    /// ```
    /// use cache_core::{Driver, Result, store::{Backend, BuildContext}};
    /// use std::sync::Arc;
    ///
    /// fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    ///     context.one_server("10.0.0.1:4000")?;
    ///     Ok(Arc::new(cache_core::store::Inline::new(cache_memory::Memory::new())))
    /// }
    ///
    /// let text = "caches.default.backend = 'mine'";
    /// assert!(cache_core::Caches::builder().driver(Driver::new("mine", build)).toml(text)?.build().is_ok());
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn one_server(&self, server: &str) -> Result<()> {
        self.shared.get_or_make(self.alias, || Ok(OneServer(server.to_owned()))).map(drop)
    }

    /// The table `options` as the driver's own type, which should `deny_unknown_fields`. The error names the
    /// setting by its path and what is allowed, and shows no value.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        deserializer::read(&self.path("options"), self.settings.options.0.clone())
    }

    /// The places of `location`.
    pub fn locations(&self) -> &[String] {
        self.settings.location.as_slice()
    }

    /// The one place of `location`, if there is any; an error if there are several.
    pub fn location(&self) -> Result<Option<&str>> {
        match self.locations() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.error("location", "this backend takes one place, not a list of several")),
        }
    }

    /// An error if there is a `location`: for a backend that has no use for one.
    pub fn no_location(&self) -> Result<()> {
        match self.locations() {
            [] => Ok(()),
            _ => Err(self.error("location", "this backend has no location; remove the setting")),
        }
    }

    /// An error about one of this alias's settings: `location`, `options.max_entries`.
    pub fn error(&self, setting: &str, what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, what.into()).with_context("setting", self.path(setting))
    }

    /// The store of another alias, for a store made of others. A circle is an error.
    pub fn backend_of(&self, alias: &str) -> Result<Arc<dyn Backend>> {
        self.resolve.backend(alias)
    }

    /// What the aliases of one `Caches` that name the same thing have in common: made by the first, found by the others.
    pub fn shared<T: Any + Send + Sync>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        self.shared.get_or_make(name, make)
    }

    /// The one store of a place that several aliases of one `Caches` name, made by the first of them. They must ask for the same:
    /// one store cannot have two bounds. `Config` names the aliases if they do not, and the setting that `differs` finds in the options of
    /// both, such as `options.max_entries`.
    pub fn shared_store<T, O>(
        &self,
        place: &str,
        options: &O,
        differs: impl FnOnce(&O, &O) -> Option<&'static str>,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>>
    where
        T: Any + Send + Sync,
        O: Any + Send + Sync + Clone + PartialEq,
    {
        struct Place<T, O> {
            store: Arc<T>,
            options: O,
            alias: String,
        }
        let found = self.shared(place, || {
            Ok(Place {
                store: Arc::new(make()?),
                options: options.clone(),
                alias: self.alias.to_owned(),
            })
        })?;
        if *options != found.options {
            let setting = differs(options, &found.options).unwrap_or("options");
            return Err(self.error(
                setting,
                format!(
                    "the aliases `{}` and `{}` share one store by their location, and one store has one `{setting}`; \
                     give both aliases the same, or one of them another location",
                    found.alias, self.alias
                ),
            ));
        }
        Ok(Arc::clone(&found.store))
    }

    fn path(&self, setting: &str) -> String {
        format!("caches.{}.{setting}", self.alias)
    }
}

/// Without the names: they are locations, which may hold a password.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} hidden)", self.0.borrow().len())
    }
}
