//! What goes on in the background: a thread that removes what has expired, and counts again.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    counters::{Count, room},
    cull,
    directory::Directory,
    error::Fault,
    inner::Inner,
};

/// The thread, once something was written. It ends with the store.
#[derive(Debug, Default)]
pub(crate) struct Sweeper(Mutex<Option<Sender<()>>>);

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How much of that it may work.
const WORK: Duration = Duration::from_millis(20);

/// How many folders are counted at a time: all in 16 seconds, if they are small.
const COUNTED: usize = 16;

impl Sweeper {
    pub(crate) fn start(&self, inner: &Arc<Inner>) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return;
        }
        let (stop, stopped) = mpsc::channel();
        let inner = Arc::downgrade(inner);
        let run = move || {
            let mut folder = 0;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout)
                && tick(&inner, &mut folder).is_some()
            {}
        };
        let thread = thread::Builder::new().name("cache-file-sweeper".into()).spawn(run);
        // Without one, writes alone make room; the next write tries again.
        *place = thread.ok().map(|_| stop);
    }

    pub(crate) fn stop(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// `None` if the store is gone.
fn tick(inner: &Weak<Inner>, folder: &mut u8) -> Option<()> {
    let inner = inner.upgrade()?;
    let Some(directory) = inner.open_directory() else { return Some(()) };
    if !directory.is_at(&inner.plan.path) {
        // Deleted, or moved away; the next call makes it anew.
        inner.forget();
        return Some(());
    }
    let began = Instant::now();
    for _ in 0..COUNTED {
        // What fails here fails nobody; the operations tell.
        let _ = count(&directory, *folder);
        *folder = folder.wrapping_add(1);
        if began.elapsed() > WORK / 4 {
            break;
        }
    }
    while began.elapsed() < WORK {
        let (removed, sampled) = cull::sweep(&inner, &directory);
        // Where few have expired, there is no hurry.
        if removed < sampled / 4 {
            break;
        }
    }
    Some(())
}

/// Counts a folder anew if its numbers are wrong by more than a hundredth: a kill, or somebody's hand.
pub(crate) fn count(directory: &Directory, number: u8) -> Result<(), Fault> {
    let Some(folder) = directory.folder(number, false)? else {
        if directory.counters.read(number) != Count::default() {
            directory.counters.put(number, Count::default());
        }
        return Ok(());
    };
    let found = folder.names()?.len() as u64;
    if is_about(directory.counters.read(number), found) {
        return Ok(());
    }
    let Some(locked) = folder.try_lock(&directory.counters)? else { return Ok(()) };
    let mut counted = Count::default();
    for name in folder.names()? {
        if let Some(slot) = locked.slot(&name)? {
            counted.entries += 1;
            counted.bytes += room(slot.len());
        }
    }
    directory.counters.put(number, counted);
    Ok(())
}

fn is_about(count: Count, entries: u64) -> bool {
    count.entries.abs_diff(entries) <= 2 + entries / 100
        && count.bytes >= count.entries.saturating_mul(room(1))
}
