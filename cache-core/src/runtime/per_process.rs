//! One of something for each process.

use std::{fmt, iter::successors, mem, process, sync::OnceLock};

/// One of something for each process that uses it: a child of `fork` makes its own.
///
/// What a child inherits (threads that do not run in it, sockets that its parent uses, locks that no thread will free) is
/// never touched and never dropped in the child: it is leaked.
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
    /// Of a child of that process.
    child: PerProcess<T>,
}

impl<T> PerProcess<T> {
    /// For no process yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// That of this process, if it has one.
    pub fn get(&self) -> Option<&T> {
        self.find(process::id()).ok()
    }

    /// That of this process, made if it is not there. Two threads that come first may both make one, of which one is dropped.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let process = process::id();
        match self.find(process) {
            Ok(found) => found,
            Err(last) => {
                // Made before the cell is locked: a fork in another thread meanwhile finds it free.
                let node = Box::new(Node { process, value: make(), child: Self::new() });
                &last.0.get_or_init(|| node).value
            }
        }
    }

    /// Those of the processes from which this one was forked. Their locks may be held for ever, so they may only be tried.
    pub(crate) fn inherited(&self) -> impl Iterator<Item = &T> {
        let own = process::id();
        let all = successors(self.0.get(), |it| it.child.0.get());
        all.filter(move |it| it.process != own).map(|it| &it.value)
    }

    /// That of this process, or where to put it.
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
            if node.process != process::id() {
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
