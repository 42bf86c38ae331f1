//! The checks on small histories: those that break a promise, and those that do not although they
//! seem to.

#![cfg(target_os = "linux")]

mod counters;
mod entries;
mod groups;
mod locks;
mod revisions;
mod staleness;
mod values;

use history_tests::{
    check,
    check::Limits,
    clock::MS,
    fault::Fault,
    history::{FaultRecord, History, Operation, Standstill},
    record::{Call, DROPPED, Reply},
};

/// The time of the first call, in milliseconds.
const ORIGIN: u64 = 10_000;

/// A history that a test writes. Times are in milliseconds.
#[derive(Default)]
struct Written {
    key: &'static str,
    history: History,
    limits: Limits,
}

impl Written {
    fn of(key: &'static str) -> Self {
        Self { key, ..Self::default() }
    }

    /// Adds a call of a process.
    fn call(self, process: u32, time: [u64; 2], call: Call, reply: Reply) -> Self {
        self.add(process, time[0], call, Some(((ORIGIN + time[1]) * MS, reply)))
    }

    /// Adds a call that failed.
    fn failed(self, process: u32, time: [u64; 2], call: Call) -> Self {
        self.call(process, time, call, Reply::Failed("TimedOut".into()))
    }

    /// Adds a call whose future was dropped.
    fn dropped(self, process: u32, time: [u64; 2], call: Call) -> Self {
        self.call(process, time, call, Reply::Failed(DROPPED.into()))
    }

    /// Adds a call of a process that was killed meanwhile.
    fn killed(self, process: u32, start: u64, call: Call) -> Self {
        self.add(process, start, call, None)
    }

    fn add(mut self, process: u32, start: u64, call: Call, reply: Option<(u64, Reply)>) -> Self {
        let id = self.history.operations.len() as u64 + 1;
        let (key, start) = (self.key.to_owned(), (ORIGIN + start) * MS);
        let loads = Vec::new();
        let operation = Operation { id, process, batch: None, key, call, start, reply, loads };
        self.history.operations.push(operation);
        self
    }

    /// Adds to the last call a load that read this version of the source.
    fn loaded(mut self, at: u64, version: u64) -> Self {
        let last = self.history.operations.last_mut().unwrap();
        last.loads.push(((ORIGIN + at) * MS, version));
        self
    }

    fn fault(mut self, fault: Fault, process: Option<u32>, time: [u64; 2]) -> Self {
        let [start, end] = time.map(|it| (ORIGIN + it) * MS);
        self.history.faults.push(FaultRecord { fault, process, start, end });
        self
    }

    fn stood_still(self, process: u32, time: [u64; 2]) -> Self {
        self.with_standstill(false, process, time)
    }

    fn clock_stood_still(self, process: u32, time: [u64; 2]) -> Self {
        self.with_standstill(true, process, time)
    }

    fn with_standstill(mut self, is_of_clock: bool, process: u32, time: [u64; 2]) -> Self {
        let [start, end] = time.map(|it| (ORIGIN + it) * MS);
        self.history.standstills.push(Standstill { is_of_clock, process, start, end });
        self
    }

    fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn violations(mut self) -> Vec<String> {
        self.history.operations.sort_by_key(|it| it.start);
        let report = check(&self.history, self.limits);
        assert_eq!(report.undecided, 0);
        report.violations.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn passes(self) {
        assert_eq!(self.violations(), Vec::<String>::new());
    }

    /// One violation is found, and its text contains `part`.
    #[track_caller]
    fn breaks(self, part: &str) {
        let found = self.violations();
        assert!(found.len() == 1 && found[0].contains(part), "{found:#?}");
    }
}

/// The version of a value that the call of this id loaded or wrote.
fn version(version: u64, by: u64) -> Reply {
    Reply::Version { version, by }
}

/// A store that is empty after a restart.
fn volatile() -> Limits {
    Limits { restart_loses_all: true, ..Limits::default() }
}
