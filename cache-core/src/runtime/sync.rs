//! The locks and atomics of the single flight. The model checker replaces them with its own.

pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread_local,
};
