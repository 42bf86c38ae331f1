//! All processes of a server, found by their working directory: also processes that left the
//! process group, as those of PostgreSQL do, or lost their parent.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// A process of a server.
pub(super) struct Worker(i32);

/// Returns the processes whose working directory is in `folder`.
pub(super) fn working_in(folder: &Path) -> Vec<Worker> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered =
        processes.filter_map(|it| Some((it.file_name().to_str()?.parse().ok()?, it.path())));
    numbered
        .filter(|(_, path)| fs::read_link(path.join("cwd")).is_ok_and(|it| it.starts_with(folder)))
        .map(|(pid, _)| Worker(pid))
        .collect()
}

/// Sends a signal to all processes. Returns their number.
pub(super) fn signal(folder: &Path, signal: Signal) -> usize {
    let found = working_in(folder);
    for pid in found.iter().filter_map(|it| Pid::from_raw(it.0)) {
        // Fails if the process has ended.
        let _ = kill_process(pid, signal);
    }
    found.len()
}

impl Worker {
    /// Returns whether all threads are stopped. A signal takes a moment to reach other processors.
    pub(super) fn is_stopped(&self) -> bool {
        let threads =
            fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        threads.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok()).all(|stat| {
            // The name in parentheses may contain any characters; the state follows it.
            stat.rsplit(") ").next().is_some_and(|it| it.starts_with(['T', 'Z']))
        })
    }
}
