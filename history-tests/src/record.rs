//! The file to which a process appends its calls.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use crate::{clock, near::NearCounts};

/// A line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A call begins.
    Call { id: u64, at: u64, key: String, call: Call, batch: Option<u64> },
    /// The loader of the call is about to read the version of the source that follows.
    Load { id: u64, at: u64, version: u64 },
    /// The call has ended.
    Reply { id: u64, at: u64, reply: Reply },
    /// The library's runtime stood still between these moments, or the clock.
    Stood { is_of_clock: bool, start: u64, end: u64 },
    /// The counters of the near tiers at the end of the process.
    Near(NearCounts),
}

/// A call of a client. Lifetimes are in milliseconds; `None` is longer than the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `add` of a value that no other call writes.
    Add(u64, Option<u64>),
    /// `set` of a value that no other call writes.
    Set(u64, Option<u64>),
    /// `replace` by a value that no other call writes.
    Replace(u64, Option<u64>),
    /// `touch`.
    Touch(Option<u64>),
    /// `get`.
    Get,
    /// `has_key`.
    Has,
    /// `pop`.
    Pop,
    /// `delete` by a strict handle.
    Delete,
    /// An increment by one: `incr_or`, or a compare-and-set in `update`.
    Increment,
    /// `get` of a counter.
    Count,
    /// `try_lock` with a lease in milliseconds.
    Lock(u64),
    /// The fencing number of the lock that the call of this id acquired.
    Number(u64),
    /// The release of the lock that the call of this id acquired.
    Release(u64),
    /// `clear` of the namespace of an entry.
    Clear,
    /// A read of a value that is loaded from the source.
    Read,
    /// A load of the value through the cache if it is missing.
    Fetch,
    /// A `set` of a value whose version was read from the source before, as if loaded by the call.
    Store,
    /// An invalidation of the versions before this one, which the source had when the call began.
    Invalidate {
        /// The version.
        version: u64,
        /// The call that invalidates.
        way: Way,
    },
}

/// A way to invalidate the older versions of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// `delete` by a strict handle.
    Delete,
    /// `delete` by a handle that fails open.
    OpenDelete,
    /// `invalidate_tags` of a tag of the value.
    Tags,
    /// `expire_tags` of a tag of the value, which has a grace.
    ExpireTags,
    /// `clear` of the namespace of the value.
    Clear,
    /// `set_revision` of a value of the version.
    SetRevision,
    /// `delete_revision` of the versions before, with a floor that is longer than the run.
    DeleteRevision,
}

/// The failure of a call whose future was dropped.
pub const DROPPED: &str = "dropped";

/// The reply to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The call has no result.
    Done,
    /// The result of calls that say whether they changed something.
    Is(bool),
    /// A value or a number, if there is one.
    Value(Option<u64>),
    /// A version of a value of the source.
    Version {
        /// The version.
        version: u64,
        /// The id of the call that loaded or wrote it.
        by: u64,
    },
    /// A value of another key.
    Foreign(String),
    /// The call failed or was dropped: a write may have taken effect.
    Failed(String),
}

/// Appends events to a file. An event is written before the call begins, so that a killed process
/// leaves a call without a reply.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Mutex<File>,
    next: AtomicU64,
}

impl Recorder {
    /// Creates the file. The ids of its calls begin with `first`.
    pub(crate) fn create(path: &Path, first: u64) -> io::Result<Self> {
        Ok(Self { file: Mutex::new(File::create(path)?), next: AtomicU64::new(first) })
    }

    /// Returns a number that no other process of the run returns.
    pub(crate) fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn call(&self, key: &str, call: Call) -> u64 {
        let id = self.unique();
        self.append_call(id, key, call, None);
        id
    }

    /// Appends a call that concerns several keys, as one call for each.
    pub(crate) fn calls(&self, calls: &[(String, Call)]) -> Vec<u64> {
        let ids: Vec<u64> = calls.iter().map(|_| self.unique()).collect();
        let batch = ids.first().copied().filter(|_| ids.len() > 1);
        for (id, (key, call)) in ids.iter().zip(calls) {
            self.append_call(*id, key, call.clone(), batch);
        }
        ids
    }

    fn append_call(&self, id: u64, key: &str, call: Call, batch: Option<u64>) {
        self.append(&Event::Call { id, at: clock::now(), key: key.to_owned(), call, batch });
    }

    pub(crate) fn load(&self, id: u64, at: u64, version: u64) {
        self.append(&Event::Load { id, at, version });
    }

    pub(crate) fn reply(&self, id: u64, reply: Reply) {
        self.append(&Event::Reply { id, at: clock::now(), reply });
    }

    pub(crate) fn stood_still(&self, start: u64, end: u64) {
        self.append(&Event::Stood { is_of_clock: false, start, end });
    }

    pub(crate) fn clock_stood_still(&self, start: u64, end: u64) {
        self.append(&Event::Stood { is_of_clock: true, start, end });
    }

    pub(crate) fn near(&self, counts: NearCounts) {
        self.append(&Event::Near(counts));
    }

    fn append(&self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("events are plain");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).expect("the history cannot be written");
    }
}

/// Returns the events of a file. A process that was killed may have left a part of the last line,
/// or no file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Event>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        res => res?,
    };
    let mut lines: Vec<&str> = text.split('\n').collect();
    // Empty after a whole line.
    lines.pop();
    Ok(lines.into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
