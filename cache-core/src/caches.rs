//! All caches of a program, by alias.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt, fs,
    path::Path,
    sync::Arc,
};

use crate::{
    cache::{Cache, KeyState},
    config::{
        self, BuildContext, CacheSettings, Driver, Resolve, Settings, Shared, registry::Registry,
    },
    error::{Error, ErrorKind, Result},
    key::KeyFunction,
    runtime::{Clock, all},
    store::{Backend, IntoBackend},
};

/// The caches of a program, by alias. Built once; the same alias always gives the same handle.
///
/// Most programs [`install`](crate::install) theirs and use [`cache()`](crate::cache()) and [`CACHES`](crate::CACHES);
/// others can own one or several.
///
/// Building reads and checks all settings. It connects nowhere and needs no runtime, so it never fails because
/// a server is down.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{Caches, Timeout};
/// use cache_memory as _; // links the store that the settings name
///
/// let caches = Caches::from_toml(r#"
///     [caches.default]
///     backend = "memory"
///     timeout = "5m"
/// "#)?;
/// caches.get("default")?.set("k", "v", Timeout::Default).await?;
/// assert!(caches.get("other").is_err());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Caches(BTreeMap<String, Cache>);

/// The alias that [`cache()`](crate::cache()) gives.
pub const DEFAULT_ALIAS: &str = "default";

impl Caches {
    /// From the `[caches.*]` tables of a TOML text, with every linked backend. `${NAME}` in a string is replaced by
    /// the environment variable, `$$` by `$`.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::builder().toml(text)?.build()
    }

    /// [`from_toml`](Self::from_toml) of a file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().file(path)?.build()
    }

    /// To give drivers, settings or a clock by hand.
    pub fn builder() -> CachesBuilder {
        CachesBuilder {
            registry: Registry::linked(),
            settings: Settings::new(),
            backends: BTreeMap::new(),
            key_functions: HashMap::new(),
            clock: Clock::system(),
            stderr_notice: true,
        }
    }

    /// The cache of that alias; `UnknownAlias` if there is none.
    pub fn get(&self, alias: &str) -> Result<&Cache> {
        self.0.get(alias).ok_or_else(|| {
            let known = config::list(self.aliases());
            Error::new(
                ErrorKind::UnknownAlias,
                format!(
                    "no cache is named `{alias}`; the settings have {known}. Add `[caches.{alias}]`"
                ),
            )
        })
    }

    /// Every alias.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Every cache, by alias.
    pub fn iter(&self) -> impl Iterator<Item = &Cache> {
        self.0.values()
    }

    /// Connects to every store and asks whether it serves. All are asked, whatever the others say.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// let caches = cache_core::Caches::from_toml("caches.default.backend = 'dummy'")?;
    /// let report = caches.check().await;
    /// assert!(report.is_ok());
    /// assert_eq!(report.to_string(), "default: ok");
    /// # Ok(()) }
    /// ```
    pub async fn check(&self) -> CheckReport {
        let answers = all(self.iter().map(Cache::check)).await;
        CheckReport(self.0.keys().cloned().zip(answers).collect())
    }

    /// Flushes and disconnects every store. All are closed, whatever the others say; the first error.
    pub async fn close(&self) -> Result<()> {
        all(self.iter().map(Cache::close)).await.into_iter().collect()
    }

    /// Caches that live as long as the program, as [`Vec::leak`] gives: for [`CACHES.scope`](crate::GlobalCaches::scope).
    pub fn leak(self) -> &'static Self {
        Box::leak(Box::new(self))
    }
}

impl<'a> IntoIterator for &'a Caches {
    type Item = &'a Cache;
    type IntoIter = std::collections::btree_map::Values<'a, String, Cache>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.values()
    }
}

/// What [`Caches::check`] found, by alias. `Display` gives a line for each.
#[derive(Clone, Debug)]
pub struct CheckReport(BTreeMap<String, Result<()>>);

impl CheckReport {
    /// Whether every store serves.
    pub fn is_ok(&self) -> bool {
        self.0.values().all(Result::is_ok)
    }

    /// What each store said.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Result<()>)> {
        self.0.iter().map(|(alias, res)| (alias.as_str(), res))
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (alias, res)) in self.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "\n" })?;
            match res {
                Ok(()) => write!(f, "{alias}: ok")?,
                Err(error) => write!(f, "{alias}: {error}")?,
            }
        }
        Ok(())
    }
}

/// Makes [`Caches`].
pub struct CachesBuilder {
    registry: Registry,
    settings: Settings,
    backends: BTreeMap<String, Arc<dyn Backend>>,
    key_functions: HashMap<String, KeyFunction>,
    clock: Clock,
    stderr_notice: bool,
}

impl CachesBuilder {
    /// Adds a driver; it replaces a linked one of its name.
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.registry.add(driver);
        self
    }

    /// Adds the `[caches.*]` tables of a TOML text. An alias that is there already is replaced.
    pub fn toml(self, text: &str) -> Result<Self> {
        let settings = Settings::from_toml(text)?;
        Ok(self.settings(settings))
    }

    /// Adds the `[caches.*]` tables of a TOML file.
    pub fn file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let at = |error: Error| error.with_context("file", path.display().to_string());
        let text = fs::read_to_string(path).map_err(|error| {
            at(Error::new(ErrorKind::Config, format!("cannot read the settings file: {error}")))
        })?;
        self.toml(&text).map_err(at)
    }

    /// Adds settings that were loaded otherwise. `${NAME}` in them is not replaced.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings.merge(settings);
        self
    }

    /// Adds an alias over a store made in code. Settings for the alias are used but for what only a driver reads.
    ///
    /// ```
    /// # use cache_core::Caches; use cache_memory::Memory;
    /// let caches = Caches::builder().backend("default", Memory::new()).build()?;
    /// assert!(caches.get("default").is_ok());
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    #[must_use]
    pub fn backend(mut self, alias: &str, store: impl IntoBackend) -> Self {
        self.backends.insert(alias.to_owned(), store.into_backend());
        self
    }

    /// Sets an alias's key function: see [`CacheBuilder::key_function`](crate::CacheBuilder::key_function).
    #[must_use]
    pub fn key_function(
        mut self,
        alias: &str,
        function: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        self.key_functions.insert(alias.to_owned(), Arc::new(function));
        self
    }

    /// The clock of all caches and stores: for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Whether a failing store appears on stderr (the default): a line for the first failure and one a minute at most after that, for
    /// the whole process, as long as no subscriber of `tracing` listens. Off for programs whose stderr is for something else.
    ///
    /// ```
    /// use cache_core::Caches;
    ///
    /// let quiet = Caches::builder()
    ///     .stderr_notice(false)
    ///     .toml("caches.default.backend = 'dummy'")?
    ///     .build()?;
    /// assert_eq!(quiet.aliases().count(), 1);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    #[must_use]
    pub fn stderr_notice(mut self, yes: bool) -> Self {
        self.stderr_notice = yes;
        self
    }

    /// Checks everything and builds every cache. Connects nowhere.
    pub fn build(mut self) -> Result<Caches> {
        for (alias, backend) in &self.backends {
            if self.settings.get(alias).is_none() {
                self.settings.insert(alias, CacheSettings::new(backend.name()));
            }
        }
        if self.settings.get(DEFAULT_ALIAS).is_none() {
            let known = config::list(self.settings.aliases());
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "the settings have no cache `default` (they have {known}); add `[caches.default]` with \
                     `backend = \"memory\"`"
                ),
            )
            .with_context("setting", "caches.default"));
        }
        if let Some(alias) = self.key_functions.keys().find(|it| self.settings.get(it).is_none()) {
            let what = format!(
                "a key function was given for the cache `{alias}`, which the settings do not have"
            );
            return Err(Error::new(ErrorKind::UnknownAlias, what));
        }
        let plan = Plan { builder: &self, done: RefCell::default(), shared: Shared::default() };
        let mut res = BTreeMap::new();
        let mut states = HashMap::new();
        for (alias, settings) in self.settings.iter() {
            let backend = plan.backend(alias)?;
            let waits = Arc::clone(&backend).views().sync.is_none();
            let new_state = || KeyState::new(waits, &self.clock);
            // Aliases with the same keys in the same store.
            let same_keys = (backend.id(), settings.key_prefix.as_str());
            let state = states.entry(same_keys).or_insert_with(new_state).clone();
            let cache = Cache::builder(backend)
                .state(state)
                .settings(settings.clone())
                .shared_key_function(self.key_functions.get(alias).cloned())
                .clock(self.clock.clone())
                .stderr_notice(self.stderr_notice)
                .shared_breaker(plan.shared.breaker(alias, settings, &self.clock)?)
                .build(alias)?;
            res.insert(alias.to_owned(), cache);
        }
        Ok(Caches(res))
    }
}

impl fmt::Debug for CachesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachesBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// One build: the stores that are done and under way, so that a store can be made of others.
struct Plan<'a> {
    builder: &'a CachesBuilder,
    /// `None` marks a store under way.
    done: RefCell<BTreeMap<String, Option<Arc<dyn Backend>>>>,
    shared: Shared,
}

impl Resolve for Plan<'_> {
    fn backend(&self, alias: &str) -> Result<Arc<dyn Backend>> {
        let at = |setting: &str| format!("caches.{alias}.{setting}");
        if let Some(backend) = self.builder.backends.get(alias) {
            return Ok(Arc::clone(backend));
        }
        match self.done.borrow().get(alias) {
            Some(Some(backend)) => return Ok(Arc::clone(backend)),
            Some(None) => {
                let what = format!("cyclic cache definition: `{alias}` depends on itself");
                return Err(
                    Error::new(ErrorKind::Config, what).with_context("setting", at("options"))
                );
            }
            None => {}
        }
        let settings = self.builder.settings.get(alias).ok_or_else(|| {
            let known = config::list(self.builder.settings.aliases());
            let what = format!("no cache is named `{alias}`; the settings have {known}");
            Error::new(ErrorKind::UnknownAlias, what)
        })?;
        self.done.borrow_mut().insert(alias.to_owned(), None);
        let driver = self.builder.registry.find(&settings.backend);
        let driver = driver.map_err(|error| error.with_context("setting", at("backend")))?;
        let context = BuildContext {
            alias,
            settings,
            clock: &self.builder.clock,
            resolve: self,
            shared: &self.shared,
        };
        let backend = driver.build(&context).map_err(|it| it.with_context("alias", alias))?;
        self.done.borrow_mut().insert(alias.to_owned(), Some(Arc::clone(&backend)));
        Ok(backend)
    }
}

impl fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").finish_non_exhaustive()
    }
}
