//! The near tier in front of shared stores, whose other writers are raw commands, SQL and other
//! handles.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod closed;
mod cluster;
mod conformance;
mod demoted;
mod far;
mod faults;
mod importing;
mod notifications;
mod objects;
mod postgres;
mod probe;
mod pubsub;
mod revoked;
mod sentinel;
mod staleness;
mod support;
mod tracking;
