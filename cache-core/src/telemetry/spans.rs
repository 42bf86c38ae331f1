//! The spans of `tracing`. Their fields have the names that Sentry uses for caches.

use std::any::Any;

use bytes::Bytes;
use tracing::{Span, debug_span, field::Empty, trace};

use crate::{
    error::Result,
    layer::{Call, Operation},
    store::Entry,
    timeout::{Expiry, Ttl},
};

/// Creates the span of a loader.
pub(super) fn load(
    alias: &str,
    operation: Operation,
    key: &str,
    keyspace: Option<&'static str>,
) -> Span {
    let span = debug_span!(
        target: "cache_core",
        "cache_load",
        alias,
        keyspace,
        cache.operation = operation.as_str(),
    );
    note_key(&span, Some(key));
    span
}

/// Creates the span of a call to a store.
pub(super) fn call(alias: &str, backend: &'static str, call: &Call<'_>) -> Span {
    let ttl = |it| match it {
        Expiry::After(time) => Some(time.as_secs_f64()),
        Expiry::Never => None,
    };
    let span = debug_span!(
        target: "cache_core",
        "cache_store_call",
        alias,
        backend,
        keys = call.keys,
        cache.operation = call.operation.as_str(),
        cache.hit = Empty,
        cache.ttl = call.lifetime.and_then(ttl),
        cache.item_size = (call.bytes > 0).then_some(call.bytes),
    );
    note_key(&span, call.key);
    span
}

/// Records what a call found.
pub(super) fn record_reply(span: &Span, operation: Operation, reply: &dyn Any) {
    if span.is_disabled() {
        return;
    }
    if let Some(Ok(found)) = reply.downcast_ref::<Result<Option<Bytes>>>() {
        record(span, found.is_some(), found.as_ref().map(Bytes::len), None);
    } else if let Some(Ok(found)) = reply.downcast_ref::<Result<Option<Entry>>>() {
        let len = found.as_ref().map(|it| it.value.len());
        record(span, found.is_some(), len, found.as_ref().map(|it| it.ttl));
    } else if let Some(Ok(found)) = reply.downcast_ref::<Result<Option<Ttl>>>() {
        record(span, found.is_some(), None, *found);
    } else if operation == Operation::HasKey
        && let Some(Ok(found)) = reply.downcast_ref::<Result<bool>>()
    {
        record(span, *found, None, None);
    }
}

fn record(span: &Span, is_hit: bool, len: Option<usize>, ttl: Option<Ttl>) {
    span.record("cache.hit", is_hit);
    if let Some(len) = len {
        span.record("cache.item_size", len);
    }
    if let Some(Ttl::Remaining(left)) = ttl {
        span.record("cache.ttl", left.as_secs_f64());
    }
}

/// Reports the key of a span in an event of the level TRACE: keys may contain personal data, and
/// spans are often sent to another company. A field could not depend on the level: subscribers with
/// several layers and filters cannot be asked for it.
fn note_key(span: &Span, key: Option<&str>) {
    if let Some(key) = key
        && !span.is_disabled()
    {
        trace!(target: "cache_core", parent: span, { cache.key = key }, "the key of a call");
    }
}
