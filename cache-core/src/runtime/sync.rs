//! The synchronisation that the flight is built on, so that a model checker can put its own in their place.

pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread_local,
};
