//! The runtime of the source under test: locks and atomics of the model checker.

pub(crate) use crate::first::first;

pub(crate) mod sync {
    pub(crate) use shuttle::{
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
        thread_local,
    };
}
