use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Breaker, state::Rules};
use crate::{config::CacheSettings, runtime::Clock};

/// The breakers of one `Caches`, one per server: all aliases of a server share its breaker.
///
/// Aliases share a breaker only if their tables `breaker` and their deadlines are equal, because
/// these define a failure. [`BuildContext::breakers`](crate::store::BuildContext::breakers) returns
/// the `Breakers` of one alias.
///
/// ```
/// use cache_core::{CacheSettings, store::BuildContext};
/// use std::sync::Arc;
///
/// let settings = CacheSettings::new("mine");
/// let breakers = BuildContext::with("default", &settings, |context| context.breakers())?;
/// let breakers = breakers.expect("the settings do not switch it off");
/// let (one, same) = (breakers.of("10.0.0.1:6379"), breakers.of("10.0.0.1:6379"));
/// assert!(Arc::ptr_eq(&one, &same));
/// assert!(!Arc::ptr_eq(&one, &breakers.of("10.0.0.2:6379")));
/// # Ok::<_, cache_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Breakers {
    known: Arc<Known>,
    rules: Rules,
    clock: Clock,
    alias: Arc<str>,
}

/// The breakers that the aliases of one `Caches` share. A breaker without users is removed.
#[derive(Default)]
pub(crate) struct Known(Mutex<Vec<(String, Rules, Weak<Breaker>)>>);

impl Breakers {
    /// Returns the breakers of an alias with these settings; `None` if the settings switch them
    /// off.
    pub(crate) fn new(
        known: &Arc<Known>,
        alias: &str,
        settings: &CacheSettings,
        clock: &Clock,
    ) -> Option<Self> {
        settings.breaker.enabled.then(|| Self {
            known: Arc::clone(known),
            rules: Rules::of(settings),
            clock: clock.clone(),
            alias: alias.into(),
        })
    }

    /// Returns the breaker of this server, which from now on reports changes of its state under
    /// this alias, too.
    ///
    /// `server` is the place that the store connects to, such as `host:port`, always written in one
    /// way and without a password.
    pub fn of(&self, server: &str) -> Arc<Breaker> {
        let breaker = self.find(server);
        breaker.observed_as(&self.alias);
        breaker
    }

    fn find(&self, server: &str) -> Arc<Breaker> {
        let mut known = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(.., breaker)| breaker.strong_count() > 0);
        let found = known.iter().find(|(name, rules, _)| name == server && *rules == self.rules);
        if let Some(found) = found.and_then(|(.., it)| it.upgrade()) {
            return found;
        }
        let made = Arc::new(Breaker::with_rules(self.rules, self.clock.clone()));
        known.push((server.to_owned(), self.rules, Arc::downgrade(&made)));
        made
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("alias", &self.alias).finish_non_exhaustive()
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}
