//! The one error type of the workspace: a kind to match on, a message, context and a source.

use std::{any::Any, borrow::Cow, fmt, sync::Arc};

/// `Result` with [`Error`] as the default error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from a cache.
///
/// One pointer wide, and cheap to clone, so that callers who share one load can share its failure. Its
/// text holds what was wrong and where (alias, backend, operation, key), and never a value or a password.
///
/// ```
/// use cache_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "connection refused").with_context("alias", "redis_fast");
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.to_string(), "store unavailable: connection refused (alias: redis_fast)");
/// assert_eq!(size_of::<Error>(), size_of::<usize>());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Repr>);

/// What went wrong, coarsely: the part that callers may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Settings could not be read or do not make sense, or the call cannot be made from here (no runtime).
    Config,
    /// No cache has that alias.
    UnknownAlias,
    /// The call needs a tokio runtime that the calling thread does not have, or must not run on
    /// this thread (a blocking call where tasks are polled).
    Runtime,
    /// The key breaks the rules for keys.
    InvalidKey,
    /// The operation needs the key to exist, and it does not (`incr`, `incr_version`).
    KeyNotFound,
    /// `incr` met a value that is not a canonical integer.
    NotAnInteger,
    /// The result of an increment is outside `i64`, or the version is.
    Overflow,
    /// The value is larger than the store takes; the old value is gone.
    TooLarge,
    /// A value cannot be encoded, or (in strict mode) stored bytes cannot be decoded.
    Codec,
    /// The key holds something that is not a byte string: a list of another program, for example.
    WrongType,
    /// The store could not be reached, or refused to serve.
    Unavailable,
    /// The store did not answer in time; the outcome of a write is unknown.
    TimedOut,
    /// The store or the platform cannot do this.
    Unsupported,
    /// The loader given to `get_or_try_set` failed, or loads wait for each other in a circle.
    Loader,
    /// Anything else that the store said.
    Backend,
}

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<Source>,
    ignored_by_breaker: bool,
}

#[derive(Clone)]
enum Source {
    Other(Arc<dyn std::error::Error + Send + Sync>),
    Loader(Arc<dyn FromLoader>),
}

impl Error {
    /// Makes an error of `kind`. The message must hold no value and no secret.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Repr {
            kind,
            message: message.into(),
            context: Vec::new(),
            source: None,
            ignored_by_breaker: false,
        }))
    }

    /// Creates the error of a value that is too large. `limit` names the setting that allows at most
    /// `max` bytes.
    ///
    /// ```
    /// use cache_core::{Error, ErrorKind};
    ///
    /// let error = Error::too_large(12, 10, "options.max_value_bytes");
    /// assert_eq!(error.kind(), ErrorKind::TooLarge);
    /// ```
    #[cold]
    pub fn too_large(len: usize, max: u64, limit: &str) -> Self {
        let message = format!("value too large: {len} bytes; {limit} allows {max}");
        Self::new(ErrorKind::TooLarge, message)
    }

    /// Adds the error that caused this one. It must not quote its input, which may be a value or a password.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Source::Other(Arc::new(source)));
        self
    }

    /// Adds a `name: value` pair to the text (alias, backend, operation, key). A name that is already
    /// there keeps its first value: who was nearest to the fault knew best.
    ///
    /// Clones made before are not changed.
    #[must_use]
    pub fn with_context(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if self.context(name).is_none() {
            Arc::make_mut(&mut self.0).context.push((name, value.into()));
        }
        self
    }

    /// Marks an error that says nothing about the server's health: a lock on one key, a slow statement, a wait behind
    /// other callers. The circuit breaker does not count it.
    ///
    /// ```
    /// use cache_core::{Clock, Error, ErrorKind, layer::{Breaker, BreakerSettings, BreakerState}};
    ///
    /// let breaker = Breaker::new(BreakerSettings::default(), Clock::system());
    /// let locked = Error::new(ErrorKind::TimedOut, "the row is locked").ignored_by_breaker();
    /// for _ in 0..100 {
    ///     breaker.admit()?.record(Some(&locked));
    /// }
    /// assert_eq!(breaker.state(), BreakerState::Closed);
    /// # Ok::<_, Error>(())
    /// ```
    #[must_use]
    pub fn ignored_by_breaker(mut self) -> Self {
        Arc::make_mut(&mut self.0).ignored_by_breaker = true;
        self
    }

    /// Whether the circuit breaker counts this error as a failure of the server: `Unavailable` and `TimedOut`, unless
    /// [`ignored_by_breaker`](Self::ignored_by_breaker) marked it.
    pub fn counts_for_breaker(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::TimedOut)
            && !self.0.ignored_by_breaker
    }

    /// Whether [`ignored_by_breaker`](Self::ignored_by_breaker) marked it.
    pub(crate) fn is_ignored_by_breaker(&self) -> bool {
        self.0.ignored_by_breaker
    }

    /// A loader's own error, kept under its own type.
    pub(crate) fn from_loader<E>(error: E) -> Self
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let mut res = Self::new(ErrorKind::Loader, "the loader failed");
        Arc::make_mut(&mut res.0).source = Some(Source::Loader(Arc::new(LoaderError(error))));
        res
    }

    /// The kind to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message, without kind, context and source.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The value of a context pair: `"alias"`, `"backend"`, `"operation"`, `"key"`, or a setting's path at `"setting"`.
    pub fn context(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
    }

    /// The loader's own error, if this is a load's failure and the loader's error type is `E`.
    ///
    /// Works for every error type that a loader may have, `anyhow::Error` and `String` among them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory;
    /// let cache = Cache::new("test", Memory::new());
    /// let error = cache
    ///     .get_or_try_set::<u32, _, _>("k", Timeout::Default, async || Err(std::io::Error::other("db down")))
    ///     .await
    ///     .unwrap_err();
    /// assert_eq!(error.loader::<std::io::Error>().unwrap().to_string(), "db down");
    /// # }
    /// ```
    pub fn loader<E: 'static>(&self) -> Option<&E> {
        match self.0.source.as_ref()? {
            Source::Loader(it) => it.as_any().downcast_ref::<LoaderError<E>>().map(|it| &it.0),
            Source::Other(_) => None,
        }
    }

    /// Moves the loader's own error out. Returns this error unchanged if the loader's error has another type, or if another caller
    /// holds it too: those who waited for one load share its failure. An error type that is `Clone` can be copied
    /// instead: `error.loader::<E>().cloned()`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use cache_core::{Cache, Timeout}; use cache_memory::Memory; use std::io;
    /// # let cache = Cache::new("test", Memory::new());
    /// let load = async || Err::<u32, _>(io::Error::other("db down"));
    /// let error = cache.get_or_try_set("k", Timeout::Default, load).await.unwrap_err();
    /// let error: io::Error = error.into_loader().unwrap();
    /// assert_eq!(error.to_string(), "db down");
    /// # }
    /// ```
    pub fn into_loader<E>(self) -> Result<E>
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let mut repr = Arc::try_unwrap(self.0).map_err(Self)?;
        let is_own = |it: &mut Source| matches!(it, Source::Loader(it) if it.as_any().is::<LoaderError<E>>());
        if let Some(Source::Loader(it)) = repr.source.take_if(is_own)
            && let Ok(own) = it.into_any().downcast::<LoaderError<E>>()
        {
            match Arc::try_unwrap(own) {
                Ok(own) => return Ok(own.0),
                Err(shared) => repr.source = Some(Source::Loader(shared)),
            }
        }
        Err(Self(Arc::new(repr)))
    }
}

impl ErrorKind {
    /// Whether `fail_open` hides errors of this kind from the caller: those that tell of the store's
    /// health, not of the call.
    pub const fn fails_open(self) -> bool {
        matches!(self, Self::Unavailable | Self::TimedOut | Self::Backend)
    }

    /// Whether a store reports by this kind that the key holds something that is not a value.
    pub(crate) const fn is_unreadable(self) -> bool {
        matches!(self, Self::Codec | Self::WrongType)
    }

    /// Every kind, for tables and metrics.
    pub const ALL: &[Self] = &[
        Self::Config,
        Self::UnknownAlias,
        Self::Runtime,
        Self::InvalidKey,
        Self::KeyNotFound,
        Self::NotAnInteger,
        Self::Overflow,
        Self::TooLarge,
        Self::Codec,
        Self::WrongType,
        Self::Unavailable,
        Self::TimedOut,
        Self::Unsupported,
        Self::Loader,
        Self::Backend,
    ];

    /// The kind's name, for labels: `TimedOut`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "Config",
            Self::UnknownAlias => "UnknownAlias",
            Self::Runtime => "Runtime",
            Self::InvalidKey => "InvalidKey",
            Self::KeyNotFound => "KeyNotFound",
            Self::NotAnInteger => "NotAnInteger",
            Self::Overflow => "Overflow",
            Self::TooLarge => "TooLarge",
            Self::Codec => "Codec",
            Self::WrongType => "WrongType",
            Self::Unavailable => "Unavailable",
            Self::TimedOut => "TimedOut",
            Self::Unsupported => "Unsupported",
            Self::Loader => "Loader",
            Self::Backend => "Backend",
        }
    }

    /// The kind in words, as errors begin with it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "bad configuration",
            Self::UnknownAlias => "no such cache",
            Self::Runtime => "wrong runtime",
            Self::InvalidKey => "invalid key",
            Self::KeyNotFound => "key not found",
            Self::NotAnInteger => "not an integer",
            Self::Overflow => "integer overflow",
            Self::TooLarge => "value too large",
            Self::Codec => "codec error",
            Self::WrongType => "wrong type",
            Self::Unavailable => "store unavailable",
            Self::TimedOut => "timed out",
            Self::Unsupported => "unsupported",
            Self::Loader => "load failed",
            Self::Backend => "store error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)?;
        for (n, (name, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name}: {value}", if n == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.0.context.is_empty() { "" } else { ")" })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut res = f.debug_struct("Error");
        res.field("kind", &self.0.kind).field("message", &self.0.message);
        for (name, value) in &self.0.context {
            res.field(name, value);
        }
        if let Some(source) = &self.0.source {
            res.field("source", &source.as_error());
        }
        res.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(Source::as_error)
    }
}

impl Source {
    fn as_error(&self) -> &(dyn std::error::Error + 'static) {
        match self {
            Self::Other(it) => &**it,
            Self::Loader(it) => it.as_error(),
        }
    }
}

/// A [`LoaderError`] of some type.
trait FromLoader: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn as_error(&self) -> &(dyn std::error::Error + 'static);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<E: fmt::Display + fmt::Debug + Send + Sync + 'static> FromLoader for LoaderError<E> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_error(&self) -> &(dyn std::error::Error + 'static) {
        self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Makes an [`std::error::Error`] of whatever a loader returns: `anyhow::Error` and `String` are none.
struct LoaderError<E>(E);

impl<E: fmt::Display> fmt::Display for LoaderError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug> fmt::Debug for LoaderError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for LoaderError<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_added_to_a_clone_is_kept_and_the_original_is_unchanged() {
        let first = Error::new(ErrorKind::Backend, "odd");
        let second = first.clone().with_context("key", "a");
        assert_eq!(second.context("key"), Some("a"));
        assert_eq!(first.context("key"), None);
    }

    #[test]
    fn the_nearest_context_wins() {
        let error = Error::new(ErrorKind::Backend, "odd").with_context("key", "a");
        assert_eq!(error.with_context("key", "b").context("key"), Some("a"));
    }

    #[test]
    fn a_loaders_error_comes_back_under_its_own_type() {
        let error = Error::from_loader(anyhow::anyhow!("db down"));
        assert_eq!(error.loader::<anyhow::Error>().unwrap().to_string(), "db down");
        assert!(error.loader::<std::io::Error>().is_none());
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "db down");
        assert_eq!(Error::from_loader("text").loader::<&str>(), Some(&"text"));
    }

    #[test]
    fn a_loaders_error_is_moved_out_by_its_last_holder() {
        let error = Error::from_loader(anyhow::anyhow!("db down")).with_context("key", "k");
        let error = error.into_loader::<String>().unwrap_err();
        let shared = error.clone();
        let error = error.into_loader::<anyhow::Error>().unwrap_err();
        assert_eq!(error.loader::<anyhow::Error>().unwrap().to_string(), "db down");
        let other = shared.with_context("operation", "get_or_set");
        let error = error.into_loader::<anyhow::Error>().unwrap_err();
        assert_eq!(error.context("key"), Some("k"), "the same error comes back");
        drop(error);
        assert_eq!(other.into_loader::<anyhow::Error>().unwrap().to_string(), "db down");
        let own = Error::new(ErrorKind::Config, "odd").into_loader::<String>().unwrap_err();
        assert_eq!(own.kind(), ErrorKind::Config);
    }

    #[test]
    fn kinds_have_their_own_names() {
        for &kind in ErrorKind::ALL {
            assert_eq!(kind.name(), format!("{kind:?}"));
        }
    }

    #[test]
    fn only_the_stores_own_faults_fail_open() {
        let open: Vec<_> = ErrorKind::ALL.iter().copied().filter(|it| it.fails_open()).collect();
        assert_eq!(open, [ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::Backend]);
    }
}
