//! Values with revisions.

use history_tests::{
    fault::Fault,
    record::{
        Call::{Fetch, Invalidate, Read},
        Reply::{Is, Value},
        Way::{self, DeleteRevision, SetRevision},
    },
};

use crate::{Written, version, volatile};

const STALE: &str = "version 1 was read after a";

fn written(way: Way, stored: bool) -> Written {
    Written::of("revised0.0").call(0, [10, 20], Invalidate { version: 2, way }, Is(stored))
}

#[test]
fn no_read_after_a_newer_revision_returns_an_older_one() {
    for way in [SetRevision, DeleteRevision] {
        for (process, stored) in [(0, true), (1, true), (0, false), (1, false)] {
            // `false` says that a newer one is stored.
            let read = |reply| written(way, stored).call(process, [21, 22], Read, reply);
            read(version(1, 0)).breaks(STALE);
            read(version(2, 0)).passes();
            read(Value(None)).passes();
            let fetch = written(way, stored).call(process, [21, 22], Fetch, version(1, 0));
            fetch.breaks(STALE);
        }
        let failed = Written::of("revised0.0");
        let failed = failed.failed(0, [10, 20], Invalidate { version: 2, way });
        failed.call(0, [21, 22], Read, version(1, 0)).passes();
    }
}

#[test]
fn restart_of_a_store_in_memory_forgets_revisions() {
    for way in [SetRevision, DeleteRevision] {
        let read = || written(way, true).call(1, [50, 60], Read, version(1, 0));
        read().fault(Fault::Restart, None, [30, 40]).limits(volatile()).passes();
        read().fault(Fault::Restart, None, [30, 40]).breaks(STALE);
        read().fault(Fault::Restart, None, [2, 5]).limits(volatile()).breaks(STALE);
    }
}
