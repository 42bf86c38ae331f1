//! All processes of a server, found by their working directory: also processes that left the
//! process group, as those of PostgreSQL do, or lost their parent.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use rustix::process::{Pid, Signal, kill_process};

/// A process of a server.
pub(super) struct Worker(i32);

/// Returns the processes whose working directory is in `folder`. An error is never an empty list:
/// a server that was not found would count as stopped, or as ended.
pub(super) fn working_in(folder: &Path) -> io::Result<Vec<Worker>> {
    let mut res = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Some(pid) = process.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        // Fails for processes of other users, and for those that have ended.
        if fs::read_link(process.path().join("cwd")).is_ok_and(|it| it.starts_with(folder)) {
            res.push(Worker(pid));
        }
    }
    Ok(res)
}

/// Sends a signal to all processes. Returns their number.
pub(super) fn signal(folder: &Path, signal: Signal) -> io::Result<usize> {
    let found = working_in(folder)?;
    for pid in found.iter().filter_map(|it| Pid::from_raw(it.0)) {
        // Fails if the process has ended.
        let _ = kill_process(pid, signal);
    }
    Ok(found.len())
}

impl Worker {
    /// Returns whether all threads are stopped. A signal takes a moment to reach other processors.
    pub(super) fn is_stopped(&self) -> io::Result<bool> {
        let threads = match fs::read_dir(format!("/proc/{}/task", self.0)) {
            Err(error) if has_ended(&error) => return Ok(true),
            threads => threads?,
        };
        for thread in threads {
            let stat = match thread.and_then(|it| fs::read_to_string(it.path().join("stat"))) {
                Err(error) if has_ended(&error) => continue,
                stat => stat?,
            };
            // The name in parentheses may contain any characters; the state follows it.
            if !stat.rsplit(") ").next().is_some_and(|it| it.starts_with(['T', 'Z'])) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}
