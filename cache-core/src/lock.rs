//! Locks that the processes of a store share: see [`Cache::lock`](crate::Cache::lock).

pub use crate::cache::{BlockingLock, Lock, LockRequest};
