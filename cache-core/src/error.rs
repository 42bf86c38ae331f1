//! The error type of all crates of the workspace: a kind to match on, a message, context and a
//! source.

mod kind;
mod loader;

use std::{borrow::Cow, fmt, sync::Arc};

pub use self::kind::ErrorKind;
use self::loader::{FromLoader, LoaderError};

/// `Result` with [`Error`] as the default error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a cache.
///
/// An `Error` is one pointer wide and cheap to clone, so that all callers that share a load can
/// share its error. The text names the problem and its place (alias, backend, operation, key). It
/// never contains a value or a password.
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
    /// Creates an error of `kind`. The message must not contain a value or a secret.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Repr {
            kind,
            message: message.into(),
            context: Vec::new(),
            source: None,
            ignored_by_breaker: false,
        }))
    }

    /// Creates the error of a value that is too large. `limit` names the setting that allows at
    /// most `max` bytes.
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

    /// Sets the error that caused this error. The source must not quote its input, because the
    /// input may be a value or a password.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Source::Other(Arc::new(source)));
        self
    }

    /// Adds a `name: value` pair to the text (alias, backend, operation, key). If the name already
    /// has a value, that value stays: the code next to the fault sets the context first.
    ///
    /// Earlier clones of this error do not change.
    #[must_use]
    pub fn with_context(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if self.context(name).is_none() {
            Arc::make_mut(&mut self.0).context.push((name, value.into()));
        }
        self
    }

    /// Marks this error as irrelevant for the server's health, for example a lock on one key, a
    /// slow statement, or a wait for other callers. The circuit breaker does not count it.
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

    /// Returns whether the circuit breaker counts this error as a failure of the server. It counts
    /// `Unavailable` and `TimedOut`, except errors marked by
    /// [`ignored_by_breaker`](Self::ignored_by_breaker).
    pub fn counts_for_breaker(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::TimedOut)
            && !self.0.ignored_by_breaker
    }

    /// Returns whether [`ignored_by_breaker`](Self::ignored_by_breaker) marked this error.
    pub(crate) fn is_ignored_by_breaker(&self) -> bool {
        self.0.ignored_by_breaker
    }

    /// Wraps a loader's error, which keeps its type.
    pub(crate) fn from_loader<E>(error: E) -> Self
    where
        E: fmt::Display + fmt::Debug + Send + Sync + 'static,
    {
        let mut res = Self::new(ErrorKind::Loader, "the loader failed");
        Arc::make_mut(&mut res.0).source = Some(Source::Loader(Arc::new(LoaderError(error))));
        res
    }

    /// Returns the kind to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message without kind, context and source.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the value of a context pair: `"alias"`, `"backend"`, `"operation"`, `"key"`, or
    /// `"setting"` with the path of a setting.
    pub fn context(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
    }

    /// Returns the loader's own error, if a loader of error type `E` caused this error.
    ///
    /// Every error type that a loader may have works, including `anyhow::Error` and `String`.
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

    /// Converts this error into the loader's own error.
    ///
    /// Callers that waited for the same load share its error. If the error type is `Clone`,
    /// `error.loader::<E>().cloned()` copies a shared error.
    ///
    /// # Errors
    /// Returns this error unchanged if the loader's error has another type, or if another caller
    /// still holds it.
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
    fn first_value_of_a_context_name_is_kept() {
        let error = Error::new(ErrorKind::Backend, "odd").with_context("key", "a");
        assert_eq!(error.with_context("key", "b").context("key"), Some("a"));
    }

    #[test]
    fn loader_returns_the_error_of_the_matching_type() {
        let error = Error::from_loader(anyhow::anyhow!("db down"));
        assert_eq!(error.loader::<anyhow::Error>().unwrap().to_string(), "db down");
        assert!(error.loader::<std::io::Error>().is_none());
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "db down");
        assert_eq!(Error::from_loader("text").loader::<&str>(), Some(&"text"));
    }

    #[test]
    fn into_loader_moves_the_error_out_only_for_its_last_holder() {
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
}
