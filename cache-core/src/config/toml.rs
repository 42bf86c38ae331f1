//! Reads the text of a settings file into [`Settings`].

use toml::{Table, Value};

use super::{Settings, deserializer, env};
use crate::error::{Error, ErrorKind, Result};

impl Settings {
    /// Reads the `[caches.*]` tables of a TOML text. `${NAME}` in a string is replaced by the
    /// environment variable, `$$` by `$`.
    ///
    /// ```
    /// use cache_core::Settings;
    ///
    /// let settings = Settings::from_toml("[caches.default]\nbackend = 'memory'")?;
    /// assert_eq!(settings.get("default").unwrap().backend, "memory");
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` if the text is not TOML, or a setting is unknown or has a wrong value. The error
    /// names the setting by its path, and never shows a value.
    pub fn from_toml(text: &str) -> Result<Self> {
        // A variable that is not UTF-8 counts as not set.
        read_with(text, &|name| std::env::var(name).ok())
    }
}

fn read_with(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings> {
    let mut document: Table = text.parse().map_err(|err| not_toml(text, &err))?;
    if let Some(Value::Table(it)) = document.get("cache")
        && it.values().any(|it| it.get("backend").is_some())
    {
        return Err(config("the table is named `caches` here, not `cache`", "cache"));
    }
    let mut caches = match document.remove("caches") {
        Some(Value::Table(it)) => it,
        Some(_) => {
            return Err(config("expected a table of caches, each `[caches.<alias>]`", "caches"));
        }
        None => {
            let hint = if document.contains_key("CACHES") {
                "the table is named `caches` here, not `CACHES`"
            } else {
                "the document has no table `caches`; add `[caches.default]` with `backend = \"memory\"`"
            };
            return Err(config(hint, "caches"));
        }
    };
    env::expand(&mut caches, "caches", variable)?;
    caches.into_iter().map(|(alias, table)| read_alias(alias, table)).collect()
}

fn read_alias(alias: String, table: Value) -> Result<(String, super::CacheSettings)> {
    let path = format!("caches.{alias}");
    let Value::Table(table) = table else {
        return Err(config("expected a table with at least `backend`", path));
    };
    if let Some(name) = table.keys().find(|it| DJANGO.iter().any(|(theirs, _)| theirs == it)) {
        let ours = DJANGO.iter().find(|(theirs, _)| theirs == name).map_or("", |(_, ours)| ours);
        return Err(config(
            format!("this is Django's name; here it is {ours}"),
            format!("{path}.{name}"),
        ));
    }
    Ok((alias, deserializer::read(&path, table)?))
}

/// Django's names of settings, with our names.
const DJANGO: &[(&str, &str)] = &[
    ("BACKEND", "`backend`, with a short name such as \"memory\" or \"redis\""),
    ("LOCATION", "`location`"),
    ("TIMEOUT", "`timeout`, with \"never\" for Django's None"),
    ("KEY_PREFIX", "`key_prefix`"),
    ("VERSION", "`version`"),
    ("OPTIONS", "the table `options`"),
    ("KEY_FUNCTION", "set in code, with `CachesBuilder::key_function`"),
    ("MAX_ENTRIES", "`max_entries` in the table `options`"),
];

/// Returns an error with the position only: the parser's message and the line may contain a
/// password.
fn not_toml(text: &str, err: &toml::de::Error) -> Error {
    let at = err.span().map_or(0, |it| it.start).min(text.len());
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = before.split(|&it| it == b'\n').count();
    let column = before.iter().rev().take_while(|&&it| it != b'\n').count() + 1;
    // For this message the position alone would not explain the mistake.
    let why = if err.message().contains("duplicate key") {
        ": this name occurs twice in its table"
    } else {
        ""
    };
    Error::new(
        ErrorKind::Config,
        format!("the settings are not valid TOML at line {line}, column {column}{why}"),
    )
}

fn config(what: impl Into<std::borrow::Cow<'static, str>>, path: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, what).with_context("setting", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        read_with(text, &|name| (name == "URL").then(|| "redis://h".to_owned()))
    }

    /// Asserts that the error of a text contains each of the words.
    #[track_caller]
    fn refused(text: &str, words: &[&str]) {
        let error = read(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("s3cret"), "a value shows: {text}");
        }
        for word in words {
            assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
        }
    }

    /// Invalid texts, with the words that their errors must contain.
    const WRONG: &[(&str, &[&str])] = &[
        ("port = 1", &["[caches.default]"]),
        ("CACHES = {}", &["`caches`"]),
        ("caches = 's3cret'", &["caches", "table"]),
        ("[caches]\ndefault = 's3cret'", &["caches.default", "`backend`"]),
        ("[caches.default]\ntimeout = 1", &["caches.default.backend", "required"]),
        ("[caches.default]\nbackend = 5", &["caches.default.backend", "string", "an integer"]),
        ("[caches.default]\nBACKEND = 's3cret'", &["caches.default.BACKEND", "`backend`"]),
        ("[caches.default]\nbackend = 'm'\nKEY_PREFIX = 'x'", &["KEY_PREFIX", "`key_prefix`"]),
        (
            "[caches.default]\nbackend = 'm'\ntimout = 's3cret'",
            &["caches.default.timout", "`timeout`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nmax_entries = 5",
            &["caches.default.max_entries", "in the table `options`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nBackend = 'm'",
            &["caches.default.Backend", "`backend`"],
        ),
        ("[caches.default]\nbackend = 'm'\ntimeout = -1", &["caches.default.timeout", "\"never\""]),
        ("[caches.default]\nbackend = 'm'\ntimeout = nan", &["caches.default.timeout", "seconds"]),
        ("[caches.default]\nbackend = 'm'\ntimeout = inf", &["caches.default.timeout", "seconds"]),
        (
            "[caches.default]\nbackend = 'm'\ntimeout = 's3cret'",
            &["caches.default.timeout", "\"5m\""],
        ),
        (
            "[caches.default]\nbackend = 'm'\ntimeout = '300'",
            &["caches.default.timeout", "without quotes"],
        ),
        (
            "[caches.default]\nbackend = 'm'\ntimeout = '5M'",
            &["caches.default.timeout", "m (minutes)", "`M` is not a unit"],
        ),
        (
            "[caches.default]\nbackend = 'm'\ndeadline = '1 year'",
            &["caches.default.deadline", "ms, s, m (minutes), h, d or w"],
        ),
        (
            "[caches.default]\nbackend = 'm'\ndeadline = 'never'",
            &["caches.default.deadline", "\"500ms\""],
        ),
        (
            "[caches.default]\nbackend = 'm'\ncodec = 's3cret'",
            &["caches.default.codec", "expected \"json\" or \"msgpack\" or \"postcard\""],
        ),
        (
            "[caches.default]\nbackend = 'm'\nread = ['json', 's3cret']",
            &["caches.default.read[1]", "expected \"json\" or"],
        ),
        ("[caches.default]\nbackend = 'm'\nread = 's3cret'", &["caches.default.read", "a list"]),
        (
            "[caches.default]\nbackend = 'm'\ncompression = 's3cret'",
            &["caches.default.compression", "\"none\" or \"lz4\" or \"zstd\""],
        ),
        (
            "[caches.default]\nbackend = 'm'\ncompress_from = 's3cret'",
            &["caches.default.compress_from", "a size such as"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nlong_keys = true",
            &["caches.default.long_keys", "string"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nlocation = ['a', 7]",
            &["caches.default.location[1]", "string"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nlocation = '${NOPE}'",
            &["caches.default.location", "`NOPE`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\noptions = 's3cret'",
            &["caches.default.options", "expected a table, found a string"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nversion = 'one'",
            &["caches.default.version", "expected an integer, found a string"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nbreaker = false",
            &["caches.default.breaker", "expected a table, found a boolean"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nretry.retries = -1",
            &["caches.default.retry.retries", "expected an integer from 0 to 4294967295"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nbreaker.failure_rate = 's3cret'",
            &["caches.default.breaker.failure_rate", "number"],
        ),
        ("[caches.default]\nlocation = 's3cret\n", &["line 2"]),
        ("a = 1\na = 's3cret'", &["line 2", "column 1", "twice"]),
        (
            "[caches.default]\nbackend = 'm'\ntimeout = 1\ntimeout = 's3cret'",
            &["line 4", "column 1", "twice"],
        ),
        ("[cache.default]\nbackend = 's3cret'", &["`caches`", "not `cache`"]),
        (
            "[caches.default]\nbackend = 'm'\n[cache.sessions]\nbackend = 's3cret'",
            &["`caches`", "not `cache`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nkye_prefix = 's3cret'",
            &["caches.default.kye_prefix", "did you mean `key_prefix`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nretry = { retires = 3 }",
            &["caches.default.retry.retires", "did you mean `retries`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nlocation = '$REDIS_URL'",
            &["caches.default.location", "`${NAME}`"],
        ),
        (
            "[caches.default]\nbackend = 'm'\nlocation = '$URL/0'",
            &["caches.default.location", "`${NAME}`"],
        ),
    ];

    #[test]
    fn every_error_names_the_setting_and_what_is_allowed() {
        for (text, words) in WRONG {
            refused(text, words);
        }
    }

    #[test]
    fn whole_table_is_read() {
        let settings = read(
            "[server]\nport = 1\n[caches.default]\nbackend = 'redis'\nlocation = ['${URL}/0', 'b']\n\
             timeout = '1h 30m'\nkey_prefix = 'shop'\nversion = -2\ncodec = 'json'\nread = []\nfail_open = false\n\
             deadline = 0.25\n[caches.default.options]\nmax = 1",
        )
        .unwrap();
        let it = settings.get("default").unwrap();
        assert_eq!(it.location.as_slice(), ["redis://h/0", "b"]);
        assert_eq!(it.timeout, crate::timeout::secs(5400));
        assert_eq!((it.version, it.fail_open), (-2, false));
        assert_eq!(it.read.as_deref(), Some(&[][..]));
        assert_eq!(it.deadline, super::super::Period::from_millis(250));
        let never = read("[caches.default]\nbackend = 'm'\ntimeout = 'never'").unwrap();
        assert_eq!(never.get("default").unwrap().timeout, crate::timeout::Timeout::Never);
    }
}
