//! Values that are invalidated by their tags, or with their namespace.

use history_tests::{
    check::TAG_STALENESS,
    record::{
        Call::{Fetch, Invalidate, Read, Store},
        Reply::{Done, Value},
        Way::{self, Clear, ExpireTags, Tags},
    },
};

use crate::{Written, version};

const STALE: &str = "version 1 was read after";
/// A time at which all processes know of the invalidation.
const KNOWN: [u64; 2] = [TAG_STALENESS + 60, TAG_STALENESS + 65];

/// The call 1 stores the version 1, and the call 2 invalidates it.
fn invalidated(way: Way) -> Written {
    let stored = Written::of("tagged-a0.0").call(0, [0, 5], Store, Done).loaded(0, 1);
    stored.call(0, [10, 20], Invalidate { version: 2, way }, Done)
}

#[test]
fn no_read_after_an_invalidation_returns_an_older_version() {
    for way in [Tags, Clear, ExpireTags] {
        let read = |process, time| invalidated(way).call(process, time, Read, version(1, 1));
        read(0, [21, 22]).breaks(STALE);
        read(0, [19, 22]).passes();
        read(1, [21, 22]).passes();
        read(1, KNOWN).breaks(STALE);
        invalidated(way).call(1, KNOWN, Read, Value(None)).passes();
        invalidated(way).call(1, KNOWN, Read, version(2, 1)).passes();
    }
}

#[test]
fn value_with_an_expired_tag_is_served_by_loads_alone() {
    invalidated(ExpireTags).call(0, [21, 22], Fetch, version(1, 1)).passes();
    invalidated(Tags).call(0, [21, 22], Fetch, version(1, 1)).breaks(STALE);
    invalidated(Clear).call(0, [21, 22], Fetch, version(1, 1)).breaks(STALE);
}

#[test]
fn invalidation_that_failed_binds_its_own_process() {
    for way in [Tags, Clear, ExpireTags] {
        let call = Invalidate { version: 2, way };
        let failed = || Written::of("space0.0").failed(0, [10, 20], call.clone());
        failed().call(0, [21, 22], Read, version(1, 0)).breaks(STALE);
        failed().call(1, KNOWN, Read, version(1, 0)).passes();
        let dropped = Written::of("space0.0").dropped(0, [10, 20], call.clone());
        dropped.call(0, [21, 22], Read, version(1, 0)).breaks(STALE);
        let killed = Written::of("space0.0").killed(0, 10, call.clone());
        killed.call(1, KNOWN, Read, version(1, 0)).passes();
    }
}

#[test]
fn set_that_ends_after_the_invalidation_began_may_be_the_later_one() {
    let outrun = |time| {
        let stored = Written::of("tagged-a0.0").call(1, time, Store, Done).loaded(0, 1);
        let call = Invalidate { version: 2, way: Tags };
        stored.call(0, [10, 20], call, Done).call(0, [21, 22], Read, version(1, 1))
    };
    outrun([0, 15]).passes();
    outrun([0, 5]).breaks(STALE);
    // The versions of a load are older than its value.
    let loads = Written::of("tagged-a0.0").call(1, [0, 15], Fetch, version(1, 1)).loaded(2, 1);
    let loads = loads.call(0, [10, 20], Invalidate { version: 2, way: Tags }, Done);
    loads.call(0, [21, 22], Read, version(1, 1)).breaks(STALE);
}

#[test]
fn caller_may_join_the_refresh_of_an_expired_value() {
    let refreshed = |background: bool| {
        let expired = Written::of("tagged-a0.0");
        let way = if background { ExpireTags } else { Tags };
        let expired = expired.call(1, [0, 1], Invalidate { version: 1, way }, Done);
        // The load of the call 2 goes on for a stale value.
        let dropped = expired.dropped(1, [2, 4], Fetch).loaded(3, 1);
        let later = dropped.call(0, [10, 20], Invalidate { version: 2, way: Tags }, Done);
        later.call(1, KNOWN, Fetch, version(1, 2))
    };
    refreshed(true).passes();
    refreshed(false).breaks(STALE);
}
