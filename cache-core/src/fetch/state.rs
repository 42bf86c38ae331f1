use std::sync::Arc;

use super::{
    failures::Failures,
    policy::{Allowed, Policy},
    refreshes::Refreshes,
    settings::{FetchSettings, RefreshAhead},
};
use crate::{config::CacheSettings, runtime::Clock, timeout::Expiry};

/// The settings and the state of the fetches of an alias.
pub(crate) struct FetchState {
    policy: Policy,
    /// The rules of `get_or_set`, which has no task.
    borrowed: Policy,
    allowed: Allowed,
    /// Whether stored values may have a grace, a revision or tags, stand for no value or be leases.
    pub(crate) has_entries: bool,
    /// Whether each read asks for the remaining lifetime.
    pub(crate) reads_ttl: bool,
    /// Whether stored values may have tags.
    pub(crate) tags: bool,
    pub(crate) refreshes: Arc<Refreshes>,
    pub(crate) failures: Failures,
}

impl FetchState {
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        let policy = policy(settings);
        let allowed = allowed(settings);
        let reads_ttl =
            allowed.grace || allowed.negative_ttl || allowed.fenced || allowed.revisions;
        let max = usize::try_from(settings.fetch.max_refreshes).unwrap_or(usize::MAX);
        Self {
            policy,
            borrowed: Policy {
                jitter: settings.fetch.jitter.unwrap_or_default(),
                plain_integers: true,
                ..policy
            },
            has_entries: reads_ttl || settings.tags,
            tags: settings.tags,
            reads_ttl,
            allowed,
            refreshes: Refreshes::new(max),
            failures: Failures::default(),
        }
    }

    /// Returns the name of the first invalid setting with the reason.
    pub(crate) fn check(settings: &CacheSettings) -> Result<(), (&'static str, &'static str)> {
        if settings.fetch.max_refreshes == 0 {
            return Err(("max_refreshes", "expected at least 1"));
        }
        // All settings of an alias are its own.
        let inherited = Policy::new(&FetchSettings::default(), settings.load_deadline.into());
        policy(settings).check(&allowed(settings), &inherited)
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn borrowed(&self) -> &Policy {
        &self.borrowed
    }

    pub(crate) fn active_refreshes(&self) -> usize {
        self.refreshes.active()
    }

    /// Returns whether a fetch asks the store for the remaining lifetime.
    pub(crate) fn asks_for_ttl(&self, policy: &Policy) -> bool {
        self.reads_ttl || policy.refresh_ahead != RefreshAhead::Off
    }

    /// Returns whether a loaded value is stored in an entry that tells its lifetime.
    pub(crate) fn has_terms(policy: &Policy) -> bool {
        !policy.grace.is_zero() || policy.refresh_ahead == RefreshAhead::XFetch
    }

    /// Returns whether stored entries may be leases or floors, which are not values.
    pub(crate) fn has_marks(&self) -> bool {
        self.allowed.fenced || self.allowed.revisions
    }

    pub(crate) fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Returns the longest lifetime that a fetch with the settings of the alias stores.
    pub(crate) fn longest(&self, clock: &Clock) -> Option<Expiry> {
        self.policy.longest(self.allowed.default, clock)
    }
}

fn policy(settings: &CacheSettings) -> Policy {
    Policy::new(&settings.fetch, settings.load_deadline.into())
}

fn allowed(settings: &CacheSettings) -> Allowed {
    Allowed {
        grace: settings.fetch.grace.is_some(),
        negative_ttl: settings.fetch.negative_ttl.is_some(),
        fenced: settings.fetch.fenced.is_some(),
        revisions: settings.revisions,
        default: settings.timeout,
    }
}
