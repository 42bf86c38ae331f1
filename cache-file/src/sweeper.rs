//! The background thread that removes expired entries and corrects the counts.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use cache_core::Clock;

use crate::{
    directory::{Directory, DirectoryHandle},
    error::StepError,
    eviction::Evictor,
    options::Plan,
    recycler,
};

/// The sweeper thread of a store. It runs from the first call that opens the directory until the
/// store is closed or dropped.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    is_running: AtomicBool,
    /// Dropping the sender stops the thread.
    stop: Mutex<Option<Sender<()>>>,
}

/// The state of the thread.
struct Work {
    directory: Weak<DirectoryHandle>,
    evictor: Evictor,
    next_folder: u8,
}

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one round works.
const ROUND: Duration = Duration::from_millis(20);
/// The number of entries to read per round although few have expired: a million in half an hour.
const MIN_READS: u64 = 512;
/// The number of folders to count per round: all 256 in 16 seconds, if they are small.
const COUNTED: usize = 16;

impl Sweeper {
    /// Starts the thread unless it runs.
    pub(crate) fn start(&self, directory: &Arc<DirectoryHandle>, plan: &Plan, clock: &Clock) {
        if self.is_running.load(Ordering::Relaxed) {
            return;
        }
        let mut running = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return;
        }
        let (stop, stopped) = mpsc::channel();
        let mut work = Work::new(directory, plan, clock);
        let run = move || {
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout)
                && work.run_round().is_some()
            {}
        };
        let thread = thread::Builder::new().name("cache-file-sweeper".into()).spawn(run);
        // Without a thread, only writes make room. The next call tries to start it again.
        *running = thread.ok().map(|_| stop);
        self.is_running.store(running.is_some(), Ordering::Relaxed);
    }

    /// Stops the thread after the current round.
    pub(crate) fn stop(&self) {
        let mut running = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        *running = None;
        self.is_running.store(false, Ordering::Relaxed);
    }
}

impl Work {
    fn new(directory: &Arc<DirectoryHandle>, plan: &Plan, clock: &Clock) -> Self {
        let evictor = Evictor::new(plan, clock.clone());
        Self { directory: Arc::downgrade(directory), evictor, next_folder: 0 }
    }

    /// Runs one round. `None` if the store was dropped.
    ///
    /// Errors are ignored here; the operations of the store report them.
    fn run_round(&mut self) -> Option<()> {
        let handle = self.directory.upgrade()?;
        let Some(directory) = handle.get() else { return Some(()) };
        // A store that was deleted or moved away is opened again by the next call.
        if handle.close_if_moved(&directory) {
            return Some(());
        }
        // A process that only reads has not opened the counters.
        if directory.open_counters().is_err() {
            return Some(());
        }
        let began = Instant::now();
        let _ = directory.sweep_spare_files(recycler::MAX_AGE);
        for _ in 0..COUNTED {
            if matches!(directory.recount(self.next_folder), Err(StepError::Deleted)) {
                handle.close();
                return Some(());
            }
            self.next_folder = self.next_folder.wrapping_add(1);
            if began.elapsed() > ROUND / 4 {
                break;
            }
        }
        remove_expired(&self.evictor, &directory, began + ROUND);
        Some(())
    }
}

/// Removes expired entries until `until` at the latest. Returns how many entries it has read.
///
/// Where few entries have expired, it stops after [`MIN_READS`].
fn remove_expired(evictor: &Evictor, directory: &Directory, until: Instant) -> u64 {
    let (mut read, mut many_expired) = (0, true);
    while Instant::now() < until && (many_expired || read < MIN_READS) {
        let (removed, sampled) = evictor.sweep(directory);
        if sampled == 0 {
            break;
        }
        read += sampled as u64;
        many_expired = removed >= sampled.div_ceil(4);
        if !many_expired && read >= directory.counters.total().entries {
            break; // each entry was read once
        }
    }
    read
}

#[cfg(test)]
mod tests;
