//! The head of a request.

use http::{HeaderMap, Method, header::PRAGMA};

use super::{
    config::Config, directives::Directives, freshness::Asked, key::Target, stored::Stored,
};

/// The parts of a request that decide its way.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) target: Target,
    pub(super) asked: Asked,
    pub(super) directives: Directives,
}

impl Head {
    /// Returns whether the client demands a response that is newer than the stored one, and may do
    /// so.
    pub(super) fn demands_load(&self, config: &Config, stored: &Stored) -> bool {
        if !config.client_control {
            return false;
        }
        let directives = &self.directives;
        let pragma = self.headers.get(PRAGMA).filter(|_| directives.is_empty());
        let age = stored.age(config.clock.wall()).as_secs();
        directives.has("no-cache")
            || pragma.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"no-cache"))
            || directives.seconds("max-age").is_some_and(|it| age > it || it == 0)
            || directives
                .seconds("min-fresh")
                .is_some_and(|it| stored.meta.lifetime.saturating_sub(age) < it)
    }
}
