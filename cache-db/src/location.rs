//! The setting `location`: which database, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A parsed `location`. It may hold a password, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A SQLite file.
    File(PathBuf),
    /// An in-memory SQLite database.
    Memory,
    /// The URL of a PostgreSQL server.
    Postgres(String),
}

/// The accepted forms.
pub(crate) const EXPECTED: &str =
    "expected the path of a SQLite file, sqlite://path, :memory:, or postgres://user@host/database";

const KEYWORDS_ARE_NONE: &str =
    "has the keyword form of libpq; write a URL: postgres://user:password@host/database";
const NO_HOME: &str = "begins with `~`, which is not expanded; write the path, or \"${HOME}/…\"";

impl Location {
    /// Parses a `location`. The error says what is wrong, and shows nothing of the text but the
    /// scheme.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("is empty; {EXPECTED}"));
        }
        if text == ":memory:" {
            return Ok(Self::Memory);
        }
        match text.split_once("://") {
            Some(("sqlite", path)) => Self::file(path),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            _ if is_keywords(text) => Err(KEYWORDS_ARE_NONE.into()),
            // Text before `://` that is not a valid scheme may be a password.
            Some((it, _))
                if it.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it)) =>
            {
                Err(format!("has the unknown scheme `{it}`; {EXPECTED}"))
            }
            Some(_) => Err(format!("has an unknown scheme; {EXPECTED}")),
            None => Self::file(text.strip_prefix("sqlite:").unwrap_or(text)),
        }
    }

    fn file(path: &str) -> Result<Self, String> {
        match path {
            "" => Err(format!("names no file; {EXPECTED}")),
            ":memory:" => Ok(Self::Memory),
            _ if path.contains('\0') => Err("contains a NUL byte".into()),
            // SQLite would interpret these as more than a path.
            _ if path.starts_with("file:") => {
                Err("is a SQLite URI; expected only the path of the file".into())
            }
            _ if path == "~" || path.starts_with("~/") => Err(NO_HOME.into()),
            _ if path.contains('?') => {
                Err("contains `?`, but parameters are not supported there; use the options".into())
            }
            _ => Ok(Self::File(Path::new(path).to_owned())),
        }
    }
}

/// Whether the text has the form `host=h user=u password=…`. Taken for a path, it would be shown
/// with its password.
fn is_keywords(text: &str) -> bool {
    const WORDS: [&str; 5] = ["host", "hostaddr", "dbname", "user", "password"];
    let text = text.to_ascii_lowercase();
    text.match_indices('=').any(|(at, _)| {
        let name = text[..at].trim_end();
        let word = name.rsplit(|it: char| it.is_whitespace() || it == ';').next();
        name.ends_with("password") || word.is_some_and(|it| WORDS.contains(&it))
    })
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File(hidden)",
            Self::Memory => "Memory",
            Self::Postgres(_) => "Postgres(hidden)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_parsed() {
        let file = |path: &str| Location::File(path.into());
        for (text, expected) in [
            ("cache.db", file("cache.db")),
            ("/var/cache/a b.db", file("/var/cache/a b.db")),
            ("sqlite://cache.db", file("cache.db")),
            ("sqlite:///var/cache.db", file("/var/cache.db")),
            ("sqlite:cache.db", file("cache.db")),
            (":memory:", Location::Memory),
            ("sqlite://:memory:", Location::Memory),
            ("a=b/user_host=1.db", file("a=b/user_host=1.db")),
            ("backup~/cache.db", file("backup~/cache.db")),
            ("~backup.db", file("~backup.db")),
            ("postgres://h/d?password=p", Location::Postgres("postgres://h/d?password=p".into())),
            ("postgres://u:p@h/d", Location::Postgres("postgres://u:p@h/d".into())),
            ("postgresql://h", Location::Postgres("postgresql://h".into())),
        ] {
            assert_eq!(Location::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn libpq_keywords_are_refused_and_not_shown() {
        for text in [
            "host=h user=u password=marked",
            "password='marked marked' host=h",
            "dbname = marked",
            "user=marked",
            "Host=h;Username=u;Password=marked",
            "service=s connect_timeout=3 password=marked://x",
            "marked password=x",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(error.contains("postgres://user:password@host/database"), "{text}: {error}");
            assert!(!error.contains("marked"), "{error}");
        }
    }

    #[test]
    fn tilde_is_refused_instead_of_expanded() {
        for text in ["~/marked.db", "~", "sqlite://~/marked.db", "sqlite:~/marked.db"] {
            let error = Location::parse(text).unwrap_err();
            assert!(error.contains("${HOME}") && !error.contains("marked"), "{text}: {error}");
        }
    }

    #[test]
    fn invalid_location_is_not_shown_in_its_error() {
        for text in [
            "",
            "sqlite://",
            "mysql://user:marked@h/d",
            "file:marked",
            "marked?mode=ro",
            "u:marked@h://d",
            "u:marked://d",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(!error.contains("marked"), "{error}");
        }
        assert!(Location::parse("mysql://h").unwrap_err().contains("`mysql`"));
    }
}
