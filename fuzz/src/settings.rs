//! The target for the text of a settings file.

use cache_core::{Caches, ErrorKind};
use cache_file as _;
use cache_memory as _;
use cache_redis as _;
use toml::{Table, Value};

/// The password in the seeds. No message contains this word otherwise.
const SECRET: &str = "hunter2";

/// Builds caches from any text. The result is caches, or an error without a password.
///
/// # Panics
/// If the error has an unexpected kind, or if the secret shows in the error or in the caches.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let built = Caches::from_toml(text);
    if let Err(error) = &built {
        // Unknown backends, and features that this build lacks, have their own kinds.
        let wrong = [ErrorKind::Config, ErrorKind::UnknownAlias, ErrorKind::Unsupported];
        assert!(wrong.contains(&error.kind()), "{error}");
    }
    if text.parse().is_ok_and(|it| may_show(&it)) {
        return;
    }
    let shown = match &built {
        Ok(caches) => format!("{caches:?} {:?}", cache_core::Settings::from_toml(text)),
        Err(error) => format!("{error} {error:?} {error:#?}"),
    };
    assert!(!shown.contains(SECRET), "{shown}");
}

/// Returns whether the secret is where a message may show it: in a name, or in one of the values
/// that messages quote.
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
