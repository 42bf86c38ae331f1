//! Caches that are built from settings: the handles, the refused settings and the text of the
//! errors.

mod drivers;
mod global;
mod handles;
mod secrets;
mod settings;

use cache_core::{Caches, CachesBuilder, Driver, ErrorKind, store::BuildContext};
use cache_memory as _;

const MEMORY: &str = "[caches.default]\nbackend = 'memory'\n";

/// Checks that caches with these settings are refused, and that the error contains each text.
#[track_caller]
fn refused(settings: &str, kind: ErrorKind, texts: &[&str]) {
    let error =
        Caches::builder().driver(PART).toml(settings).and_then(CachesBuilder::build).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for text in texts {
        assert!(error.to_string().contains(text), "`{text}` is not in: {error}");
    }
}

/// A driver whose caches use the store of another alias.
const PART: Driver = Driver::new("part", |context: &BuildContext<'_>| {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        of: String,
    }
    context.backend_of(&context.options::<Options>()?.of)
});
