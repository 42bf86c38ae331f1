//! Reads through with a loader that runs as a task of its own.

mod arc;
mod as_form;
mod batch;
mod blocking;
mod entries;
mod fence;
mod keyspace;
mod load;
mod lock;
mod many;
mod refresh;
mod remove;
mod request;
mod run;
mod task;

use std::{fmt, sync::Arc, time::Duration};

pub use self::arc::ArcFetch;
pub(super) use self::fence::{AT_ONCE, Fence, Fenced};
use self::request::Mode;
pub(crate) use self::{
    as_form::{As, ByArc, ByValue},
    blocking::on_a_thread,
};
use super::Cache;
use crate::{
    consistency::tag_set::TagSet,
    error::Result,
    fetch::{Fetched, LoadContext, Loaded, Policy, RefreshAhead},
    timeout::IntoTimeout,
    value::{Decode, Encode, Form, Typed},
};

/// A fetch of one value, from [`Cache::fetch`]: how long the value is fresh, how long it may be
/// served stale, and how long the caller waits.
///
/// Settings that are not given here are those of the table `[caches.<alias>.fetch]`, see
/// [`FetchSettings`](crate::FetchSettings). A setting of the fetch that has no effect is an error
/// of kind `Config` when the fetch has to load. A setting of the alias that has no effect on this
/// fetch is ignored, for example its grace if the value never expires.
#[must_use = "a fetch does nothing before `load`"]
pub struct Fetch<'a, V: Form = Typed> {
    cache: &'a Cache<V>,
    key: &'a str,
    policy: Policy,
    /// The tags of a loaded value.
    tags: Option<Arc<TagSet>>,
    /// Whether the policy differs from that of the alias, which was checked when it was built.
    is_custom: bool,
    mode: Mode,
}

/// Reads through, with values that may be served stale.
impl<V: Form> Cache<V> {
    /// Begins a fetch of `key`: [`load`](Fetch::load) returns the stored value, or runs a loader
    /// and stores its value.
    ///
    /// It does what [`get_or_set`](Self::get_or_set) does, and shares its loads. In addition:
    ///
    /// - The loader runs as a task of its own. It goes on when its caller leaves, as long as
    ///   another caller waits for it. It ends after `load_deadline`, and when no caller is left.
    /// - With a [`grace`](Fetch::grace), an expired value is served while a new one is loaded in
    ///   the background, and when the loader fails.
    /// - All callers that wait share the result of one load, also its error, its panic and its end
    ///   by the deadline.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_core::{Cache, FetchSettings, secs};
    /// # use cache_memory::Memory; use std::{convert::Infallible, time::Duration};
    ///
    /// let hour = Duration::from_secs(3600);
    /// let cache = Cache::builder(Memory::new()).fetch(FetchSettings::with_grace(hour)).build("test")?;
    /// let report: String = cache
    ///     .fetch("report")
    ///     .ttl(secs(60))
    ///     .load(|_| async { Ok::<_, Infallible>("the slow part".to_owned()) })
    ///     .await?;
    /// assert_eq!(report, "the slow part");
    /// # Ok(()) }
    /// ```
    pub fn fetch<'a>(&'a self, key: &'a str) -> Fetch<'a, V> {
        let policy = *self.shared.fetch.policy();
        let tags = self.tags.clone();
        Fetch { cache: self, key, policy, tags, is_custom: false, mode: Mode::Usual }
    }
}

impl<'a, V: Form> Fetch<'a, V> {
    fn with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self.is_custom = true;
        self
    }

    /// Sets the time for which a loaded value is fresh. It is prolonged at random by
    /// [`jitter`](Self::jitter), and never shortened.
    pub fn ttl(self, timeout: impl IntoTimeout) -> Self {
        self.with(|it| it.ttl = timeout.into_timeout())
    }

    /// Sets the time after `ttl` in which the old value is served while a new one is loaded, and
    /// when the loader fails.
    ///
    /// The cache must have the setting [`grace`](crate::FetchSettings::grace) in its table `fetch`,
    /// because then all of its reads ask the store for the remaining lifetime: for `get` and all
    /// other calls, a value that is past its `ttl` is missing.
    ///
    /// With zero, the loaded value has no grace. A stored value keeps the grace that it has.
    pub fn grace(self, time: Duration) -> Self {
        self.with(|it| it.grace = time)
    }

    /// Sets how long a caller waits for a new value before it gets the stale one, but not longer
    /// than [`hard_timeout`](Self::hard_timeout). With zero, the default, the stale value is
    /// returned at once.
    pub fn soft_timeout(self, time: Duration) -> Self {
        self.with(|it| it.soft = Some(time))
    }

    /// Sets how long the caller waits at most for a value. The load goes on in the background, so
    /// that a later caller finds its value, unless `max_refreshes` loads do so already.
    pub fn hard_timeout(self, time: Duration) -> Self {
        self.with(|it| it.hard = Some(time))
    }

    /// Sets the time after which the loader is ended: see
    /// [`CacheSettings::load_deadline`](crate::CacheSettings::load_deadline).
    pub fn load_deadline(self, time: Duration) -> Self {
        self.with(|it| it.load_deadline = time)
    }

    /// Sets the time after a failed refresh in which the stale value is served without another
    /// refresh.
    pub fn backoff(self, time: Duration) -> Self {
        self.with(|it| it.backoff = Some(time))
    }

    /// Sets the part of `ttl` by which the lifetime is prolonged at random at most, from 0 to 1.
    pub fn jitter(self, fraction: f64) -> Self {
        self.with(|it| it.jitter = fraction)
    }

    /// Sets the time for which it is remembered that the loader found no value. The cache must have
    /// the setting [`negative_ttl`](crate::FetchSettings::negative_ttl) in its table `fetch`.
    pub fn negative_ttl(self, time: Duration) -> Self {
        self.with(|it| it.negative_ttl = time)
    }

    /// Sets the time for which this process remembers the error of a load: callers get it instead
    /// of another load, or the stale value if there is one.
    pub fn error_ttl(self, time: Duration) -> Self {
        self.with(|it| it.error_ttl = time)
    }

    /// Fences the load: its value is stored only if no process has written or deleted the key since
    /// the load began. A value that was deleted is never served again.
    ///
    /// The cache must have the setting [`fenced`](crate::FetchSettings::fenced) in its table
    /// `fetch`, because then all of its reads know the leases of loads.
    pub fn fenced(self) -> Self {
        self.with(|it| it.fenced = true)
    }

    /// Sets the revision of the value: of [`prime`](Self::prime), and of a load whose loader does
    /// not call [`LoadContext::revision`]. The value is not stored if a newer revision is, see
    /// [`Cache::set_revision`].
    ///
    /// The cache must have the setting [`revisions`](crate::CacheSettings::revisions).
    pub fn revision(self, revision: u64) -> Self {
        self.with(|it| it.revision = Some(revision))
    }

    /// Adds tags to those of the handle: see [`Cache::with_tags`]. The versions of the tags are
    /// read before the loader runs. A loader that knows a tag only when it has the value adds it by
    /// [`LoadContext::tag`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory; use std::convert::Infallible;
    /// # let cache = Cache::builder(Memory::new()).tags(true).build("test")?;
    /// let load = |_| async { Ok::<_, Infallible>(7) };
    /// assert_eq!(cache.fetch("seats").tags(["org:3"]).load(load).await?, 7);
    /// cache.invalidate_tags(["org:3"]).await?;
    /// assert_eq!(cache.get::<u32>("seats").await?, None);
    /// # Ok(()) }
    /// ```
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = Some(Arc::new(self.cache.tag_set(self.tags.as_deref(), tags)));
        self
    }

    /// Sets when a fresh value is loaded again in the background.
    pub fn refresh_ahead(self, when: RefreshAhead) -> Self {
        self.with(|it| it.refresh_ahead = when)
    }

    /// Loads although there is a value, and stores the new one. A load that began before this call
    /// does not store its value; callers that come later wait for this load.
    pub fn force(mut self) -> Self {
        self.mode = Mode::Force;
        self
    }

    /// Loads without reading or writing the store, and without other callers. [`Bypass`] does this
    /// for all calls of a task.
    ///
    /// [`Bypass`]: crate::Bypass
    pub fn bypass(mut self) -> Self {
        self.mode = Mode::Bypass;
        self
    }

    /// Returns the value of the key: the stored one, or the one that `load` returns.
    ///
    /// `load` and its future run as a task of the caller's tokio runtime, so they own what they
    /// need. A scope of [`CACHES`](crate::CACHES) does not reach them.
    ///
    /// # Errors
    /// `Loader` if the loader failed or panicked, or if loads wait for each other in a cycle.
    /// `TimedOut` if the load exceeded `load_deadline`, or the caller waited for `hard_timeout`.
    /// `Runtime` if a load is needed and the caller is not in a tokio runtime. `Config` if a
    /// setting of the fetch is invalid. All others as [`Cache::get_or_set`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the load goes on for other callers that wait, and for a stale
    /// value. Otherwise it ends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, ErrorKind, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// let parse = |text: &'static str| move |_| async move { text.parse::<u32>() };
    /// let error = cache.fetch("answer").load(parse("42!")).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Loader);
    /// assert!(error.loader::<std::num::ParseIntError>().is_some());
    /// assert_eq!(cache.fetch("answer").ttl(secs(60)).load(parse("42")).await?, 42);
    /// # Ok(()) }
    /// ```
    pub fn load<T, E, L, F>(
        self,
        load: L,
    ) -> impl Future<Output = Result<T>> + use<'a, V, T, E, L, F>
    where
        V: Encode<T> + Decode<T>,
        T: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.load_as::<ByValue, T, E, L, F>(load)
    }

    /// Returns the value of the key as [`load`](Self::load) does, or `None` if the source has none.
    /// `None` is remembered for [`negative_ttl`](Self::negative_ttl).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Cancel safety
    /// As [`load`](Self::load).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Caches, secs}; use cache_memory as _;
    /// # use std::convert::Infallible;
    /// let caches = Caches::from_toml(r#"
    ///     [caches.default]
    ///     backend = "memory"
    ///     [caches.default.fetch]
    ///     negative_ttl = "1m"
    /// "#)?;
    /// let cache = caches.get("default")?;
    /// let nobody = |_| async { Ok::<_, Infallible>(None::<String>) };
    /// assert_eq!(cache.fetch("user:7").load_optional(nobody).await?, None);
    /// let somebody = |_| async { Ok::<_, Infallible>(Some("Ada".to_owned())) };
    /// assert_eq!(cache.fetch("user:7").load_optional(somebody).await?, None, "remembered");
    /// # Ok(()) }
    /// ```
    pub async fn load_optional<T, E, L, F>(self, load: L) -> Result<Option<T>>
    where
        V: Encode<T> + Decode<T>,
        T: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<Option<T>, E>> + Send + 'static,
    {
        let load = |context| async move { load(context).await.map(Loaded::from) };
        self.fetched::<ByValue, T, _, _, _>(true, load).await.map(|it| it.value)
    }

    /// Returns the value of the key as [`load`](Self::load) does, and how it was found. The loader
    /// can say that there is no value, or that the stored one is still right.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Cancel safety
    /// As [`load`](Self::load).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, FetchOutcome, Loaded}; use cache_memory::Memory;
    /// # use std::convert::Infallible;
    /// # let cache = Cache::new("test", Memory::new());
    /// let load = |_| async { Ok::<_, Infallible>(Loaded::Value(7)) };
    /// let first = cache.fetch("k").outcome(load).await?;
    /// assert!(matches!(first.outcome, FetchOutcome::Loaded { .. }));
    /// let second = cache.fetch("k").outcome(load).await?;
    /// assert!(matches!(second.outcome, FetchOutcome::Hit { .. }));
    /// assert_eq!(second.value, Some(7));
    /// # Ok(()) }
    /// ```
    pub fn outcome<T, E, L, F>(
        self,
        load: L,
    ) -> impl Future<Output = Result<Fetched<T>>> + use<'a, V, T, E, L, F>
    where
        V: Encode<T> + Decode<T>,
        T: 'static,
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
        L: FnOnce(LoadContext<V>) -> F + Send + 'static,
        F: Future<Output = Result<Loaded<T>, E>> + Send + 'static,
    {
        self.fetched::<ByValue, T, E, L, F>(true, load)
    }

    /// Stores a value that comes from elsewhere, with the lifetime and the grace of the fetch. With
    /// a [`revision`](Self::revision), the call has no effect if a newer one is stored.
    ///
    /// # Errors
    /// `Config` if a setting of the fetch is invalid. All others as [`Cache::set`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the new value is stored as a whole or not at all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::new("test", Memory::new());
    /// cache.fetch("k").ttl(secs(60)).prime(&7).await?;
    /// assert_eq!(cache.get::<i32>("k").await?, Some(7));
    /// # Ok(()) }
    /// ```
    pub fn prime<T: ?Sized>(
        self,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, V, T>
    where
        V: Encode<T>,
    {
        let cache = self.tagged_cache();
        let write = self.to_write(value);
        async move { cache.write_stored(write?).await }
    }
}

// A derive would demand it of the form.
impl<V: Form> Clone for Fetch<'_, V> {
    fn clone(&self) -> Self {
        Self { tags: self.tags.clone(), ..*self }
    }
}

impl<V: Form> fmt::Debug for Fetch<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("key", &self.key).field("policy", &self.policy).finish()
    }
}
