use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use super::{ByteSize, Location, Options, Period, units};
use crate::{
    error::{Error, ErrorKind, Result},
    fetch::FetchSettings,
    key::{LongKeys, Namespace},
    layer::{BreakerSettings, RetrySettings},
    near::NearSettings,
    timeout::Timeout,
    value::{Codec, Compression},
};

/// The caches of a program by alias: the `caches` table of a settings file.
///
/// It is a plain serde type: a program that loads its configuration with another library can pass
/// the table to [`CachesBuilder::settings`](crate::CachesBuilder::settings).
///
/// ```
/// use cache_core::{Caches, Settings};
///
/// #[derive(serde::Deserialize)]
/// struct MyConfig {
///     port: u16,
///     caches: Settings,
/// }
/// let json = r#"{"port": 80, "caches": {"default": {"backend": "dummy", "timeout": "5m"}}}"#;
/// let config: MyConfig = serde_json::from_str(json).unwrap();
/// let caches = Caches::builder().settings(config.caches).build()?;
/// assert_eq!((config.port, caches.aliases().count()), (80, 1));
/// # Ok::<_, cache_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, CacheSettings>);

impl Settings {
    /// Creates settings without a cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the settings of a cache.
    pub fn get(&self, alias: &str) -> Option<&CacheSettings> {
        self.0.get(alias)
    }

    /// Adds a cache, and returns the settings that the alias had before.
    pub fn insert(
        &mut self,
        alias: impl Into<String>,
        settings: CacheSettings,
    ) -> Option<CacheSettings> {
        self.0.insert(alias.into(), settings)
    }

    /// Returns the aliases, sorted.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the caches by alias, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &CacheSettings)> {
        self.0.iter().map(|(alias, settings)| (alias.as_str(), settings))
    }

    /// Adds the caches of `other`, which replace those of the same alias.
    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl FromIterator<(String, CacheSettings)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, CacheSettings)>>(caches: I) -> Self {
        Self(caches.into_iter().collect())
    }
}

/// One `[caches.<alias>]` table. Unknown names in the table are errors.
///
/// ```
/// let settings: cache_core::Settings = toml::from_str(r#"
///     [default]
///     backend = "memory"
///     timeout = "5m"
///     key_prefix = "shop"
/// "#).unwrap();
/// assert_eq!(settings.get("default").unwrap().timeout, cache_core::secs(300));
/// // `Debug` does not print settings that may contain a password.
/// assert!(!format!("{settings:?}").contains("location"));
/// ```
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheSettings {
    /// The name of the backend: `memory`, `redis`, `memcached`, `db`, `file`, `dummy`, or the name
    /// of a third party's backend.
    pub backend: String,
    /// The place of the store in the backend's own notation: a string or a list of strings.
    #[serde(default)]
    pub location: Location,
    /// The lifetime of entries that are written with `Timeout::Default`: seconds, `"5m"` or
    /// `"never"`. 300 seconds if unset.
    #[serde(default, deserialize_with = "units::timeout")]
    pub timeout: Timeout,
    /// The prefix of every key, so that several programs can share a store.
    #[serde(default)]
    pub key_prefix: String,
    /// The version of keys: each version is a separate set of entries. 1 if unset.
    #[serde(default = "one")]
    pub version: i64,
    /// The encoding of values: `json`, or `msgpack` or `postcard` with that feature.
    #[serde(default)]
    pub codec: Codec,
    /// The codecs whose values are read beside those of `codec`. Values of other codecs are misses
    /// and stay. Integers are always read. If unset, the values of every codec are read whose
    /// feature is enabled.
    ///
    /// Change the codec of a running service in three steps: a release that can read the new codec,
    /// one that writes it and reads both (`codec = "postcard"`, `read = ["json"]`), and, when the
    /// old entries have expired, one without the old codec (`read = []`).
    #[serde(default)]
    pub read: Option<Vec<Codec>>,
    /// The compression of values: `none` (the default), or `lz4` or `zstd` with that feature.
    /// Integers are not compressed, nor values of which this would save less than an eighth. Bytes
    /// of [`Cache::bytes`](crate::Cache::bytes) are compressed. Compressed values are read with any
    /// setting if the feature is enabled.
    #[serde(default)]
    pub compression: Compression,
    /// The size from which values are compressed. 1 KiB if unset. An error without `compression`.
    #[serde(default)]
    pub compress_from: Option<ByteSize>,
    /// Whether a failing store reads as empty (`true`, the default) or its errors reach the caller.
    #[serde(default = "yes")]
    pub fail_open: bool,
    /// Whether writes, deletes and loaded values may have a revision, so that an older one never
    /// replaces a newer one: see [`Cache::set_revision`](crate::Cache::set_revision). `false` if
    /// unset.
    ///
    /// With it, every read also asks the store for the remaining lifetime. All programs that share
    /// the keys need the setting.
    #[serde(default)]
    pub revisions: bool,
    /// The treatment of keys that are too long or contain spaces: `error` (the default) or `hash`.
    #[serde(default)]
    pub long_keys: LongKeys,
    /// The longest that a round trip to a store may take once connected. 500 ms if unset.
    ///
    /// A batch may take it once per 1000 keys; a `set_many` may take it once per 4 MiB of values if
    /// that is longer. `deadline` and `breaker` apply to stores that may wait; they have no effect
    /// on stores in the process.
    #[serde(default = "deadline")]
    pub deadline: Period,
    /// The longest that connecting may take. 1 s if unset.
    #[serde(default = "connect_deadline")]
    pub connect_deadline: Period,
    /// The repetition of calls that the server did not answer. None if unset. An error for a store
    /// that never waits.
    #[serde(default)]
    pub retry: RetrySettings,
    /// The circuit breaker: when calls to a server that fails too often end at once. Enabled if
    /// unset.
    #[serde(default)]
    pub breaker: BreakerSettings,
    /// The longest that callers of `get_or_set` wait for another caller's load, and that a load of
    /// `fetch` may take. 30 s if unset.
    #[serde(default = "load_deadline")]
    pub load_deadline: Period,
    /// Whether values may have tags: see [`Cache::with_tags`](crate::Cache::with_tags). `false` if
    /// unset, because the reads of an alias with tags look for them in what is stored.
    #[serde(default)]
    pub tags: bool,
    /// For how long this process remembers the version of a tag or a namespace: an invalidation by
    /// another process may be unknown here for this time. Its own invalidations take effect at
    /// once. 1 s if unset, and 1 hour at most. With 0, each call reads the version from the store.
    #[serde(default = "tag_staleness")]
    pub tag_staleness: Period,
    /// The defaults of [`Cache::fetch`](crate::Cache::fetch), and whether values may have a grace.
    #[serde(default)]
    pub fetch: FetchSettings,
    /// The near tier: a bounded store in the process's memory in front of the store. None if unset.
    /// An error for a store in the process.
    #[serde(default)]
    pub near: Option<NearSettings>,
    /// The bus of a store in the process: the URL of a server that passes messages on, such as
    /// `redis://host:6379`. Deletes, clears and invalidated tags then reach the memory of all
    /// processes with the same `bus` and `key_prefix`. None if unset. An error for any other store,
    /// which may have a near tier instead.
    ///
    /// A list of URLs is for drivers that need no options for several servers. Redis is one server,
    /// and the URL of PostgreSQL may have several hosts. The `deadline` and `connect_deadline` of
    /// the alias apply to the messages.
    #[serde(default)]
    pub bus: Location,
    /// The backend's own options.
    #[serde(default)]
    pub options: Options,
}

impl CacheSettings {
    /// Returns the settings of an alias with this backend and the defaults for everything else.
    ///
    /// ```
    /// let mut settings = cache_core::CacheSettings::new("memory");
    /// settings.key_prefix = "shop".into();
    /// assert!(settings.fail_open && settings.version == 1);
    /// ```
    pub fn new(backend: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            location: Location::default(),
            timeout: Timeout::default(),
            key_prefix: String::new(),
            version: one(),
            codec: Codec::default(),
            read: None,
            compression: Compression::default(),
            compress_from: None,
            fail_open: yes(),
            revisions: false,
            long_keys: LongKeys::default(),
            deadline: deadline(),
            connect_deadline: connect_deadline(),
            retry: RetrySettings::default(),
            breaker: BreakerSettings::default(),
            load_deadline: load_deadline(),
            tags: false,
            tag_staleness: tag_staleness(),
            fetch: FetchSettings::default(),
            near: None,
            bus: Location::default(),
            options: Options::default(),
        }
    }
}

impl CacheSettings {
    /// Returns the keys of this alias.
    pub(crate) fn namespace(&self, alias: &str) -> Result<Namespace> {
        Namespace::new(&self.key_prefix).map_err(|error| {
            Error::new(ErrorKind::Config, error.message().replace("the key", "the prefix"))
                .with_context("setting", format!("caches.{alias}.key_prefix"))
        })
    }
}

impl fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheSettings")
            .field("backend", &shown(&self.backend))
            .field("timeout", &self.timeout)
            .field("key_prefix", &self.key_prefix)
            .field("version", &self.version)
            .field("codec", &self.codec)
            .field("read", &self.read)
            .field("compression", &self.compression)
            .field("fail_open", &self.fail_open)
            .field("revisions", &self.revisions)
            .finish_non_exhaustive()
    }
}

/// Returns a `backend` for a message. A name with other characters is hidden, because it may be a
/// URL with a password.
pub(crate) fn shown(backend: &str) -> &str {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"_-.".contains(&it);
    if backend.len() <= 80 && backend.bytes().all(is_plain) { backend } else { "(hidden)" }
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}

fn deadline() -> Period {
    Period::from_millis(500)
}

fn connect_deadline() -> Period {
    Period::from_secs(1)
}

fn load_deadline() -> Period {
    Period::from_secs(30)
}

fn tag_staleness() -> Period {
    Period::from_secs(1)
}
