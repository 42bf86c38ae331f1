//! The events, counters and metrics of a cache, and their names. Without the features there are the counters and a line on stderr.
//!
//! A program reads the counters of a cache as a struct with [`Cache::stats`](crate::Cache::stats), without any feature.
//!
//! # Feature `metrics`
//! Through the facade of the [`metrics`](https://docs.rs/metrics) crate, so a program chooses the exporter. Install the recorder
//! before the first call. Each has the label `alias`.
//!
//! | name | kind | other labels | what |
//! |---|---|---|---|
//! | `cache_operations_total` | counter | `operation`, `outcome` | calls, a batch by its keys; outcomes: `hit`, `miss`, `done`, `failed` (by the store), `refused` (the call was wrong) |
//! | `cache_errors_total` | counter | `operation`, `kind` | errors, whether the caller saw them or `fail_open` hid them |
//! | `cache_loads_total` | counter | `result` | loaders that were run: `ok`, `error`; callers who got another's load: `shared` |
//! | `cache_load_duration_seconds` | histogram | | how long loaders took |
//! | `cache_undecodable_total` | counter | `operation` | stored bytes that were no value of the type asked for |
//! | `cache_value_bytes_total` | counter | `direction` | bytes of values `read` and `written` |
//! | `cache_store_call_duration_seconds` | histogram | `backend`, `operation` | calls to stores that wait for something, retries and all |
//! | `cache_breaker_state` | gauge | | 0 closed, 1 open, 2 half open; with a breaker for each of several servers, of the one that changed last |
//!
//! `operation` is the name of the method of [`Cache`](crate::Cache), [`Operation::as_str`](crate::layer::Operation::as_str); methods that are
//! one to the store have one name: `decr` and `incr_or` are `incr`, `decr_version` is `incr_version`, `get_or_try_set` is `get_or_set`, and
//! `get_bytes` and `set_bytes` are `get` and `set`. `kind` is the name of the [`ErrorKind`](crate::ErrorKind).
//!
//! # Feature `tracing`
//! With the target `cache_core`:
//!
//! | level | message or span | fields | when |
//! |---|---|---|---|
//! | ERROR | `the store failed` | `alias`, `operation`, `kind`, `error`, `hidden`, `suppressed` | a call failed, because of the store: not for a lock on one key, a loader that hangs, or a wait behind other callers; at most one a second for each alias, with the number of those left out |
//! | WARN | `stored bytes are no value` | `alias`, `operation`, `key`, `type`, `why`, `suppressed` | they were a miss; limited in the same way. `type` is the Rust type that was asked for, `why` the codec and what failed in it |
//! | WARN | `a loaded value is too large for the store, and is loaded each time` | `alias`, `key`, `size`, `limit`, `suppressed` | a loader of `get_or_set` gave more than the store takes, in bytes; at most one a minute for each alias |
//! | WARN | `the circuit breaker opened` | `alias`, `error` | with the failure that it opened for, once until it closes; `alias` names all aliases of the server |
//! | INFO | `the circuit breaker closed` | `alias` | |
//! | DEBUG | span `cache_load` | `alias`, `key` | around a loader |
//! | TRACE | span `cache_store_call` | `alias`, `backend`, `operation`, `keys` | around a call to a store that waits for something |
//!
//! No field holds a value or a password. Keys are shown.
//!
//! # Without the feature `tracing`, or without a subscriber
//! The first failure of a store in a process appears on stderr, with the error and where it happened, and then one a minute at most:
//! `cache-core: the store failed: store unavailable: …`. So a new program says why it has no hits. `stderr_notice(false)` of
//! [`CachesBuilder`](crate::CachesBuilder::stderr_notice) or [`CacheBuilder`](crate::CacheBuilder::stderr_notice) turns it off. It appears also where `tracing` passes its events on to the crate `log`.

#[cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    allow(
        unused,
        clippy::unused_self,
        clippy::unused_async,
        reason = "each feature uses its part"
    )
)]
pub(crate) mod observer;
mod operation;
pub(crate) mod stats;
pub(crate) mod stderr_notice;

pub use self::{
    operation::Operation,
    stats::{OperationStats, Stats},
};
