//! The installed caches of the program: Django's `caches` and `cache`.

use std::{
    cell::RefCell,
    future::poll_fn,
    ops::Index,
    pin::pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::{
    cache::Cache,
    caches::{Caches, DEFAULT_ALIAS},
    error::{Error, ErrorKind, Result},
};

/// The caches of the program: `CACHES.get("sessions")?`, or `CACHES["sessions"]`.
///
/// An alias always returns the same handle, from any thread or task. [`install`] sets the caches
/// once.
pub static CACHES: GlobalCaches = GlobalCaches(());

static INSTALLED: OnceLock<Caches> = OnceLock::new();

thread_local! {
    /// The caches that [`GlobalCaches::scope`] put in place of the installed caches, the innermost
    /// last.
    static SCOPES: RefCell<Vec<&'static Caches>> = const { RefCell::new(Vec::new()) };
}

/// Whether this process has used a scope: then the cause of an error is likely a scope.
static SCOPED: AtomicBool = AtomicBool::new(false);

/// The type of [`CACHES`].
#[derive(Debug)]
pub struct GlobalCaches(());

/// Installs the caches of the program: once, early in `main`.
///
/// # Errors
/// `Config` if caches are already installed. The first caches stay.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
/// use cache_core::{CACHES, Caches, Timeout, cache, install, secs};
/// use cache_memory as _;
///
/// install(Caches::from_toml(r#"
///     [caches.default]
///     backend = "memory"
///     [caches.sessions]
///     backend = "memory"
///     timeout = "never"
/// "#)?)?;
///
/// cache().set("k", "v", secs(60)).await?;
/// CACHES["sessions"].set("s", "t", Timeout::Default).await?;
/// assert!(std::ptr::eq(cache(), &CACHES["default"]));
/// # Ok(()) }
/// ```
pub fn install(caches: Caches) -> Result<&'static Caches> {
    let mut is_first = false;
    let installed = INSTALLED.get_or_init(|| {
        is_first = true;
        caches
    });
    if is_first {
        return Ok(installed);
    }
    Err(Error::new(
        ErrorKind::Config,
        "caches are already installed; call `install` once, and use `CACHES.scope` in tests",
    ))
}

/// Returns the default cache.
///
/// # Panics
/// If no caches are installed. [`CACHES.get`](GlobalCaches::get) returns an error instead.
#[track_caller]
pub fn cache() -> &'static Cache {
    &CACHES[DEFAULT_ALIAS]
}

impl GlobalCaches {
    /// Returns the cache of an alias.
    ///
    /// # Errors
    /// `UnknownAlias` if the alias is not defined, and `Config` if no caches are installed.
    pub fn get(&self, alias: &str) -> Result<&'static Cache> {
        self.installed()?.get(alias)
    }

    /// Returns every alias. The iterator is empty if no caches are installed.
    pub fn aliases(&self) -> impl Iterator<Item = &'static str> {
        self.installed().into_iter().flat_map(Caches::aliases)
    }

    /// Returns the caches of the current scope, or else the installed caches.
    ///
    /// # Errors
    /// `Config` if no caches are installed and none are in scope.
    pub fn installed(&self) -> Result<&'static Caches> {
        let scoped = SCOPES.with(|it| it.borrow().last().copied());
        scoped.or_else(|| INSTALLED.get()).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                if SCOPED.load(Relaxed) {
                    "no caches are installed, and none are in scope in this task. A scope does not reach tasks and threads that are spawned \
                     in it: run their code with `CACHES.current().scope(future)`, where `CACHES.current()` is called before they are spawned"
                } else {
                    "no caches are installed; early in `main`, call `cache_core::install(Caches::from_file(\"settings.toml\")?)?`"
                },
            )
        })
    }

    /// Runs a future with other caches in place of the installed ones, as Django's
    /// `override_settings` does. This is for tests. Tasks that the future spawns use the installed
    /// caches, unless they run in the [`current`](Self::current) caches.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_core::{CACHES, Caches, Timeout, cache};
    ///
    /// async fn code_under_test() -> bool {
    ///     cache().add("k", &1, Timeout::Default).await.unwrap()
    /// }
    /// let dummy = Caches::from_toml("caches.default.backend = 'dummy'")?.leak();
    /// CACHES.scope(dummy, async {
    ///     assert!(code_under_test().await && code_under_test().await);
    /// }).await;
    /// assert!(CACHES.get("default").is_err(), "nothing is installed");
    /// # Ok(()) }
    /// ```
    pub async fn scope<F: Future>(&self, caches: &'static Caches, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.scope_sync(caches, || future.as_mut().poll(cx))).await
    }

    /// Runs code without async on this thread, with other caches, as [`scope`](Self::scope) does.
    pub fn scope_sync<T>(&self, caches: &'static Caches, code: impl FnOnce() -> T) -> T {
        /// Leaves the scope, also after a panic in the code.
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                SCOPES.with(|it| it.borrow_mut().pop());
            }
        }
        SCOPED.store(true, Relaxed);
        SCOPES.with(|it| it.borrow_mut().push(caches));
        let _leave = Leave;
        code()
    }

    /// Returns the caches of the current [`scope`](Self::scope), for tasks and threads that it
    /// spawns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_core::{CACHES, Caches, cache};
    ///
    /// let dummy = Caches::from_toml("caches.default.backend = 'dummy'")?.leak();
    /// CACHES.scope(dummy, async {
    ///     let current = CACHES.current();
    ///     let mut tasks = tokio::task::JoinSet::new();
    ///     tasks.spawn(current.scope(async { cache().backend().name() }));
    ///     assert_eq!(tasks.join_next().await.unwrap().unwrap(), "dummy");
    /// }).await;
    /// # Ok(()) }
    /// ```
    ///
    /// In a web framework that spawns a task for each connection, add a layer around the handlers.
    /// For axum:
    ///
    /// ```text
    /// let current = CACHES.current();
    /// let app = app.layer(axum::middleware::from_fn(move |request, next: Next| {
    ///     current.scope(next.run(request))
    /// }));
    /// ```
    ///
    /// For tower without axum, use `MapFutureLayer::new(move |future| current.scope(future))`.
    pub fn current(&self) -> CurrentCaches {
        CurrentCaches(SCOPES.with(|it| it.borrow().last().copied()))
    }
}

/// The caches of a scope, to be used in another task or thread: see [`GlobalCaches::current`].
/// Outside of a scope these are the installed caches.
#[derive(Clone, Copy, Debug)]
pub struct CurrentCaches(Option<&'static Caches>);

impl CurrentCaches {
    /// Runs a future with these caches.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        match self.0 {
            Some(caches) => CACHES.scope(caches, future).await,
            None => future.await,
        }
    }

    /// Runs code without async on this thread, as [`scope`](Self::scope) does.
    pub fn scope_sync<T>(self, code: impl FnOnce() -> T) -> T {
        match self.0 {
            Some(caches) => CACHES.scope_sync(caches, code),
            None => code(),
        }
    }
}

/// Returns the cache of an alias: `CACHES["alias"]`.
///
/// # Panics
/// With the text of the error of [`get`](GlobalCaches::get).
impl Index<&str> for GlobalCaches {
    type Output = Cache;

    #[track_caller]
    fn index(&self, alias: &str) -> &Cache {
        match self.get(alias) {
            Ok(cache) => cache,
            // panics: as the contract says of the index.
            Err(error) => panic!("{error}"),
        }
    }
}
