//! The caches of a program, by alias.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    path::Path,
    sync::Arc,
};

use crate::{
    cache::{Cache, CacheBuilder, KeyState},
    config::{self, CacheSettings, Driver, Plan, Settings, registry::Registry},
    consistency::Peers,
    error::{Error, ErrorKind, Result},
    key::KeyFunction,
    layer::InMemory,
    runtime::{Clock, all},
    store::{Backend, IntoBackend, NearInvalidation},
};

/// The caches of a program, by alias. An alias always returns the same handle.
///
/// Most programs [`install`](crate::install) their caches and use [`cache()`](crate::cache()) and
/// [`CACHES`](crate::CACHES). A program can also own one or several `Caches`.
///
/// Building reads and checks all settings. It does not connect and needs no runtime, so it never
/// fails because a server is down.
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

/// The alias that [`cache()`](crate::cache()) returns.
pub const DEFAULT_ALIAS: &str = "default";

impl Caches {
    /// Builds the caches from the `[caches.*]` tables of a TOML text, with every linked backend. In
    /// strings, `${NAME}` is replaced by the environment variable, and `$$` by `$`.
    ///
    /// # Errors
    /// `Config` or `UnknownAlias` if the settings are invalid. The error names the setting by its
    /// path.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::builder().toml(text)?.build()
    }

    /// Builds the caches from a TOML file, as [`from_toml`](Self::from_toml) does from a text.
    ///
    /// # Errors
    /// `Config` if the file cannot be read. `Config` or `UnknownAlias` if the settings are invalid.
    /// The error names the setting by its path.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().file(path)?.build()
    }

    /// Returns a builder, to set drivers, settings or a clock in code.
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

    /// Returns the cache of an alias.
    ///
    /// # Errors
    /// `UnknownAlias` if the alias is not defined.
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

    /// Returns every alias.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns every cache, in the order of the aliases.
    pub fn iter(&self) -> impl Iterator<Item = &Cache> {
        self.0.values()
    }

    /// Connects to every store and checks that it serves requests. All stores are checked, also if
    /// some fail. An alias that a function with `#[cached]` names and that is not defined, or that
    /// lacks a setting of the function, is in the report with an error.
    ///
    /// # Cancel safety
    /// A dropped future does not change any entry.
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
        let through = |alias: &str| {
            Some(match self.0.get(alias)?.in_memory()? {
                InMemory::Near(it) => Through::Near(it.stats().invalidation),
                InMemory::Bus(it) => Through::Bus(it.bus_name()),
            })
        };
        let checked = answers.into_iter().zip(self.0.keys()).map(|(result, alias)| {
            let checked = Checked { through: through(alias), result };
            (alias.clone(), checked)
        });
        #[cfg_attr(not(feature = "macros"), expect(unused_mut, reason = "only macros add to it"))]
        let mut report: BTreeMap<_, _> = checked.collect();
        #[cfg(feature = "macros")]
        for function in crate::cached_fn::registered() {
            let res = self.get(function.alias).map_err(|error| function.named(error));
            if let Err(error) = res.and_then(|cache| function.handle(cache)) {
                let checked = Checked { through: None, result: Err(error) };
                report.insert(function.alias.to_owned(), checked);
            }
        }
        CheckReport(report)
    }

    /// Flushes and disconnects every store. All stores are closed, also if some fail.
    ///
    /// # Errors
    /// The first error of a store.
    ///
    /// # Cancel safety
    /// If the future is dropped, some connections may stay open. A second call closes them.
    pub async fn close(&self) -> Result<()> {
        all(self.iter().map(Cache::close)).await.into_iter().collect()
    }

    /// Turns the caches into a reference for the rest of the program, as [`Vec::leak`] does: for
    /// [`CACHES.scope`](crate::GlobalCaches::scope).
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

/// The results of [`Caches::check`], by alias. `Display` prints one line for each alias.
#[derive(Clone, Debug)]
pub struct CheckReport(BTreeMap<String, Checked>);

#[derive(Clone, Debug)]
struct Checked {
    result: Result<()>,
    through: Option<Through>,
}

/// How the changes of other processes reach the memory of an alias.
#[derive(Clone, Copy, Debug)]
enum Through {
    Near(NearInvalidation),
    /// The name of the store that passes messages on.
    Bus(&'static str),
}

impl CheckReport {
    /// Returns whether every store serves requests.
    pub fn is_ok(&self) -> bool {
        self.0.values().all(|it| it.result.is_ok())
    }

    /// Returns the result of each store.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Result<()>)> {
        self.0.iter().map(|(alias, it)| (alias.as_str(), &it.result))
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (alias, it)) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "\n" })?;
            match (&it.result, it.through) {
                (Ok(()), None) => write!(f, "{alias}: ok")?,
                (Ok(()), Some(Through::Near(near))) => {
                    write!(f, "{alias}: ok, near tier with invalidation {}", near.as_str())?;
                }
                (Ok(()), Some(Through::Bus(bus))) => write!(f, "{alias}: ok, bus {bus}")?,
                (Err(error), _) => write!(f, "{alias}: {error}")?,
            }
        }
        Ok(())
    }
}

/// A builder of [`Caches`].
pub struct CachesBuilder {
    registry: Registry,
    settings: Settings,
    backends: BTreeMap<String, Arc<dyn Backend>>,
    key_functions: HashMap<String, KeyFunction>,
    clock: Clock,
    stderr_notice: bool,
}

impl CachesBuilder {
    /// Adds a driver. It replaces a linked driver of the same name.
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.registry.add(driver);
        self
    }

    /// Adds the `[caches.*]` tables of a TOML text. They replace existing settings of the same
    /// alias.
    ///
    /// # Errors
    /// `Config` if the text cannot be parsed or a setting is invalid.
    pub fn toml(self, text: &str) -> Result<Self> {
        let settings = Settings::from_toml(text)?;
        Ok(self.settings(settings))
    }

    /// Adds the `[caches.*]` tables of a TOML file. They replace existing settings of the same
    /// alias.
    ///
    /// # Errors
    /// `Config` if the file cannot be read or parsed, or a setting is invalid.
    pub fn file(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let at = |error: Error| error.with_context("file", path.display().to_string());
        let text = fs::read_to_string(path).map_err(|error| {
            at(Error::new(ErrorKind::Config, format!("cannot read the settings file: {error}")))
        })?;
        self.toml(&text).map_err(at)
    }

    /// Adds settings that were loaded in another way. `${NAME}` in them is not replaced.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings.merge(settings);
        self
    }

    /// Adds an alias over a store that was created in code. Settings of this alias apply, except
    /// those that only a driver reads.
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

    /// Sets the key function of an alias: see
    /// [`CacheBuilder::key_function`](crate::CacheBuilder::key_function).
    #[must_use]
    pub fn key_function(
        mut self,
        alias: &str,
        function: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        self.key_functions.insert(alias.to_owned(), Arc::new(function));
        self
    }

    /// Sets the clock of all caches and stores, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets whether a failing store is reported on stderr (the default). The first failure prints
    /// one line, and later failures at most one line a minute for the whole process, as long as no
    /// `tracing` subscriber is active. Programs that use stderr for other output turn this off.
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

    /// Checks all settings and builds every cache. This does not connect.
    ///
    /// # Errors
    /// `Config` if a setting is invalid, the alias `default` is missing, or caches depend on each
    /// other in a cycle. `UnknownAlias` if a setting or a key function names an alias that is not
    /// defined. The error names the setting by its path.
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
                    "the settings do not define the cache `default` (they have {known}); add `[caches.default]` with \
                     `backend = \"memory\"`"
                ),
            )
            .with_context("setting", "caches.default"));
        }
        if let Some(alias) = self.key_functions.keys().find(|it| self.settings.get(it).is_none()) {
            let what = format!(
                "a key function is set for the cache `{alias}`, which the settings do not define"
            );
            return Err(Error::new(ErrorKind::UnknownAlias, what));
        }
        let plan = Plan::new(
            &self.registry,
            &self.settings,
            &self.backends,
            &self.clock,
            self.stderr_notice,
        );
        let mut res = BTreeMap::new();
        let (mut states, mut stores) = (HashMap::new(), HashMap::<_, Arc<Peers>>::new());
        for (alias, settings) in self.settings.iter() {
            let store = plan.store(alias)?;
            let waits = Arc::clone(&store.backend).views().sync.is_none();
            let peers = stores.entry(store.backend.id()).or_default();
            let new_state = || KeyState::new(waits, &self.clock, peers);
            // Aliases with the same keys in the same store.
            let same_keys = (store.backend.id(), settings.key_prefix.as_str());
            let state = states.entry(same_keys).or_insert_with(new_state).clone();
            let cache = CacheBuilder::over(store)
                .state(state)
                .settings(settings.clone())
                .shared_key_function(self.key_functions.get(alias).cloned())
                .clock(self.clock.clone())
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
