//! The runtime of the source under test: locks, atomics and random numbers of the model checker.

use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};

pub(crate) use crate::{first::first, join::all};

pub(crate) fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(thread_rng().gen_range(0.0..=1.0))
}

pub(crate) fn random() -> u64 {
    thread_rng().gen_range(0..=u64::MAX)
}

pub(crate) mod sync {
    pub(crate) use shuttle::{
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        },
        thread_local,
    };
}
