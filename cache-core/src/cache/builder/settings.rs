//! Settings that concern no store.

use std::time::Duration;

use crate::{
    config::{ByteSize, CacheSettings},
    error::{Error, ErrorKind, Result},
    fetch::FetchState,
    value::{self, Compression, Compressor, Pipeline},
};

/// Verifies the settings of an alias.
pub(super) fn check(alias: &str, settings: &CacheSettings) -> Result<()> {
    if settings.compression == Compression::None && settings.compress_from.is_some() {
        let what = "has no effect without compression; set compression = \"lz4\" or \"zstd\", \
                    or remove the setting";
        return Err(Error::new(ErrorKind::Config, what)
            .with_context("setting", format!("caches.{alias}.compress_from")));
    }
    if Duration::from(settings.tag_staleness) > MAX_STALENESS {
        let what = "expected at most 1 hour: for this time, entries are served that another \
                    process has invalidated";
        return Err(Error::new(ErrorKind::Config, what)
            .with_context("setting", format!("caches.{alias}.tag_staleness")));
    }
    FetchState::check(settings).map_err(|(setting, what)| {
        Error::new(ErrorKind::Config, what)
            .with_context("setting", format!("caches.{alias}.fetch.{setting}"))
    })
}

/// Returns the way of values to stored bytes and back.
pub(super) fn pipeline(settings: &CacheSettings, max_len: Option<usize>) -> Pipeline {
    let from = settings.compress_from.map_or(value::DEFAULT_FROM, ByteSize::bytes);
    let compressor = Compressor::new(settings.compression, from, max_len);
    Pipeline::new(settings.codec, settings.read.as_deref(), compressor)
}

/// The longest `tag_staleness`.
const MAX_STALENESS: Duration = Duration::from_secs(60 * 60);
