//! Time, threads and runtimes.

mod blocking;
mod clock;
mod first;
mod jitter;
mod join;
mod own;
mod per_process;
mod per_runtime;
mod shared_deadline;
pub(crate) mod sync;
mod timer;

pub(crate) use self::{
    blocking::{block_on, is_async_context},
    first::first,
    jitter::random,
    join::all,
    own::{own, within},
    timer::sleep,
};
pub use self::{
    clock::{Clock, TimeSource},
    jitter::jitter,
    own::current_runtime,
    per_process::PerProcess,
    per_runtime::PerRuntime,
    shared_deadline::SharedDeadline,
};
