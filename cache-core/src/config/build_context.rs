//! The context that a driver receives to build a store.

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

/// The context that a driver receives to build a store: the settings, the clock, and the stores of
/// other aliases. Nothing in it is global.
#[derive(Debug)]
pub struct BuildContext<'a> {
    pub(crate) alias: &'a str,
    pub(crate) settings: &'a CacheSettings,
    pub(crate) clock: &'a Clock,
    pub(crate) resolve: &'a dyn Resolve,
    pub(crate) shared: &'a Shared,
}

/// Builds the stores of other aliases.
pub(crate) trait Resolve: fmt::Debug {
    fn backend(&self, alias: &str) -> Result<Arc<dyn Backend>>;
}

/// A context without other aliases.
#[derive(Debug)]
struct Alone;

impl Resolve for Alone {
    fn backend(&self, alias: &str) -> Result<Arc<dyn Backend>> {
        Err(Error::new(
            ErrorKind::UnknownAlias,
            format!("unknown alias `{alias}`: no other caches here"),
        ))
    }
}

/// The objects that the aliases of one `Caches` share during the build, by type and name.
#[derive(Default)]
pub(crate) struct Shared(RefCell<BTreeMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>);

/// The name of the only server of an alias.
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

    /// Returns the breaker around the store of an alias.
    pub(crate) fn breaker(
        &self,
        alias: &str,
        settings: &CacheSettings,
        clock: &Clock,
    ) -> Result<Option<Arc<Breaker>>> {
        let server = self.get::<OneServer>(alias);
        // A server without a name belongs to the alias alone.
        let server = server.map_or_else(|| format!("of {alias}"), |it| it.0.clone());
        Ok(self.breakers(alias, settings, clock)?.map(|it| it.of(&server)))
    }
}

impl BuildContext<'_> {
    /// Calls `read` with the context that a driver would receive for this alias.
    ///
    /// It is for functions that a backend crate offers besides its driver, such as the creation of
    /// a table.
    ///
    /// ```
    /// use cache_core::{CacheSettings, store::BuildContext};
    ///
    /// let settings = CacheSettings::new("mine");
    /// let deadline = BuildContext::with("default", &settings, |context| Ok(context.deadline()))?;
    /// assert_eq!(deadline.as_millis(), 500);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error that `read` returns. `UnknownAlias` from [`backend_of`](Self::backend_of), because
    /// this context has no other aliases.
    pub fn with<T>(
        alias: &str,
        settings: &CacheSettings,
        read: impl FnOnce(&BuildContext<'_>) -> Result<T>,
    ) -> Result<T> {
        Self::with_clock(alias, settings, &Clock::system(), read)
    }

    /// Calls `read` as [`with`](Self::with) does, with another clock.
    pub(crate) fn with_clock<T>(
        alias: &str,
        settings: &CacheSettings,
        clock: &Clock,
        read: impl FnOnce(&BuildContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let shared = Shared::default();
        read(&BuildContext { alias, settings, clock, resolve: &Alone, shared: &shared })
    }

    /// Returns the alias that is being built.
    pub fn alias(&self) -> &str {
        self.alias
    }

    /// Returns the whole settings table of the alias.
    pub fn settings(&self) -> &CacheSettings {
        self.settings
    }

    /// Returns the clock that the store must use.
    pub fn clock(&self) -> &Clock {
        self.clock
    }

    /// Returns the longest that a round trip may take once connected.
    pub fn deadline(&self) -> Duration {
        self.settings.deadline.into()
    }

    /// Returns the longest that connecting may take.
    pub fn connect_deadline(&self) -> Duration {
        self.settings.connect_deadline.into()
    }

    /// Returns the breaker of one of the servers of this store; `None` if the settings switch
    /// breakers off.
    ///
    /// It is for a store that keeps one breaker per server
    /// ([`Capabilities::breaks_per_server`](crate::store::Capabilities::breaks_per_server)). All
    /// other stores get a breaker around them when they are built, and name their server with
    /// [`one_server`](Self::one_server). All aliases of one `Caches` that name the server in the
    /// same way, and have equal tables `breaker` and equal deadlines, get the same breaker.
    ///
    /// # Errors
    /// `Config` if a setting of the table `breaker` is invalid.
    ///
    /// ```
    /// use cache_core::{Caches, Driver, Result, layer::Layered, store::{Backend, BuildContext, IntoBackend}};
    /// use cache_memory::Memory;
    /// use std::sync::Arc;
    ///
    /// fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    ///     let server = Memory::new().into_backend();
    ///     Ok(match context.breaker("10.0.0.1:4000")? {
    ///         Some(breaker) => Arc::new(Layered::new(breaker, server)),
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

    /// Returns the breakers of this alias, for servers that are not known yet. See
    /// [`breaker`](Self::breaker).
    ///
    /// # Errors
    /// `Config` if a setting of the table `breaker` is invalid.
    pub fn breakers(&self) -> Result<Option<Breakers>> {
        // The driver runs before the settings are checked.
        self.settings
            .breaker
            .check()
            .map_err(|(setting, what)| self.error(&format!("breaker.{setting}"), what))?;
        self.shared.breakers(self.alias, self.settings, self.clock)
    }

    /// Declares that all calls of this store go to this server. The store gets the breaker of that
    /// server around it; aliases share the breaker as with [`breaker`](Self::breaker).
    ///
    /// Without this call, the alias has a breaker of its own.
    ///
    /// ```
    /// use cache_core::{Driver, Result, store::{Backend, BuildContext, IntoBackend}};
    /// use std::sync::Arc;
    ///
    /// fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    ///     context.one_server("10.0.0.1:4000")?;
    ///     Ok(cache_memory::Memory::new().into_backend())
    /// }
    ///
    /// let text = "caches.default.backend = 'mine'";
    /// assert!(cache_core::Caches::builder().driver(Driver::new("mine", build)).toml(text)?.build().is_ok());
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// None at present; the result leaves room for errors.
    pub fn one_server(&self, server: &str) -> Result<()> {
        self.shared.get_or_make(self.alias, || Ok(OneServer(server.to_owned()))).map(drop)
    }

    /// Reads the table `options` as the driver's own type, which should `deny_unknown_fields`.
    ///
    /// # Errors
    /// `Config` if an option is unknown, missing or invalid. The error names the setting by its
    /// path and the allowed values, and shows no value.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        deserializer::read(&self.path("options"), self.settings.options.0.clone())
    }

    /// Returns the places of `location`.
    pub fn locations(&self) -> &[String] {
        self.settings.location.as_slice()
    }

    /// Returns the only place of `location`; `None` if the setting is absent.
    ///
    /// # Errors
    /// `Config` if `location` has several places.
    pub fn location(&self) -> Result<Option<&str>> {
        match self.locations() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(self.error("location", "this backend takes one place, not a list of several")),
        }
    }

    /// Verifies that there is no `location`, for a backend that does not use one.
    ///
    /// # Errors
    /// `Config` if there is a `location`.
    pub fn no_location(&self) -> Result<()> {
        match self.locations() {
            [] => Ok(()),
            _ => Err(self.error("location", "this backend has no location; remove the setting")),
        }
    }

    /// Returns a `Config` error about one of this alias's settings, such as `location` or
    /// `options.max_entries`.
    pub fn error(&self, setting: &str, what: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, what.into()).with_context("setting", self.path(setting))
    }

    /// Returns the store of another alias, for a store that consists of others.
    ///
    /// The store has the layers of its alias: its deadline, retries, breaker and metrics apply to
    /// each call. The store that is being built gets the layers of its own alias around the whole.
    /// If the breakers of the parts are enough, it declares
    /// [`breaks_per_server`](crate::store::Capabilities::breaks_per_server).
    ///
    /// # Errors
    /// `UnknownAlias` if there is no such alias, `Config` if the cache definition is cyclic, and
    /// the errors of building that store.
    pub fn backend_of(&self, alias: &str) -> Result<Arc<dyn Backend>> {
        self.resolve.backend(alias)
    }

    /// Returns an object that the aliases of one `Caches` share under `name`. The first caller
    /// makes it, the others find it.
    ///
    /// # Errors
    /// The error of `make`.
    pub fn shared<T: Any + Send + Sync>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        self.shared.get_or_make(name, make)
    }

    /// Returns the store of a place that several aliases of one `Caches` name. The first alias
    /// makes the store.
    ///
    /// All aliases must give equal options, because one store cannot have two bounds.
    ///
    /// # Errors
    /// `Config` if the options differ: the error names the aliases and the setting that `differs`
    /// finds in the options of both, such as `options.max_entries`. Else the error of `make`.
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

/// Prints no names: they are locations, which may contain a password.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} hidden)", self.0.borrow().len())
    }
}
