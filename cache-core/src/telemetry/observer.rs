//! Reports events to `metrics` and `tracing`, under the names of [`telemetry`](crate::telemetry).
//! Without these features the functions do nothing and cost nothing.

mod bus;
mod loads;
mod near;
mod tombstones;

use std::sync::Arc;

pub(crate) use self::{
    loads::{Loaded, NotStored, Refreshed},
    near::NearRead,
};
use super::stats::Outcome;
#[cfg(feature = "tracing")]
use super::{limit, spans};
use crate::{
    error::Error,
    layer::{Call, Operation, Reply},
    runtime::Clock,
};

/// The reporter of one alias.
#[derive(Clone)]
pub(crate) struct Observer {
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    alias: Arc<str>,
    #[cfg(feature = "tracing")]
    clock: Clock,
    #[cfg(feature = "tracing")]
    failures: Arc<limit::Limit>,
    #[cfg(feature = "tracing")]
    undecodable: Arc<limit::Limit>,
    #[cfg(feature = "tracing")]
    too_large: Arc<limit::Limit>,
    #[cfg(feature = "tracing")]
    pending: Arc<limit::Limit>,
    stderr_notice: bool,
}

/// The direction in which the bytes of a value went.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    Read,
    Written,
}

/// The bytes of a value, as they are stored and before compression.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    #[cfg(feature = "metrics")]
    stored: u64,
    #[cfg(feature = "metrics")]
    uncompressed: u64,
}

impl Observer {
    /// Creates a reporter; `clock` limits the rate of events.
    pub(crate) fn new(alias: &str, clock: &Clock) -> Self {
        Self {
            #[cfg(any(feature = "metrics", feature = "tracing"))]
            alias: alias.into(),
            #[cfg(feature = "tracing")]
            clock: clock.clone(),
            #[cfg(feature = "tracing")]
            failures: Arc::default(),
            #[cfg(feature = "tracing")]
            undecodable: Arc::default(),
            #[cfg(feature = "tracing")]
            too_large: Arc::default(),
            #[cfg(feature = "tracing")]
            pending: Arc::default(),
            stderr_notice: true,
        }
    }

    /// Sets whether a failure appears on stderr if no subscriber sees it.
    pub(crate) fn stderr_notice(mut self, yes: bool) -> Self {
        self.stderr_notice = yes;
        self
    }

    /// Counts `keys` keys of a call that ended with `outcome`.
    #[inline]
    pub(crate) fn outcome(&self, operation: Operation, outcome: Outcome, keys: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_operations_total",
            "alias" => Arc::clone(&self.alias),
            "operation" => operation.as_str(),
            "outcome" => outcome.as_str()
        )
        .increment(keys);
        #[cfg(feature = "tracing")]
        tracing::trace!(
            target: "cache_core",
            alias = &*self.alias,
            cache.operation = operation.as_str(),
            outcome = outcome.as_str(),
            cache.hit = outcome.is_hit(),
            "a call ended"
        );
    }

    /// Reports a call that ended with an error. `hidden`: the caller does not see the error.
    pub(crate) fn error(&self, operation: Operation, error: &Error, hidden: bool) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_errors_total",
            "alias" => Arc::clone(&self.alias),
            "operation" => operation.as_str(),
            "kind" => error.kind().name()
        )
        .increment(1);
        #[cfg(feature = "tracing")]
        if tells_of_the_store(error)
            && let Some(suppressed) = self.failures.pass(self.clock.now(), limit::SECOND)
        {
            tracing::error!(
                target: "cache_core",
                alias = &*self.alias,
                operation = operation.as_str(),
                kind = error.kind().name(),
                %error,
                hidden,
                suppressed,
                "the store failed"
            );
        }
    }

    /// Reports a failing store on stderr if no subscriber does. The error contains its place.
    pub(crate) fn notice(&self, error: &Error) {
        if self.stderr_notice && tells_of_the_store(error) {
            crate::telemetry::stderr_notice::store_failed(error);
        }
    }

    /// Reports stored bytes that cannot be decoded as the requested type.
    pub(crate) fn undecodable(
        &self,
        operation: Operation,
        key: &str,
        wanted: &'static str,
        why: &dyn std::fmt::Display,
    ) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_undecodable_total",
            "alias" => Arc::clone(&self.alias),
            "operation" => operation.as_str()
        )
        .increment(1);
        #[cfg(feature = "tracing")]
        if let Some(suppressed) = self.undecodable.pass(self.clock.now(), limit::SECOND) {
            tracing::warn!(
                target: "cache_core",
                alias = &*self.alias,
                operation = operation.as_str(),
                key,
                r#type = wanted,
                %why,
                suppressed,
                "stored bytes cannot be decoded"
            );
        }
    }

    /// Reports a change that had no effect, because the key has a newer revision.
    pub(crate) fn revision_refused(&self, operation: Operation) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_revisions_refused_total",
            "alias" => Arc::clone(&self.alias),
            "operation" => operation.as_str()
        )
        .increment(1);
        #[cfg(feature = "tracing")]
        tracing::debug!(
            target: "cache_core",
            alias = &*self.alias,
            operation = operation.as_str(),
            "the key has a newer revision"
        );
    }

    /// Counts `keys` reads of a keyspace.
    pub(crate) fn keyspace(&self, keyspace: &'static str, outcome: Outcome, keys: u64) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "cache_keyspace_reads_total",
            "alias" => Arc::clone(&self.alias),
            "keyspace" => keyspace,
            "outcome" => outcome.as_str()
        )
        .increment(keys);
        #[cfg(feature = "tracing")]
        tracing::trace!(
            target: "cache_core",
            alias = &*self.alias,
            keyspace,
            outcome = outcome.as_str(),
            keys,
            "keys of a keyspace were read"
        );
    }

    /// Counts the bytes of a value.
    #[inline]
    pub(crate) fn bytes(&self, direction: Direction, size: Size) {
        #[cfg(feature = "metrics")]
        {
            let direction = match direction {
                Direction::Read => "read",
                Direction::Written => "written",
            };
            let alias = || Arc::clone(&self.alias);
            metrics::counter!(
                "cache_value_bytes_total", "alias" => alias(), "direction" => direction
            )
            .increment(size.stored);
            metrics::counter!(
                "cache_uncompressed_bytes_total", "alias" => alias(), "direction" => direction
            )
            .increment(size.uncompressed);
        }
    }

    /// Runs a loader in its span. `keyspace` is the label of the keyspace of the call.
    pub(crate) async fn in_load_span<F: Future>(
        &self,
        operation: Operation,
        key: &str,
        keyspace: Option<&'static str>,
        loader: F,
    ) -> F::Output {
        #[cfg(feature = "tracing")]
        let loader = {
            let span = spans::load(&self.alias, operation, key, keyspace);
            tracing::Instrument::instrument(loader, span)
        };
        loader.await
    }

    /// Runs a call to a store in its span, and records its duration.
    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    pub(crate) fn in_call<F: Future>(
        &self,
        _: &'static str,
        _: Call<'_>,
        run: impl FnOnce() -> F,
    ) -> F {
        run()
    }

    /// Runs a call to a store in its span, and records its duration.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(crate) async fn in_call<R: Reply, F: Future<Output = R>>(
        &self,
        backend: &'static str,
        call: Call<'_>,
        run: impl FnOnce() -> F,
    ) -> R {
        let running = std::pin::pin!(run());
        #[cfg(feature = "tracing")]
        let span = spans::call(&self.alias, backend, &call);
        #[cfg(feature = "tracing")]
        let running = tracing::Instrument::instrument(running, span.clone());
        #[cfg(feature = "metrics")]
        let began = std::time::Instant::now();
        let res = running.await;
        #[cfg(feature = "tracing")]
        spans::record_reply(&span, call.operation, &res);
        #[cfg(feature = "metrics")]
        metrics::histogram!(
            "cache_store_call_duration_seconds",
            "alias" => Arc::clone(&self.alias),
            "backend" => backend,
            "operation" => call.operation.as_str()
        )
        .record(began.elapsed());
        res
    }
}

impl Size {
    /// Measures a value.
    #[inline]
    pub(crate) fn of(stored: &[u8]) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            stored: stored.len() as u64,
            #[cfg(feature = "metrics")]
            uncompressed: crate::value::payload_len(stored) as u64,
        }
    }
}

/// Runs a task in the span of the caller that spawns it.
pub(crate) fn in_current_span<F: Future>(task: F) -> impl Future<Output = F::Output> + use<F> {
    #[cfg(feature = "tracing")]
    let task = tracing::Instrument::in_current_span(task);
    task
}

/// Reports the new state of a breaker to these aliases. `reason` is the failure that opened it;
/// absent if the breaker stays open after a probe, which is not logged.
pub(crate) fn breaker(
    aliases: &[Arc<str>],
    state: crate::layer::BreakerState,
    reason: Option<&Error>,
) {
    use crate::layer::BreakerState::{Closed, HalfOpen, Open};
    #[cfg(feature = "metrics")]
    for alias in aliases {
        metrics::gauge!("cache_breaker_state", "alias" => Arc::clone(alias)).set(match state {
            Closed => 0.0,
            Open => 1.0,
            HalfOpen => 2.0,
        });
    }
    #[cfg(feature = "tracing")]
    {
        let alias = aliases.join(", ");
        match (state, reason) {
            (Open, Some(error)) => {
                tracing::warn!(target: "cache_core", alias, %error, "the circuit breaker opened");
            }
            (Closed, _) => {
                tracing::info!(target: "cache_core", alias, "the circuit breaker closed");
            }
            (Open, None) | (HalfOpen, _) => {}
        }
    }
}

/// Returns whether an error is a failure of the store. Hanging loaders, callers that wait for each
/// other, and locks are not failures of the store.
fn tells_of_the_store(error: &Error) -> bool {
    error.kind().fails_open() && !error.is_ignored_by_breaker()
}
