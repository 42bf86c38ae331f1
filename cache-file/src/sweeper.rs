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
    counters::Count,
    directory::Directory,
    error::StepError,
    eviction::{self, Queue},
    recycler::{self, Recycler},
    shared::Shared,
};

/// The thread, once something was written. It ends with the store.
#[derive(Debug, Default)]
pub(crate) struct Sweeper(Mutex<Option<Sender<()>>>);

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How much of that it may work.
const WORK: Duration = Duration::from_millis(20);
/// How many entries it looks at, even if few of them have expired: a million in half an hour.
const LOOKED: u64 = 512;
/// How many folders are counted at a time: all in 16 seconds, if they are small.
const COUNTED: usize = 16;

impl Sweeper {
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return;
        }
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::downgrade(shared);
        let run = move || {
            let (mut folder, mut queue) = (0, Queue::default());
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout)
                && tick(&shared, &mut folder, &mut queue).is_some()
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
fn tick(shared: &Weak<Shared>, folder: &mut u8, queue: &mut Queue) -> Option<()> {
    let shared = shared.upgrade()?;
    let Some(directory) = shared.open_directory() else { return Some(()) };
    if !directory.is_at(&shared.plan.path) {
        // Deleted, or moved away; the next call makes it anew.
        shared.forget();
        return Some(());
    }
    // Who only reads has not opened them yet.
    if directory.counters.open(&directory).is_err() {
        return Some(());
    }
    let began = Instant::now();
    // What fails here fails nobody; the operations tell.
    let _ = Recycler::sweep(&directory, recycler::AGE);
    for _ in 0..COUNTED {
        if matches!(count(&directory, *folder), Err(StepError::Deleted)) {
            shared.forget();
            return Some(());
        }
        *folder = folder.wrapping_add(1);
        if began.elapsed() > WORK / 4 {
            break;
        }
    }
    purge(&shared, &directory, queue, began + WORK);
    Some(())
}

/// Removes what has expired until then, at the latest. How many were looked at.
fn purge(shared: &Shared, directory: &Directory, queue: &mut Queue, until: Instant) -> u64 {
    let (mut looked, mut is_rich) = (0, true);
    // Where few have expired, there is no hurry.
    while Instant::now() < until && (is_rich || looked < LOOKED) {
        let (removed, sampled) = eviction::sweep(shared, directory, queue);
        if sampled == 0 {
            break;
        }
        looked += sampled as u64;
        is_rich = removed >= sampled.div_ceil(4);
        if !is_rich && looked >= directory.counters.total().entries {
            break; // all, once
        }
    }
    looked
}

/// Counts a folder, and again under its lock if its numbers are wrong: by a kill, somebody's hand, or one who writes just now. `Gone` if
/// it is elsewhere.
///
/// One entry too many in each folder is 256, which is more than a small store may have.
pub(crate) fn count(directory: &Directory, number: u8) -> Result<(), StepError> {
    let Some(folder) = directory.folder(number, false)? else {
        if directory.counters.read(number) != Some(Count::default()) {
            directory.counters.put(number, Count::default());
        }
        return Ok(());
    };
    if !folder.is_in(directory) {
        return Err(StepError::Deleted);
    }
    if Some(folder.measure()?) != directory.counters.read(number)
        && let Some(_locked) = folder.try_lock(directory)?
    {
        directory.counters.put(number, folder.measure()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cache_core::{
        Clock,
        store::{Expiry, SetMode, SyncBackend as _},
    };

    use super::*;
    use crate::{options::Plan, store::File};

    /// Who has it open would go on in it, beside those who make another one.
    #[test]
    fn a_folder_that_is_moved_away_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::new(Plan::of(place.path().join("cache")), Clock::system()));
        let open = || shared.write(shared.until(), |it| Ok(it.folder(7, true)?.is_some())).unwrap();
        let tick = || tick(&Arc::downgrade(&shared), &mut 7, &mut Queue::default()).unwrap();
        assert!(open());
        tick();
        assert!(shared.open_directory().is_some(), "nothing has happened");
        fs::rename(shared.plan.path.join("07"), place.path().join("moved")).unwrap();
        tick();
        assert!(shared.open_directory().is_none());
        assert!(open());
        assert!(shared.plan.path.join("07").is_dir());
    }

    /// A store of a few entries is not looked at again and again until the time is over.
    #[test]
    fn where_nothing_has_expired_each_entry_is_looked_at_once() {
        for count in [1, 2, 3, 5, 40] {
            let place = tempfile::tempdir().unwrap();
            let plan = Plan::of(place.path().join("cache"));
            let store = File::new(plan.clone(), Clock::system());
            for n in 0..count {
                store.set(&n.to_string(), "1".into(), Expiry::Never, SetMode::Always).unwrap();
            }
            let directory = Directory::open(&plan, false).unwrap().unwrap();
            directory.counters.open(&directory).unwrap();
            let shared = Shared::new(plan, Clock::system());
            let until = Instant::now() + Duration::from_secs(20);
            let looked = purge(&shared, &directory, &mut Queue::default(), until);
            // A sample begins anew where the last one has found no more.
            assert!((count..count + 16).contains(&looked), "{looked} of {count}");
        }
    }
}
