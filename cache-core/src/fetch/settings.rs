use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::{
    config::{Period, optional_timeout},
    timeout::Timeout,
};

/// The defaults of [`Cache::fetch`](crate::Cache::fetch): the table `[caches.<alias>.fetch]`.
///
/// ```
/// let settings: cache_core::Settings = toml::from_str(r#"
///     [default]
///     backend = "memory"
///     [default.fetch]
///     ttl = "5m"
///     grace = "1h"
/// "#).unwrap();
/// let fetch = &settings.get("default").unwrap().fetch;
/// assert_eq!(fetch.ttl, Some(cache_core::secs(300)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FetchSettings {
    /// The time for which a loaded value is fresh. The `timeout` of the alias if unset. Keyspaces
    /// have lifetimes of their own, see [`Keyspace::ttl`](crate::Keyspace::ttl).
    #[serde(deserialize_with = "optional_timeout")]
    pub ttl: Option<Timeout>,
    /// The time after `ttl` in which the old value is served while a new one is loaded, and when
    /// the loader fails. No grace if unset.
    ///
    /// The setting is required for [`Fetch::grace`](crate::Fetch::grace): with it, every read of
    /// the alias also asks the store for the remaining lifetime. `grace = 0` allows single fetches
    /// to have a grace.
    pub grace: Option<Period>,
    /// How long a caller waits for a new value before it gets the stale one. 0 if unset.
    pub soft_timeout: Option<Period>,
    /// How long a caller waits at most for a value. Until the load deadline if unset.
    pub hard_timeout: Option<Period>,
    /// The time after a failed refresh in which the stale value is served without another refresh.
    /// 10 s if unset.
    pub backoff: Option<Period>,
    /// The part of `ttl` by which lifetimes are prolonged at random at most, from 0 to 1, so that
    /// values that were loaded together do not expire together. 0.1 if unset.
    ///
    /// `get_or_set` prolongs lifetimes only if this is set.
    pub jitter: Option<f64>,
    /// The time for which it is remembered that the loader found no value. Not remembered if unset.
    ///
    /// The setting is required for [`Fetch::negative_ttl`](crate::Fetch::negative_ttl), as `grace`
    /// is for its method.
    pub negative_ttl: Option<Period>,
    /// The time for which this process remembers the error of a load, for `fetch`. A write or
    /// delete of the key does not end it. Not remembered if unset.
    pub error_ttl: Option<Period>,
    /// The maximum number of loads in the background at a time. 64 if unset.
    pub max_refreshes: u32,
    /// When a fresh value is loaded again in the background, before it expires: a fraction of `ttl`
    /// such as 0.8, `"xfetch"`, or `"off"` (the default).
    pub refresh_ahead: RefreshAhead,
    /// Whether one process at a time refreshes a key. The others serve the old value meanwhile.
    /// `false` if unset.
    pub refresh_lock: bool,
    /// Whether loads are fenced: a value that another process deleted or wrote during the load is
    /// not overwritten. Not fenced if unset.
    ///
    /// The setting is required for [`Fetch::fenced`](crate::Fetch::fenced), because each read of
    /// the alias must then know the lease of a load. `fenced = false` allows single fetches to be
    /// fenced. A fenced load that finds no value costs one round trip more; a hit costs none.
    pub fenced: Option<bool>,
    /// Whether a fenced load waits while another process loads the key, for `load_deadline` at
    /// most. If `false`, it loads at once and does not store its value. `true` if unset.
    pub lease_wait: Option<bool>,
}

/// When a fresh value is loaded again in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RefreshAhead {
    /// After the value has expired.
    #[default]
    Off,
    /// When this fraction of the lifetime has passed, between 0 and 1.
    Fraction(f64),
    /// At a random time before the end of the lifetime. The time is the more likely the closer the
    /// end is and the longer the load takes (the `XFetch` algorithm). Of all processes, about one
    /// loads.
    XFetch,
}

impl FetchSettings {
    /// Returns settings with this grace and the defaults for everything else.
    ///
    /// ```
    /// use cache_core::{Cache, FetchSettings, secs};
    /// use cache_memory::Memory;
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// let cache = Cache::builder(Memory::new()).fetch(FetchSettings::with_grace(hour)).build("test")?;
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn with_grace(grace: impl Into<Period>) -> Self {
        Self { grace: Some(grace.into()), ..Self::default() }
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            ttl: None,
            grace: None,
            soft_timeout: None,
            hard_timeout: None,
            backoff: None,
            jitter: None,
            negative_ttl: None,
            error_ttl: None,
            max_refreshes: 64,
            refresh_ahead: RefreshAhead::Off,
            refresh_lock: false,
            fenced: None,
            lease_wait: None,
        }
    }
}

impl<'de> Deserialize<'de> for RefreshAhead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = RefreshAhead;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"off\", \"xfetch\", or a fraction of the lifetime such as 0.8")
            }
            fn visit_f64<E: de::Error>(self, it: f64) -> Result<RefreshAhead, E> {
                Ok(RefreshAhead::Fraction(it))
            }
            fn visit_str<E: de::Error>(self, it: &str) -> Result<RefreshAhead, E> {
                match it {
                    "off" => Ok(RefreshAhead::Off),
                    "xfetch" => Ok(RefreshAhead::XFetch),
                    _ => Err(E::custom(
                        "expected \"off\", \"xfetch\", or a fraction of the lifetime such as 0.8",
                    )),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Returns a period, or zero.
pub(super) fn or_zero(period: Option<Period>) -> Duration {
    period.map_or(Duration::ZERO, Duration::from)
}
