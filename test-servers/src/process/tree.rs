//! All processes of a server, known by the folder that they work in: also those that left its process group, as
//! those of PostgreSQL do, or lost their parent.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// A process that works for a server.
pub(super) struct Worker(i32);

/// The processes that have their working directory in `folder`.
pub(super) fn working_in(folder: &Path) -> Vec<Worker> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered =
        processes.filter_map(|it| Some((it.file_name().to_str()?.parse().ok()?, it.path())));
    numbered
        .filter(|(_, path)| fs::read_link(path.join("cwd")).is_ok_and(|it| it.starts_with(folder)))
        .map(|(pid, _)| Worker(pid))
        .collect()
}

/// Sends it to all of them; their number.
pub(super) fn signal(folder: &Path, signal: Signal) -> usize {
    let found = working_in(folder);
    for pid in found.iter().filter_map(|it| Pid::from_raw(it.0)) {
        // It may have ended by now.
        let _ = kill_process(pid, signal);
    }
    found.len()
}

impl Worker {
    /// Whether none of its threads runs. A signal takes a moment to reach those on other processors.
    pub(super) fn is_stopped(&self) -> bool {
        let threads =
            fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        threads.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok()).all(|stat| {
            // The name in brackets may hold anything; the state follows it.
            stat.rsplit(") ").next().is_some_and(|it| it.starts_with(['T', 'Z']))
        })
    }
}
