//! The counters, metrics and log events of a cache, and their names.
//!
//! Without any feature, a program reads the counters as a struct with
//! [`Cache::stats`](crate::Cache::stats), and a failing store is reported by a line on stderr.
//!
//! # Feature `metrics`
//! Values go through the [`metrics`](https://docs.rs/metrics) crate, so the program chooses the
//! exporter. Install its recorder before the first call. Each metric has the label `alias`.
//!
//! | name | kind | other labels | what |
//! |---|---|---|---|
//! | `cache_operations_total` | counter | `operation`, `outcome` | calls; a batch counts each of its keys. Outcomes: `hit`, `miss`, `stale` (a fetch returned a stale value), `absent` (a fetch found that there is no value), `done`, `failed` (by the store), `refused` (the call was invalid) |
//! | `cache_keyspace_reads_total` | counter | `keyspace`, `outcome` | keys that were read through a `Keyspace`: `hit` or `miss`, and by `fetch` also `stale` or `absent`. `get_or_set` is a miss if it ran its own loader, and `get_or_set_many` for each key that its loader got |
//! | `cache_errors_total` | counter | `operation`, `kind` | errors that the caller saw, and errors that `fail_open` hid |
//! | `cache_loads_total` | counter | `result` | loaders that ran: `ok`, `error`; callers that shared another caller's load: `shared` |
//! | `cache_loads_not_stored_total` | counter | `reason` | loaded values that were not stored: `refused`, because the key was written or deleted since the load began (by any process if the load was fenced), or `failed` |
//! | `cache_refreshes_total` | counter | `result` | loads in the background that `started`, and that were `skipped` because `max_refreshes` ran |
//! | `cache_load_duration_seconds` | histogram | | duration of loaders |
//! | `cache_undecodable_total` | counter | `operation` | stored bytes that could not be decoded as the requested type |
//! | `cache_revisions_refused_total` | counter | `operation` | values and deletes that had no effect because the key had a newer revision; those of loads are `set` and `delete` |
//! | `cache_value_bytes_total` | counter | `direction` | bytes of values `read` and `written`, as they are stored |
//! | `cache_uncompressed_bytes_total` | counter | `direction` | the same values before compression |
//! | `cache_store_call_duration_seconds` | histogram | `backend`, `operation` | duration of calls to stores that may wait, including retries |
//! | `cache_near_reads_total` | counter | `result` | keys that were read through a near tier: `hit` near, `miss` read from the store, `bypassed` read from the store because no changes are reported to the tier |
//! | `cache_near_invalidations_total` | counter | | keys that the store reported as changed to a near tier |
//! | `cache_near_resets_total` | counter | | how often all entries of a near tier were removed |
//! | `cache_near_lag_seconds` | histogram | | how far the reports of changes are behind the store of a near tier, once a second: the duration of a heartbeat |
//! | `cache_bus_invalidations_total` | counter | | keys, tags and clears that other processes published on the bus of memory |
//! | `cache_bus_resets_total` | counter | | how often memory on a bus was emptied |
//! | `cache_bus_bypassed_total` | counter | | keys that a read did not look for, because no messages of other processes arrive |
//! | `cache_tombstones` | gauge | | keys whose delete is pending: they are misses in this process until the store answers again |
//! | `cache_breaker_state` | gauge | | 0 closed, 1 open, 2 half open; if each of several servers has a breaker, the state of the one that changed last |
//!
//! `operation` is the name of the method of [`Cache`](crate::Cache), see
//! [`Operation::as_str`](crate::layer::Operation::as_str). Methods that the store cannot tell apart
//! share one name: `decr` and `incr_or` are `incr`, `decr_version` is `incr_version`, and
//! `get_or_try_set` is `get_or_set`. `kind` is the name of the [`ErrorKind`](crate::ErrorKind).
//!
//! # Feature `tracing`
//! All events have the target `cache_core`:
//!
//! | level | message or span | fields | when |
//! |---|---|---|---|
//! | ERROR | `the store failed` | `alias`, `operation`, `kind`, `error`, `hidden`, `suppressed` | a call failed because of the store, not because of a lock on one key, a loader that hangs, or a wait behind other callers; at most once a second per alias, with the number of suppressed events |
//! | WARN | `stored bytes cannot be decoded` | `alias`, `operation`, `key`, `type`, `why`, `suppressed` | the read was a miss; limited in the same way. `type` is the requested Rust type, `why` the codec and the reason |
//! | WARN | `a loaded value is too large for the store, and is loaded each time` | `alias`, `key`, `size`, `limit`, `suppressed` | a loader of `get_or_set` or `fetch` returned more bytes than the store accepts; at most once a minute per alias |
//! | WARN | `a delete is pending, and is sent again in the background` | `alias`, `key`, `suppressed` | a write or delete failed, so the old entry may still be stored; at most once a second per alias |
//! | INFO | `no delete is pending` | `alias` | after all pending deletes were sent, or their entries were written or have expired |
//! | WARN | `the circuit breaker opened` | `alias`, `error` | once until it closes, with the failure that opened it; `alias` lists all aliases of the server |
//! | INFO | `the circuit breaker closed` | `alias` | |
//! | INFO | `the near tier is in use` | `alias`, `invalidation`, `timeout` | at the build without invalidation; with the others, each time that the server begins to report changes |
//! | WARN | `the near tier is bypassed until the store reports changes again` | `alias`, `error` | once for each connection that is lost or cannot be made |
//! | WARN | ``the memory was bypassed until a late heartbeat: the process or its thread `cache-runtime` stood still, or the server was slow`` | `alias`, `late` | of a near tier or a bus, once for each such heartbeat |
//! | WARN | `the server does not report changes, and the near tier is in use without` | `alias`, `error`, `timeout` | with `invalidation = "auto"`, once |
//! | DEBUG | `the key has a newer revision` | `alias`, `operation` | a value or a delete had no effect |
//! | DEBUG | span `cache_load` | `alias`, `keyspace`, `cache.operation` | around a loader; `keyspace` is the label of the `Keyspace` of the call |
//! | DEBUG | span `cache_store_call` | `alias`, `backend`, `keys`, `cache.operation`, `cache.hit`, `cache.ttl`, `cache.item_size` | around a call to a store that may wait |
//! | TRACE | `the key of a call` | `cache.key` | in each of these spans, unless the call is about many keys |
//! | TRACE | `a call ended` | `alias`, `cache.operation`, `outcome`, `cache.hit` | with each count of `cache_operations_total` |
//! | TRACE | `keys of a keyspace were read` | `alias`, `keyspace`, `outcome`, `keys` | with each count of `cache_keyspace_reads_total` |
//!
//! The fields of spans have the names that Sentry uses for caches. `cache.hit` tells whether a read
//! of the store found an entry, `cache.item_size` is the size of its stored bytes, and `cache.ttl`
//! is the lifetime in seconds that the call sets or finds. `keys` is the number of keys.
//!
//! No field contains a value or a password. Warnings about a value contain its key, because an
//! operator needs it to find the cause. Spans have no keys, but an event of the level TRACE in them
//! has: keys may contain personal data, and spans are often sent to another company.
//!
//! # Without the feature `tracing`, or without a subscriber
//! The first failure of a store in a process is printed on stderr, with the error and where it
//! happened: `cache-core: the store failed: store unavailable: …`. Further failures are printed at
//! most once a minute. A new program thus reports why it has no hits. `stderr_notice(false)` of
//! [`CachesBuilder`](crate::CachesBuilder::stderr_notice) or
//! [`CacheBuilder`](crate::CacheBuilder::stderr_notice) turns the line off. The line also appears
//! where `tracing` passes its events on to the crate `log`.

mod keyspaces;
#[cfg(feature = "tracing")]
mod limit;
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
mod outcome;
#[cfg(feature = "tracing")]
mod spans;
pub(crate) mod stats;
pub(crate) mod stderr_notice;

pub use self::{
    keyspaces::KeyspaceStats,
    operation::Operation,
    stats::{OperationStats, Stats},
};
