//! What a call allocates.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Makes a call, which may allocate no more than this in all: a length that the input only claims must not be believed.
#[track_caller]
pub(crate) fn at_most<T>(limit: usize, call: impl FnOnce() -> T) -> T {
    let region = Region::new(GLOBAL);
    let res = call();
    let allocated = region.change().bytes_allocated;
    assert!(allocated <= limit, "{allocated} bytes were allocated, of {limit} at most");
    res
}
