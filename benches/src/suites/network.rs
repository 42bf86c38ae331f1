//! The common parts of the suites for servers: the calls, the values, and tasks in a runtime.

pub(in crate::suites) mod calls;
pub(in crate::suites) mod inputs;
pub(in crate::suites) mod ours;
pub(in crate::suites) mod round_trips;
pub(in crate::suites) mod workers;

/// The sizes of values in bytes.
pub(in crate::suites) const SIZES: [usize; 2] = [100, 10_000];
/// The number of concurrent calls of a busy service.
pub(in crate::suites) const BUSY: usize = 64;
/// The number of threads of a Django process.
pub(in crate::suites) const THREADS: usize = 8;
