//! What callers see when the file, the disk, other processes and runtimes fail, with real files and real processes.
#![cfg(target_os = "linux")]

mod child;
mod file;
mod full;
mod killed;
mod limits;
mod locked;
mod private;
mod processes;
mod runtimes;
mod stalled;
#[path = "../it/support.rs"]
mod support;
