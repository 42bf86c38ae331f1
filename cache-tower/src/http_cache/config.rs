//! The settings of a layer.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Cache, Clock};

use super::{freshness::Rules, passes::Passes};

/// The settings of a layer, and what its services share.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) cache: Cache<Bytes>,
    pub(super) name: String,
    pub(super) max_body: usize,
    pub(super) rules: Rules,
    pub(super) client_control: bool,
    pub(super) clock: Clock,
    pub(super) passes: Arc<Passes>,
}

/// Marks a request that an HTTP cache has sent: a cache inside of it must neither wait for itself
/// nor store a response that the outer one refuses.
#[derive(Clone, Copy)]
pub(super) struct Inside;

/// The default lifetime of an inner layer, for the outer one.
#[derive(Clone, Copy)]
pub(super) struct DefaultTtl(pub(super) Duration);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("alias", &self.cache.alias())
            .field("name", &self.name)
            .field("max_body", &self.max_body)
            .field("rules", &self.rules)
            .field("client_control", &self.client_control)
            .finish_non_exhaustive()
    }
}
