//! Loaded values and deletes.

use history_tests::{
    fault::Fault,
    record::{
        Call::{Fetch, Invalidate, Read},
        Reply::{Foreign, Is, Value},
        Way::{Delete, OpenDelete},
    },
};

use crate::{Written, version};

const STALE: &str = "version 1 was read after a delete at version 2";

fn deleted(strict: bool, reply: bool) -> Written {
    let way = if strict { Delete } else { OpenDelete };
    let call = Invalidate { version: 2, way };
    Written::of("value0.0").call(0, [10, 20], call, Is(reply))
}

#[test]
fn no_read_that_begins_after_a_delete_returns_an_older_version() {
    for process in [0, 1] {
        deleted(true, false).call(process, [21, 22], Read, version(1, 0)).breaks(STALE);
        deleted(true, false).call(process, [21, 22], Fetch, version(1, 0)).breaks(STALE);
        deleted(true, false).call(process, [19, 22], Read, version(1, 0)).passes();
        deleted(true, false).call(process, [21, 22], Read, version(2, 0)).passes();
        deleted(true, false).call(process, [21, 22], Read, Value(None)).passes();
    }
}

#[test]
fn delete_that_failed_binds_its_own_process_unless_it_was_dropped() {
    for way in [Delete, OpenDelete] {
        let failed = || Written::of("value0.0").failed(0, [10, 20], Invalidate { version: 2, way });
        failed().call(0, [21, 22], Read, version(1, 0)).breaks(STALE);
        failed().call(1, [21, 22], Read, version(1, 0)).passes();
        let dropped = Written::of("value0.0").dropped(0, [10, 20], Invalidate { version: 2, way });
        dropped.call(0, [21, 22], Read, version(1, 0)).passes();
        let killed = Written::of("value0.0").killed(0, 10, Invalidate { version: 2, way });
        killed.call(1, [21, 22], Read, version(1, 0)).passes();
    }
}

#[test]
fn delete_that_may_have_failed_open_binds_its_own_process() {
    deleted(false, false).call(0, [21, 22], Read, version(1, 0)).breaks(STALE);
    deleted(false, false).call(1, [21, 22], Read, version(1, 0)).passes();
    // An entry was removed, so the store received the delete.
    deleted(false, true).call(1, [21, 22], Read, version(1, 0)).breaks(STALE);
}

#[test]
fn caller_may_join_a_load_that_another_process_outran() {
    // The call 2 loads the version 1.
    let joined = |process, load: [u64; 2]| {
        let loading = deleted(true, true).call(process, load, Fetch, version(1, 2));
        let loading = loading.loaded(load[0] + 1, 1);
        loading.call(process, [25, 30], Fetch, version(1, 2))
    };
    joined(1, [5, 30]).passes();
    // This load ended before the caller came.
    joined(1, [5, 24]).breaks(STALE);
    // A delete ends the loads of its own process.
    joined(0, [5, 30]).breaks(STALE);
    // The first caller was dropped, and another one waits for the load.
    let dropped = || deleted(true, true).failed(1, [5, 8], Fetch).loaded(6, 1);
    let waits = dropped().call(1, [7, 28], Fetch, version(1, 2));
    waits.call(1, [25, 30], Fetch, version(1, 2)).passes();
    dropped().call(1, [25, 30], Fetch, version(1, 2)).breaks(STALE);
    // The other caller began earlier, and its read of the store took longer.
    let waits = dropped().call(1, [4, 28], Fetch, version(1, 2));
    waits.call(1, [25, 30], Fetch, version(1, 2)).passes();
    let loading = || deleted(true, true).call(1, [5, 30], Fetch, version(1, 2)).loaded(6, 1);
    loading().call(1, [25, 30], Read, version(1, 2)).breaks(STALE);
    // The value of a load of another process comes from the store.
    loading().call(2, [25, 30], Fetch, version(1, 2)).breaks(STALE);
}

#[test]
fn failover_may_undo_an_earlier_delete() {
    let read = || deleted(true, true).call(1, [50, 60], Read, version(1, 0));
    read().fault(Fault::FailOver, None, [30, 40]).passes();
    read().fault(Fault::FailOver, None, [2, 5]).breaks(STALE);
}

#[test]
fn value_of_another_key_is_reported() {
    let foreign = Foreign("value 3 of value0.1".into());
    Written::of("value0.0").call(0, [0, 1], Read, foreign).breaks("value 3 of value0.1");
}
