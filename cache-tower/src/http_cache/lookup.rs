//! Finds the stored response of a request: by its URL, and by the fields that `Vary` names.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Fetch, FetchOutcome, Fetched, Staleness};
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    cache_status::{CacheStatus, Forwarded, Why},
    config::Config,
    exchange::Exchange,
    head::Head,
    key,
    stored::{Entry, Stored, Variants},
};

/// How often a request reads again: after it has found that the URL varies, or that more fields
/// select the response.
const ROUNDS: usize = 8;
/// For how long it is remembered at least that a URL varies.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) struct Lookup<'a> {
    config: &'a Config,
    head: &'a Head,
    key: String,
    /// Set when `key` is that of a variant.
    variants: Option<Variants>,
}

/// The result of a load.
pub(super) enum Found {
    Stored(Box<Stored>, CacheStatus),
    /// The request is answered by the service alone.
    Nothing {
        why: Why,
        /// The response that the store has, if a load has sent the request.
        stored: Option<u128>,
    },
}

/// How the next round of a load reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Usual,
    /// The stale response may not be served.
    Wait,
    /// The stored response may not be served.
    Force,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(config: &'a Config, head: &'a Head) -> Self {
        Self { config, head, key: head.target.key.clone(), variants: None }
    }

    /// Returns the fresh stored response.
    pub(super) async fn stored(mut self) -> Option<Box<Stored>> {
        for _ in 0..ROUNDS {
            let bytes = self.config.cache.get::<Bytes>(&self.key).await.ok()??;
            match Entry::decode(&bytes)? {
                Entry::Variants(variants) if self.variants.is_none() => self.enter(variants),
                Entry::Response(it) if self.is_usable(&it) => return Some(it),
                _ => return None,
            }
        }
        None
    }

    /// Returns the stored response, or that of a load.
    pub(super) async fn fetch<S, Q, B, E>(&mut self, exchange: &Arc<Exchange<S, Q, B, E>>) -> Found
    where
        S: Service<Request<Q>, Response = Response<B>, Error = E> + Send + 'static,
        S::Future: Send,
        E: Send + 'static,
        Q: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Send,
    {
        let config = self.config;
        let mut mode = Mode::Usual;
        let mut why = Why::UriMiss;
        let mut stored_id = None;
        for _ in 0..ROUNDS {
            let fetch = match mode {
                Mode::Usual => config.cache.fetch(&self.key),
                Mode::Wait => patient(config.cache.fetch(&self.key)),
                Mode::Force => config.cache.fetch(&self.key).force(),
            };
            let fetched = fetch.outcome(exchange.loader()).await;
            let Ok(Fetched { value: Some(bytes), outcome, .. }) = fetched else { break };
            let is_loaded =
                matches!(outcome, FetchOutcome::Loaded { .. } | FetchOutcome::MissByError { .. });
            if exchange.is_sent() && !matches!(outcome, FetchOutcome::Stale { .. }) {
                // After a refresh in the background, its response is a hit.
                if let FetchOutcome::Hit { .. } | FetchOutcome::Loaded { stored: true, .. } =
                    outcome
                    && let Some(Entry::Response(it)) = Entry::decode(&bytes)
                {
                    stored_id = Some(it.meta.id);
                }
                break;
            }
            let stored = match Entry::decode(&bytes) {
                Some(Entry::Response(stored)) => stored,
                Some(Entry::Variants(variants)) if self.variants.is_none() => {
                    self.enter(variants);
                    (mode, why) = (Mode::Usual, Why::VaryMiss);
                    continue;
                }
                Some(Entry::Refused { credentials })
                    if credentials && !self.head.asked.has_credentials() =>
                {
                    continue;
                }
                Some(Entry::Refused { .. }) => break,
                // Bytes of another version of this crate, or of another program.
                _ if mode == Mode::Force => break,
                _ => {
                    mode = Mode::Force;
                    continue;
                }
            };
            if !stored.matches(&self.head.target, &self.head.headers) {
                why = Why::VaryMiss;
                if exchange.is_sent() || !self.widen(&stored).await {
                    break;
                }
                mode = Mode::Usual;
                continue;
            }
            if !stored.allows(self.head.asked) {
                why = Why::Request;
                break;
            }
            let next = match &outcome {
                FetchOutcome::Stale { .. } if self.may_be_stale(&stored, &outcome) => None,
                FetchOutcome::Stale { why: Staleness::TooManyRefreshes, .. } => Some(Mode::Force),
                FetchOutcome::Stale { .. } if mode == Mode::Wait => {
                    why = Why::Stale;
                    break;
                }
                FetchOutcome::Stale { .. } => Some(Mode::Wait),
                FetchOutcome::Hit { .. } if self.head.demands_load(config, &stored) => {
                    why = Why::Request;
                    mode = Mode::Force;
                    continue;
                }
                _ => None,
            };
            if let Some(next) = next {
                (mode, why) = (next, Why::Stale);
                continue;
            }
            let status = if is_loaded {
                let forwarded = Forwarded { why, status: None, stored: false, collapsed: true };
                CacheStatus::Forwarded(forwarded)
            } else {
                CacheStatus::hit(stored.age(config.clock.wall()), stored.meta.lifetime)
            };
            return Found::Stored(stored, status);
        }
        Found::Nothing { why, stored: stored_id }
    }

    fn is_usable(&self, stored: &Stored) -> bool {
        stored.matches(&self.head.target, &self.head.headers) && stored.allows(self.head.asked)
    }

    /// Returns whether a stale response may be served (RFC 9111, section 4.2.4, and RFC 5861).
    fn may_be_stale(&self, stored: &Stored, outcome: &FetchOutcome) -> bool {
        let age = stored.age(self.config.clock.wall()).as_secs();
        let stale_for = age.saturating_sub(stored.meta.lifetime);
        let is_failed =
            matches!(outcome, FetchOutcome::Stale { why: Staleness::LoadFailed(_), .. });
        let allowed = self
            .head
            .directives
            .max_stale()
            .filter(|_| self.config.client_control && stored.meta.may_be_stale);
        stale_for < stored.meta.stale_while_revalidate
            || is_failed && stale_for < stored.meta.stale_if_error
            || allowed.is_some_and(|it| stale_for <= it)
    }

    /// Continues with the key of a variant.
    fn enter(&mut self, variants: Variants) {
        let (target, headers) = (&self.head.target, &self.head.headers);
        self.key = key::variant(target, variants.id, &variants.names, headers);
        self.variants = Some(variants);
    }

    /// Notes that more request fields select the response than its key contains, and continues at
    /// the URL. Returns false if that is not possible.
    async fn widen(&mut self, other: &Stored) -> bool {
        let seen = self.variants.take();
        let mut names = seen.as_ref().map(|it| it.names.clone()).unwrap_or_default();
        let known = names.len();
        names.extend(other.meta.selected.iter().map(|(name, _)| name.clone()));
        names.sort_unstable();
        names.dedup();
        if seen.is_some() && names.len() == known {
            return false;
        }
        // All requests that see this response write the same, so that their variants are the same.
        // The keys end with the entry: a response that was deleted is not found again.
        let new = Variants { id: other.meta.id, names };
        let Some(new) = new.encode() else { return false };
        let expected = seen.map_or(other.meta.id, |it| it.id);
        let change = |old: Option<Bytes>| {
            let id = match Entry::decode(&old?)? {
                Entry::Response(it) => it.meta.id,
                Entry::Variants(it) => it.id,
                Entry::Refused { .. } => return None,
            };
            (id == expected).then(|| new.clone())
        };
        let lifetime = Duration::from_secs(other.meta.lifetime).max(DAY);
        self.key.clone_from(&self.head.target.key);
        self.config.cache.upsert(&self.key, lifetime, change).await.is_ok()
    }
}

/// Waits for the new value as long as the load takes.
fn patient(fetch: Fetch<'_, Bytes>) -> Fetch<'_, Bytes> {
    // All three, because each may not be longer than the next.
    fetch.soft_timeout(DAY).hard_timeout(DAY).load_deadline(DAY)
}
