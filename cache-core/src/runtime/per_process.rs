use std::{cell::RefCell, fmt, iter::successors, mem, process, sync::OnceLock};

use forkguard::Guard;

/// A value per process: a child of `fork` creates its own.
///
/// The child neither uses nor drops the value that it inherits (threads that do not run in the
/// child, sockets that the parent uses, locks that no thread will release): it leaks the value.
///
/// A child is detected if it was made by the `fork` of the C library, not by a system call of its
/// own.
///
/// ```
/// use cache_core::store::PerProcess;
///
/// static NUMBER: PerProcess<u32> = PerProcess::new();
/// assert_eq!(NUMBER.get(), None);
/// assert_eq!(*NUMBER.get_or_init(std::process::id), std::process::id());
/// assert_eq!(NUMBER.get(), Some(&std::process::id()));
/// ```
pub struct PerProcess<T>(OnceLock<Box<Node<T>>>);

struct Node<T> {
    process: u32,
    value: T,
    /// The value of a child of that process.
    child: PerProcess<T>,
}

impl<T> PerProcess<T> {
    /// Creates it without a value for any process.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Returns the value of this process, if it exists.
    pub fn get(&self) -> Option<&T> {
        self.find(current_process()).ok()
    }

    /// Returns the value of this process, which `make` creates if it does not exist. If two threads
    /// call it at the same time, both may create a value, and one of them is dropped.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let process = current_process();
        match self.find(process) {
            Ok(found) => found,
            Err(last) => {
                // Created before the cell is locked: after a fork in another thread it is not
                // locked.
                let node = Box::new(Node { process, value: make(), child: Self::new() });
                &last.0.get_or_init(|| node).value
            }
        }
    }

    /// Returns the values of the processes from which this one was forked. Their locks may be held
    /// forever, so the caller only tries them.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = &T> {
        let own = current_process();
        let all = successors(self.0.get(), |it| it.child.0.get());
        all.filter(move |it| it.process != own).map(|it| &it.value)
    }

    /// Returns the value of this process, or the cell for it.
    fn find(&self, process: u32) -> Result<&T, &Self> {
        let mut at = self;
        while let Some(node) = at.0.get() {
            if node.process == process {
                return Ok(&node.value);
            }
            at = &node.child;
        }
        Err(at)
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if let Some(mut node) = self.0.take() {
            drop(mem::take(&mut node.child));
            if node.process != current_process() {
                mem::forget(node);
            }
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerProcess").field(&self.get()).finish()
    }
}

/// Returns the number of this process. After the first call of a thread it needs no system call:
/// that would cost as much as sending a request, and calls ask several times.
pub(super) fn current_process() -> u32 {
    thread_local! {
        /// The guard detects a fork since the process number was read. It is absent if the system
        /// refuses its handler.
        static KNOWN: RefCell<(Option<Guard>, u32)> =
            RefCell::new((Guard::try_new().ok(), process::id()));
    }
    let known = KNOWN.try_with(|known| match &mut *known.borrow_mut() {
        (Some(guard), number) => {
            if guard.detected_fork() {
                *number = process::id();
            }
            *number
        }
        (None, _) => process::id(),
    });
    // The thread is ending.
    known.unwrap_or_else(|_| process::id())
}
