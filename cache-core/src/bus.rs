//! Memory on a bus: a store in the process whose deletes reach the memory of other processes, by
//! messages through a server.
//!
//! A store publishes which keys were removed, never values. While the stream of messages is down,
//! the memory is bypassed, and it is emptied when the stream is open again. A load that is under
//! way when a message arrives does not store its value.

mod build;
mod listen;
mod memory;
mod message;
mod outbox;
mod publish;
mod stats;
mod store;

pub use self::stats::BusStats;
pub(crate) use self::{build::BusMemories, store::BusStore};
