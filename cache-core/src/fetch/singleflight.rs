//! One load per key at a time.
//!
//! The first caller that misses a key *leads*: it runs its own loader. Callers that miss the key
//! meanwhile *wait* and share the result, also an error. A load can also end in these ways:
//!
//! - The leader is dropped or panics: one of the waiters leads and runs its own loader.
//! - The leader is a task, and the last waiter leaves: the leader ends the load, unless the flight
//!   is *kept* to store its value.
//! - The load is not complete within its time: the next caller that joins replaces the flight with
//!   its own, and the waiters move there.
//! - The key is written or deleted: the flight is *detached*. Its callers keep it, later callers
//!   start another, and the loaded value is not stored. If the loaded value is already on its way
//!   to the store, the writer waits for it first, so that the two writes cannot cross. If it does
//!   not arrive in time, the writer revokes it: its write is polled no more. Flights that begin
//!   during the write are detached when it ends.
//! - A tag of its value is invalidated: the flight is detached in the same way.
//!
//! Each claim (to lead, to store a loaded value, to write a key) expires, because its future may
//! never be polled again. After that the claim has no effect and its write is not made.
//!
//! This module does not depend on stores, codecs or a clock. `tests/flight_model` checks it as a
//! model, with its own `crate::runtime`.

// The paths are explicit so that the model test finds the files.
#[path = "singleflight/batch.rs"]
mod batch;
#[path = "singleflight/claims.rs"]
mod claims;
#[path = "singleflight/flight.rs"]
mod flight;
#[path = "singleflight/follower.rs"]
mod follower;
#[path = "singleflight/leader.rs"]
mod leader;
#[path = "singleflight/permit.rs"]
mod permit;
#[path = "singleflight/shared.rs"]
mod shared;
#[path = "singleflight/table.rs"]
mod table;
#[path = "singleflight/wait_graph.rs"]
mod wait_graph;
#[path = "singleflight/write_guard.rs"]
mod write_guard;

pub(crate) use self::{
    follower::{Joined, Wait, WaitOutcome},
    leader::Lead,
    shared::Singleflight,
    write_guard::WriteGuard,
};
