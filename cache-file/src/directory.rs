//! The open directory of a store, and the handle that opens it when it is needed.

use std::{
    path::Path,
    sync::{Arc, OnceLock, PoisonError, RwLock, TryLockError},
    time::{Duration, Instant},
};

use cache_core::{Result, store::caller_has_left};

use crate::{
    counters::{Count, Counters},
    entry_path::{EntryPath, folder_name},
    error::{self, StepError},
    folder::Folder,
    folder_lock::FolderLock,
    nowait::Nowait,
    options::Plan,
    recycler::Recycler,
    root::Root,
};

/// The directory of a store, opened at the first call and reopened after it was deleted or moved.
#[derive(Debug)]
pub(crate) struct DirectoryHandle {
    plan: Plan,
    open: RwLock<Option<Arc<Directory>>>,
}

/// An open directory with its folders, its counters and its spare files.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) root: Arc<Root>,
    pub(crate) counters: Counters,
    pub(crate) nowait: Nowait,
    recycler: Recycler,
    folders: Vec<OnceLock<Folder>>,
}

impl DirectoryHandle {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, open: RwLock::default() }
    }

    /// Returns the directory if it is open.
    pub(crate) fn get(&self) -> Option<Arc<Directory>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a short step that does not block. `None` if the directory is not open, or is being
    /// opened or closed.
    ///
    /// The step gets no `Arc`: dropping the last one closes files, which may write to the disk.
    pub(crate) fn try_with<T>(&self, step: impl FnOnce(&Directory) -> T) -> Option<T> {
        let open = match self.open.try_read() {
            Ok(open) => open,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        open.as_deref().map(step)
    }

    /// Opens the directory unless it is open, and creates it if `create`. `None` if it does not
    /// exist.
    pub(crate) fn open(&self, create: bool) -> Result<Option<Arc<Directory>>> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Directory::open(&self.plan, create)?.map(Arc::new);
        }
        Ok(open.clone())
    }

    /// Closes the directory. The next call opens it again.
    pub(crate) fn close(&self) {
        let closed = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        // Deletes files, so other callers must not wait for it.
        if let Some(directory) = closed {
            directory.recycler.close();
        }
    }

    /// Closes the directory if its path no longer leads to it. Returns whether it did.
    pub(crate) fn close_if_moved(&self, directory: &Directory) -> bool {
        let is_moved = !directory.is_at(&self.plan.path);
        if is_moved {
            self.close();
        }
        is_moved
    }
}

impl Directory {
    /// Opens the directory, and creates it if `create`. `None` if it does not exist.
    pub(crate) fn open(plan: &Plan, create: bool) -> Result<Option<Self>> {
        let Some(root) = Root::open(&plan.path, create)? else { return Ok(None) };
        let root = Arc::new(root);
        Ok(Some(Self {
            counters: Counters::default(),
            nowait: Nowait::default(),
            recycler: Recycler::new(Arc::clone(&root), plan),
            folders: (0..=u8::MAX).map(|_| OnceLock::new()).collect(),
            root,
        }))
    }

    /// Opens the counters. Before this, they read as 0 and cannot be written.
    pub(crate) fn open_counters(&self) -> Result<()> {
        self.counters.open(&self.root).map(drop)
    }

    /// Returns a folder if it is open.
    pub(crate) fn open_folder(&self, number: u8) -> Option<&Folder> {
        self.folders[usize::from(number)].get()
    }

    /// Returns a folder, and creates it if `create`. `None` if it does not exist.
    pub(crate) fn folder(&self, number: u8, create: bool) -> Result<Option<&Folder>> {
        if let Some(folder) = self.open_folder(number) {
            return Ok(Some(folder));
        }
        let open = || self.root.open_folder(&folder_name(number), create);
        let fd = match open() {
            // The spare files may use the space.
            Err(error) if error::is_disk_full(&error) && self.recycler.free_all() => open()?,
            opened => opened?,
        };
        let Some(fd) = fd else { return Ok(None) };
        // Of two threads, the second closes its own descriptor: a lock belongs to one descriptor.
        let place = &self.folders[usize::from(number)];
        Ok(Some(place.get_or_init(|| Folder::new(number, fd))))
    }

    /// Waits for the lock of an entry's folder, which is created if it does not exist.
    pub(crate) fn lock(
        &self,
        path: &EntryPath,
        until: Instant,
    ) -> Result<FolderLock<'_>, StepError> {
        let folder = self.folder(path.folder(), true)?.ok_or(StepError::Deleted)?;
        self.lock_folder(folder, until)
    }

    /// Waits for the lock of a folder. Fails if the caller has left meanwhile: calls do not get the
    /// lock in their order, and a later one of this caller may have it already.
    pub(crate) fn lock_folder<'a>(
        &'a self,
        folder: &'a Folder,
        until: Instant,
    ) -> Result<FolderLock<'a>, StepError> {
        let lock = FolderLock::acquire(folder, &self.counters, &self.recycler, until)?;
        if caller_has_left() {
            return Err(error::left().into());
        }
        Ok(lock)
    }

    /// Takes the lock of a folder. `None` if another thread or process holds it.
    pub(crate) fn try_lock_folder<'a>(
        &'a self,
        folder: &'a Folder,
    ) -> Result<Option<FolderLock<'a>>, StepError> {
        FolderLock::try_acquire(folder, &self.counters, &self.recycler)
    }

    /// Measures a folder and corrects its count. `Deleted` if the open folder was moved or deleted.
    ///
    /// The first measurement needs no lock; the lock is taken only to correct a count. The result
    /// is exact, because one entry too many in each of 256 folders would exceed the limit of a
    /// small store. A folder whose lock is taken keeps its count until the next time.
    pub(crate) fn recount(&self, number: u8) -> Result<(), StepError> {
        let Some(folder) = self.folder(number, false)? else {
            if self.counters.read(number) != Some(Count::default()) {
                self.counters.put(number, Count::default());
            }
            return Ok(());
        };
        if !self.root.contains(&folder_name(number), &folder.fd) {
            return Err(StepError::Deleted);
        }
        if Some(folder.measure()?) != self.counters.read(number)
            && let Some(_lock) = self.try_lock_folder(folder)?
        {
            self.counters.put(number, folder.measure()?);
        }
        Ok(())
    }

    /// Deletes the spare files that are older than `age`, of all processes.
    pub(crate) fn sweep_spare_files(&self, age: Duration) -> Result<()> {
        self.recycler.sweep(age)
    }

    /// Returns whether the path leads to this directory, and the counters and the folder of spare
    /// files are still in it.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.root.is_at(path) && !self.counters.is_deleted() && !self.recycler.is_moved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_that_another_thread_opens_or_closes_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let handle = DirectoryHandle::new(Plan::of(place.path().join("cache")));
        assert!(handle.try_with(|_| ()).is_none(), "it is not open");
        handle.open(true).unwrap();
        assert!(handle.try_with(|_| ()).is_some());
        let _opening = handle.open.write().unwrap();
        assert!(handle.try_with(|_| ()).is_none());
    }
}
