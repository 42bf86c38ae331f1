//! The history of a run: all calls of all processes, and the faults.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    path::Path,
};

use crate::{
    clock::MS,
    fault::Fault,
    near::NearCounts,
    record::{self, Call, Event, Reply},
};

/// The calls and faults of a run. Times are those of [`crate::clock`].
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The calls, by their start.
    pub operations: Vec<Operation>,
    /// The faults, by their start.
    pub faults: Vec<FaultRecord>,
    /// The times at which processes, or their clocks, stood still by themselves: those of a busy
    /// machine.
    pub standstills: Vec<Standstill>,
    /// The counters of the near tiers of all processes that came to their end.
    pub near: NearCounts,
}

/// A call with its reply.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The number of the call, unique in the run.
    pub id: u64,
    /// The process. A worker that is started again is another process.
    pub process: u32,
    /// The number of the first of the calls that were made as one, for several keys.
    pub batch: Option<u64>,
    /// The key, or the name of the lock.
    pub key: String,
    /// The call.
    pub call: Call,
    /// The time at which it began.
    pub start: u64,
    /// The time of its reply, and the reply; `None` if the process was killed before.
    pub reply: Option<(u64, Reply)>,
    /// The loads that ran for this call: the time at which the source was read, and its version.
    pub loads: Vec<(u64, u64)>,
}

/// A fault and the time from its beginning to the end of its cause.
#[derive(Clone, Debug)]
pub struct FaultRecord {
    /// The fault.
    pub fault: Fault,
    /// The process it concerned, if it concerned one alone.
    pub process: Option<u32>,
    /// The beginning.
    pub start: u64,
    /// The end.
    pub end: u64,
}

/// A time in which the library's runtime of a process stood still, or its clock.
#[derive(Clone, Debug)]
pub struct Standstill {
    /// Whether it was the clock.
    pub is_of_clock: bool,
    /// The process.
    pub process: u32,
    /// The beginning.
    pub start: u64,
    /// The end.
    pub end: u64,
}

impl Operation {
    /// Returns the time of the reply; the end of time for a call without a reply.
    pub fn end(&self) -> u64 {
        self.reply.as_ref().map_or(u64::MAX, |it| it.0)
    }

    /// Returns the reply of a call that succeeded.
    pub fn answer(&self) -> Option<&Reply> {
        self.reply.as_ref().map(|it| &it.1).filter(|it| !matches!(it, Reply::Failed(_)))
    }

    /// Returns whether the call overlaps a time span.
    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start <= end && start <= self.end()
    }
}

impl History {
    /// Adds the calls that a process recorded.
    pub(crate) fn add(&mut self, process: u32, path: &Path) -> io::Result<()> {
        let mut calls: HashMap<u64, Operation> = HashMap::new();
        for event in record::read(path)? {
            match event {
                Event::Call { id, at: start, key, call, batch } => {
                    let (reply, loads) = (None, Vec::new());
                    let call = Operation { id, process, batch, key, call, start, reply, loads };
                    calls.insert(id, call);
                }
                Event::Load { id, at, version } => {
                    if let Some(it) = calls.get_mut(&id) {
                        it.loads.push((at, version));
                    }
                }
                Event::Near(counts) => self.near.add(&counts),
                Event::Stood { is_of_clock, start, end } => {
                    self.standstills.push(Standstill { is_of_clock, process, start, end });
                }
                Event::Reply { id, at, reply } => {
                    if let Some(it) = calls.get_mut(&id) {
                        it.reply = Some((at, reply));
                    }
                }
            }
        }
        self.operations.extend(calls.into_values());
        self.operations.sort_by_key(|it| (it.start, it.id));
        Ok(())
    }

    /// Returns the calls of each key whose name begins with `prefix`, by their start.
    pub(crate) fn by_key(&self, prefix: &str) -> BTreeMap<&str, Vec<&Operation>> {
        let mut res: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
        for it in self.operations.iter().filter(|it| it.key.starts_with(prefix)) {
            res.entry(&it.key).or_default().push(it);
        }
        res
    }

    /// Returns the spans of the faults of a kind.
    pub(crate) fn spans(&self, is: impl Fn(&FaultRecord) -> bool) -> Vec<(u64, u64)> {
        self.faults.iter().filter(|it| is(it)).map(|it| (it.start, it.end)).collect()
    }
}

/// Prints milliseconds since another time.
pub(crate) fn millis(time: u64, origin: u64) -> String {
    let past = time.saturating_sub(origin);
    format!("{}.{:03}", past / MS, past % MS / 1000)
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}, call {}: {:?} of {}", self.process, self.id, self.call, self.key)?;
        if let Some(first) = self.batch {
            write!(f, ", with those of call {first}")?;
        }
        for (_, version) in &self.loads {
            write!(f, ", loaded version {version}")?;
        }
        match &self.reply {
            None => f.write_str(": no reply"),
            Some((_, reply)) => write!(f, ": {reply:?}"),
        }
    }
}
