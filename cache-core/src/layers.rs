//! What is put around a store: behaviour that treats all calls alike, written once.

mod around;
mod breaker;
mod deadline;
mod hook;
mod observe;
mod own_runtime;
mod retry;

pub use self::{
    around::Around,
    breaker::{Breaker, BreakerSettings, BreakerState, Breakers, Permit},
    deadline::Deadline,
    hook::{Call, Hook, Operation, Reply},
    retry::{Retry, RetrySettings},
};
pub(crate) use self::{breaker::Known, observe::Observe, own_runtime::OwnRuntime};
