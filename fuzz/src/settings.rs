//! The text of a settings file.

use cache_core::{Caches, ErrorKind};
use cache_file as _;
use cache_memory as _;
use cache_redis as _;
use toml::{Table, Value};

/// What the seeds have for a password. It is nothing that any message says by itself.
const SECRET: &str = "hunter2";

/// Any text as settings: caches, or an error that says what was wrong without a password.
///
/// # Panics
/// If the error is of another kind, or the secret shows in it, or in the caches.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let built = Caches::from_toml(text);
    if let Err(error) = &built {
        // A backend that nobody knows, and what this machine or build lacks, have kinds of their own.
        let wrong = [ErrorKind::Config, ErrorKind::UnknownAlias, ErrorKind::Unsupported];
        assert!(wrong.contains(&error.kind()), "{error}");
    }
    if text.parse().is_ok_and(|it| may_show(&it)) {
        return;
    }
    let shown = match &built {
        Ok(caches) => format!("{caches:?} {:?}", cache_core::config::from_toml(text)),
        Err(error) => format!("{error} {error:?} {error:#?}"),
    };
    assert!(!shown.contains(SECRET), "{shown}");
}

/// Whether the secret stands where it may be shown: in a name, or in the few values that a message names.
fn may_show(table: &Table) -> bool {
    table.iter().any(|(name, value)| {
        let is_shown = match name.as_str() {
            "backend" => value.as_str().is_some_and(|it| !it.contains([':', '@', '/', ' '])),
            name => name == "key_prefix",
        };
        name.contains(SECRET) || in_names(value) || is_shown && in_value(value)
    })
}

fn in_names(value: &Value) -> bool {
    match value {
        Value::Table(it) => may_show(it),
        Value::Array(it) => it.iter().any(in_names),
        _ => false,
    }
}

fn in_value(value: &Value) -> bool {
    value.as_str().is_some_and(|it| it.contains(SECRET))
}
