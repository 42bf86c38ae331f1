//! Memory on a bus: the caches of several processes, with a bus in this one.

#![allow(missing_docs)]

mod conformance;
mod deletes;
mod faults;
mod hub;
mod loads;
mod settings;
mod support;
mod tags;
