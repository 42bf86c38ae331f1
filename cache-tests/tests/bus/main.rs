//! Memory of several processes on a bus through Redis.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod changes;
mod closed;
mod demoted;
mod faults;
mod processes;
mod settings;
mod support;
