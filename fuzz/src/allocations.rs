//! Limits on the memory that a call allocates.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs a call and checks that it allocates at most `limit` bytes: it must not trust a length in
/// the input.
#[track_caller]
pub(crate) fn at_most<T>(limit: usize, call: impl FnOnce() -> T) -> T {
    let region = Region::new(GLOBAL);
    let res = call();
    let allocated = region.change().bytes_allocated;
    assert!(allocated <= limit, "{allocated} bytes were allocated; the limit is {limit}");
    res
}
