//! The cache of a function.

use std::{borrow::Cow, time::Duration};

use super::{Function, Share};
use crate::{
    cache::{Cache, Fetch},
    error::Result,
    global::CACHES,
    timeout::Timeout,
};

/// The cache of a function.
pub type Handle = Cow<'static, Cache>;

/// The rules of a function for its values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// The lifetime.
    pub ttl: Option<Timeout>,
    /// The time in which a stale value is served.
    pub grace: Option<Duration>,
    /// The part of the lifetime by which it is prolonged at random.
    pub jitter: Option<f64>,
    /// Whether loads are fenced.
    pub fenced: bool,
    /// Whether to load although there is a value.
    pub force: bool,
}

/// A call of a function through its cache.
#[derive(Debug)]
pub struct Call<'a, R> {
    /// The cache.
    pub cache: &'a Cache,
    /// The key, if the arguments have one.
    pub key: Result<String>,
    /// The rules.
    pub rules: Rules,
    /// How results that are not kept reach other callers.
    pub share: Share<R>,
}

impl Function {
    /// Returns the cache of the function.
    ///
    /// # Panics
    /// If no caches are installed, if the alias is not defined, or if it lacks a setting that the
    /// function needs.
    #[track_caller]
    pub fn cache(&self) -> Handle {
        let cache = match CACHES.get(self.alias) {
            Ok(cache) => cache,
            // panics: as `CACHES[alias]` does: the function would otherwise never be cached.
            Err(error) => panic!("{}", self.named(error)),
        };
        match self.handle(cache) {
            Ok(None) => Cow::Borrowed(cache),
            Ok(Some(own)) => Cow::Owned(own),
            // panics: as for a missing alias.
            Err(error) => panic!("{error}"),
        }
    }
}

impl Rules {
    /// Sets the rules of a fetch.
    pub fn of<'a>(&self, mut fetch: Fetch<'a>) -> Fetch<'a> {
        if let Some(ttl) = self.ttl {
            fetch = fetch.ttl(ttl);
        }
        if let Some(grace) = self.grace {
            fetch = fetch.grace(grace);
        }
        if let Some(jitter) = self.jitter {
            fetch = fetch.jitter(jitter);
        }
        if self.fenced {
            fetch = fetch.fenced();
        }
        if self.force { fetch.force() } else { fetch }
    }
}
