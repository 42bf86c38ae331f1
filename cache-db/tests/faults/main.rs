//! Failures of the file, the disk, other processes and runtimes, as callers see them, with real
//! files and processes.
#![cfg(target_os = "linux")]

mod child;
mod file;
mod full;
mod killed;
mod limits;
mod locked;
mod permissions;
mod processes;
mod runtimes;
mod stalled;
#[path = "../it/support.rs"]
mod support;
