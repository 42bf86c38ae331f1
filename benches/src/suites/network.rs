//! What the suites about servers have in common: the calls, the values, and tasks in a runtime.

pub(in crate::suites) mod calls;
pub(in crate::suites) mod inputs;
pub(in crate::suites) mod ours;
pub(in crate::suites) mod workers;

/// How long values are.
pub(in crate::suites) const SIZES: [usize; 2] = [100, 10_000];
/// As many as a service with something to do has under way.
pub(in crate::suites) const BUSY: usize = 64;
/// As many threads as a process of Django's may have.
pub(in crate::suites) const THREADS: usize = 8;
