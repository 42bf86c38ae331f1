//! Durations and sizes with units: `"5m"`, `"64MiB"`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::{
    key::LongKeys,
    timeout::Timeout,
    value::{Codec, Compression},
};

/// A duration in the settings: a number of seconds, or a text such as `"500ms"`, `"5m"` or `"1h
/// 30m"`. Never negative, NaN or infinite.
///
/// ```
/// use cache_core::config::Period;
/// use std::time::Duration;
///
/// #[derive(serde::Deserialize)]
/// struct Options { interval: Period }
/// let options: Options = toml::from_str("interval = '1m 30s'").unwrap();
/// assert_eq!(Duration::from(options.interval), Duration::from_secs(90));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// Creates a duration of `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Creates a duration of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Period> for Duration {
    fn from(it: Period) -> Self {
        it.0
    }
}

impl From<Duration> for Period {
    fn from(it: Duration) -> Self {
        Self(it)
    }
}

/// A size in the settings: a number of bytes, or a text such as `"64MiB"` (1024 × 1024) or `"64MB"`
/// (1000 × 1000).
///
/// ```
/// use cache_core::config::ByteSize;
///
/// #[derive(serde::Deserialize)]
/// struct Options { max_bytes: ByteSize }
/// let options: Options = toml::from_str("max_bytes = '64MiB'").unwrap();
/// assert_eq!(options.max_bytes.bytes(), 64 * 1024 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Creates a size of `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

const PERIOD: &str = "a number of seconds that is not negative, or a duration such as \"500ms\", \"5m\" or \"1h 30m\": whole numbers with \
                      the units ms, s, m (minutes), h, d or w";
const SIZE: &str = "a number of bytes that is not negative, or a size such as \"64MiB\" or \"1GB\"";
const TIMEOUT: &str = "a number of seconds that is not negative, \"never\", or a duration such as \"5m\" or \"1h 30m\": whole numbers with the units \
     ms, s, m (minutes), h, d or w";

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(PERIOD, seconds, |it: &str| duration(it).map(Self)))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = |it: Number| match it {
            Number::Whole(it) => Some(Self(it)),
            Number::Float(_) => None,
        };
        deserializer.deserialize_any(Quantity(SIZE, number, |it: &str| {
            bytesize::ByteSize::from_str(it).ok().map(|it| Self(it.as_u64()))
        }))
    }
}

/// Deserializes the setting `timeout`.
pub(super) fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timeout, D::Error> {
    let number = |it| seconds(it).map(|it| Timeout::After(it.0));
    deserializer.deserialize_any(Quantity(TIMEOUT, number, |it: &str| match it {
        "never" => Some(Timeout::Never),
        _ => duration(it).map(Timeout::After),
    }))
}

/// Deserializes a timeout that may be unset, like the setting `timeout`.
pub(crate) fn optional_timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timeout>, D::Error> {
    timeout(deserializer).map(Some)
}

/// Units with their length in milliseconds. Months and years are missing because their length
/// varies, and because `M` is mistaken for minutes.
const UNITS: &[(&[&str], u64)] = &[
    (&["ms", "msec", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

/// Parses whole numbers, each with its unit: `5m`, `1h 30m`, `2 days`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut millis = None;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|it: char| !it.is_ascii_digit())?);
        let after = after.trim_start();
        let end = after.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        let part = digits.parse::<u64>().ok()?.checked_mul(*factor)?;
        millis = Some(millis.unwrap_or(0_u64).checked_add(part)?);
        rest = after.trim_start();
    }
    millis.map(Duration::from_millis)
}

/// Describes why a text is not a duration, without quoting it.
fn hint(text: &str) -> &'static str {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok();
    let unit = text.trim_start_matches(|it: char| it.is_ascii_digit() || it == ' ' || it == '.');
    if is_number {
        "; a number is written without quotes, or with its unit"
    } else if unit == "M" && unit.len() < text.len() {
        "; `M` is not a unit: a minute is `m`, a month is `30d`"
    } else {
        ""
    }
}

fn seconds(it: Number) -> Option<Period> {
    match it {
        Number::Whole(it) => Some(Period::from_secs(it)),
        Number::Float(it) => Duration::try_from_secs_f64(it).ok().map(Period),
    }
}

#[derive(Clone, Copy)]
enum Number {
    Whole(u64),
    Float(f64),
}

/// A visitor of a number or a text. The error contains the allowed forms and never the value, which
/// may be secret.
struct Quantity<N, W>(&'static str, N, W);

impl<T, N, W> Visitor<'_> for Quantity<N, W>
where
    N: Fn(Number) -> Option<T>,
    W: Fn(&str) -> Option<T>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_u64<E: de::Error>(self, it: u64) -> Result<T, E> {
        (self.1)(Number::Whole(it)).ok_or_else(|| expected(self.0))
    }
    fn visit_i64<E: de::Error>(self, it: i64) -> Result<T, E> {
        let number = u64::try_from(it).ok().map(Number::Whole);
        number.and_then(self.1).ok_or_else(|| expected(self.0))
    }
    fn visit_f64<E: de::Error>(self, it: f64) -> Result<T, E> {
        (self.1)(Number::Float(it)).ok_or_else(|| expected(self.0))
    }
    fn visit_str<E: de::Error>(self, it: &str) -> Result<T, E> {
        (self.2)(it).ok_or_else(|| expected(&format!("{}{}", self.0, hint(it))))
    }
}

fn expected<E: de::Error>(what: &str) -> E {
    E::custom(format_args!("expected {what}"))
}

/// Implements `Deserialize` for a type whose values are a few words.
macro_rules! word {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                match word.as_str() {
                    $($word => $value.map_err(de::Error::custom),)+
                    _ => Err(expected(&[$(concat!("\"", $word, "\"")),+].join(" or "))),
                }
            }
        }
    };
}

word!(Codec {
    "json" => Ok::<_, &str>(Codec::Json),
    "msgpack" => msgpack(),
    "postcard" => postcard(),
});

word!(Compression {
    "none" => Ok::<_, &str>(Compression::None),
    "lz4" => lz4(),
    "zstd" => zstd(),
});

word!(LongKeys {
    "error" => Ok::<_, &str>(LongKeys::Error),
    "hash" => hash(),
});

#[cfg(feature = "msgpack")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn msgpack() -> Result<Codec, &'static str> {
    Ok(Codec::MsgPack)
}

#[cfg(not(feature = "msgpack"))]
fn msgpack() -> Result<Codec, &'static str> {
    Err("the codec \"msgpack\" needs cache-core's feature `msgpack`: enable it in Cargo.toml")
}

#[cfg(feature = "postcard")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn postcard() -> Result<Codec, &'static str> {
    Ok(Codec::Postcard)
}

#[cfg(not(feature = "postcard"))]
fn postcard() -> Result<Codec, &'static str> {
    Err("the codec \"postcard\" needs cache-core's feature `postcard`: enable it in Cargo.toml")
}

#[cfg(feature = "lz4")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn lz4() -> Result<Compression, &'static str> {
    Ok(Compression::Lz4)
}

#[cfg(not(feature = "lz4"))]
fn lz4() -> Result<Compression, &'static str> {
    Err("compression = \"lz4\" needs cache-core's feature `lz4`: enable it in Cargo.toml")
}

#[cfg(feature = "zstd")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn zstd() -> Result<Compression, &'static str> {
    Ok(Compression::Zstd)
}

#[cfg(not(feature = "zstd"))]
fn zstd() -> Result<Compression, &'static str> {
    Err("compression = \"zstd\" needs cache-core's feature `zstd`: enable it in Cargo.toml")
}

#[cfg(feature = "long-keys")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it is an error")]
fn hash() -> Result<LongKeys, &'static str> {
    Ok(LongKeys::Hash)
}

#[cfg(not(feature = "long-keys"))]
fn hash() -> Result<LongKeys, &'static str> {
    Err("long_keys = \"hash\" needs cache-core's feature `long-keys`: enable it in Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_whole_numbers_and_usual_units() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("1h30min", 5_400_000),
            ("2 days", 172_800_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            " ",
            "5",
            "5M",
            "1 month",
            "1y",
            "5us",
            "5ns",
            "m",
            "-5m",
            "1.5h",
            "5 m 3",
            "5S",
            "١s",
            "99999999999999999999s",
            "99999999999999999w",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
