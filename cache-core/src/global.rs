//! The program's own caches: Django's `caches` and `cache`.

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

/// The program's caches: `CACHES.get("sessions")?`, or `CACHES["sessions"]`.
///
/// The same alias always gives the same handle, from any thread or task. Filled once by [`install`].
pub static CACHES: GlobalCaches = GlobalCaches(());

static INSTALLED: OnceLock<Caches> = OnceLock::new();

thread_local! {
    /// What [`GlobalCaches::scope`] put in place of the installed caches, the innermost last.
    static SCOPES: RefCell<Vec<&'static Caches>> = const { RefCell::new(Vec::new()) };
}

/// Whether there has been a scope in this process: then an error is likely to be about one.
static SCOPED: AtomicBool = AtomicBool::new(false);

/// The type of [`CACHES`].
#[derive(Debug)]
pub struct GlobalCaches(());

/// Makes `caches` the program's own: once, early in `main`. A second call is an error of kind `Config`, and the first
/// caches stay.
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
        "caches are already installed; `install` is called once, and tests use `CACHES.scope`",
    ))
}

/// The default cache.
///
/// # Panics
/// If nothing is installed. [`CACHES.get`](GlobalCaches::get) gives an error instead.
#[track_caller]
pub fn cache() -> &'static Cache {
    &CACHES[DEFAULT_ALIAS]
}

impl GlobalCaches {
    /// The cache of that alias. `UnknownAlias` if there is none, `Config` if nothing is installed.
    pub fn get(&self, alias: &str) -> Result<&'static Cache> {
        self.installed()?.get(alias)
    }

    /// Every alias; none if nothing is installed.
    pub fn aliases(&self) -> impl Iterator<Item = &'static str> {
        self.installed().into_iter().flat_map(Caches::aliases)
    }

    /// What was installed, or is in scope.
    pub fn installed(&self) -> Result<&'static Caches> {
        let scoped = SCOPES.with(|it| it.borrow().last().copied());
        scoped.or_else(|| INSTALLED.get()).ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                if SCOPED.load(Relaxed) {
                    "no caches are installed, and none are in scope in this task. A scope does not reach tasks and threads that are spawned \
                     in it: run their code with `CACHES.current().scope(future)`, where `CACHES.current()` is called before they are spawned"
                } else {
                    "no caches are installed; early in `main`, say `cache_core::install(Caches::from_file(\"settings.toml\")?)?`"
                },
            )
        })
    }

    /// Runs a future with other caches in place of the installed ones, for it alone: Django's `override_settings`, for tests.
    /// Tasks that it spawns see the installed ones, unless they are given the [`current`](Self::current) ones.
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

    /// [`scope`](Self::scope) for code without async, on this thread.
    pub fn scope_sync<T>(&self, caches: &'static Caches, code: impl FnOnce() -> T) -> T {
        /// A panic in the code leaves the scope, too.
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

    /// The caches of the present [`scope`](Self::scope), to be carried into tasks and threads that are spawned in it.
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
    /// A web framework that spawns a task for each connection gets them by a layer around its handlers; in axum:
    ///
    /// ```text
    /// let current = CACHES.current();
    /// let app = app.layer(axum::middleware::from_fn(move |request, next: Next| current.scope(next.run(request))));
    /// ```
    ///
    /// With tower alone it is `MapFutureLayer::new(move |future| current.scope(future))`.
    pub fn current(&self) -> CurrentCaches {
        CurrentCaches(SCOPES.with(|it| it.borrow().last().copied()))
    }
}

/// The caches of a scope, on their way into another task or thread: see [`GlobalCaches::current`]. Outside of a scope, the
/// installed ones.
#[derive(Clone, Copy, Debug)]
pub struct CurrentCaches(Option<&'static Caches>);

impl CurrentCaches {
    /// Runs a future with these caches, wherever it runs.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        match self.0 {
            Some(caches) => CACHES.scope(caches, future).await,
            None => future.await,
        }
    }

    /// [`scope`](Self::scope) for code without async, on this thread.
    pub fn scope_sync<T>(self, code: impl FnOnce() -> T) -> T {
        match self.0 {
            Some(caches) => CACHES.scope_sync(caches, code),
            None => code(),
        }
    }
}

/// `CACHES["alias"]`.
///
/// # Panics
/// With the text of [`get`](GlobalCaches::get)'s error.
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
