//! The queue of waiting writes.

use std::{collections::VecDeque, fmt, time::Duration};

use cache_core::Error;

use super::{database::Database, session::Session};

/// A bounded queue. The bounds hold however long the disk stalls.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    /// The bytes of all jobs.
    bytes: usize,
    /// Whether the writer thread runs, and whether it is writing.
    pub(super) has_thread: bool,
    pub(super) is_busy: bool,
    pub(super) is_closed: bool,
}

pub(super) trait Job: Send {
    fn is_wanted(&self, now: Duration) -> bool;
    /// The bytes of the write.
    fn bytes(&self) -> usize;
    /// Whether the write failed because the disk is full.
    fn hit_full_disk(&self) -> bool;
    fn run(&mut self, session: &Session<'_>);
    /// Whether the write failed in a way that may be about the file itself.
    fn is_about_the_file(&self) -> bool;
    fn answer(self: Box<Self>, committed: std::result::Result<(), &Error>, database: &Database);
}

/// Writes in one transaction. Each of them waits for all.
const GROUP: usize = 256;
/// Bytes in one transaction, unless one write alone is larger. The WAL holds a whole transaction.
const GROUP_BYTES: usize = 16 << 20;
/// Waiting writes: about what a working disk writes in a second.
const MAX_WAITING: usize = 256 * GROUP;
/// Bytes of waiting writes, unless one write alone is larger.
const MAX_WAITING_BYTES: usize = 16 * GROUP_BYTES;

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds a job if there is room. Returns the jobs that are no longer wanted, which the thread
    /// may not reach for long while the disk stalls, and whether the job was added.
    pub(super) fn add(&mut self, job: Box<dyn Job>, now: Duration) -> (Vec<Box<dyn Job>>, bool) {
        let mut late = Vec::new();
        while self.jobs.front().is_some_and(|it| !it.is_wanted(now)) {
            late.extend(self.jobs.pop_front());
        }
        self.bytes -= bytes(&late);
        if !self.has_room(job.bytes()) {
            // Unwanted jobs may be queued behind one with a later deadline.
            let (wanted, more) = self.take_all().into_iter().partition(|it| it.is_wanted(now));
            self.put_back(wanted);
            late.extend::<Vec<_>>(more);
        }
        let is_added = self.has_room(job.bytes());
        if is_added {
            self.bytes += job.bytes();
            self.jobs.push_back(job);
        }
        (late, is_added)
    }

    /// Takes the jobs of the next transaction.
    pub(super) fn take_group(&mut self) -> Vec<Box<dyn Job>> {
        let mut bytes = 0;
        let mut fits = |more: usize| {
            bytes += more;
            bytes <= GROUP_BYTES
        };
        let count = self.jobs.iter().take(GROUP).take_while(|it| fits(it.bytes())).count().max(1);
        let group: Vec<_> = self.jobs.drain(..count.min(self.jobs.len())).collect();
        self.bytes -= self::bytes(&group);
        group
    }

    pub(super) fn take_all(&mut self) -> Vec<Box<dyn Job>> {
        self.bytes = 0;
        self.jobs.drain(..).collect()
    }

    /// Puts jobs back in front.
    pub(super) fn put_back(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        self.bytes += bytes(&jobs);
        jobs.extend(self.jobs.drain(..));
        self.jobs = jobs.into();
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.is_empty()
            || (self.jobs.len() < MAX_WAITING
                && self.bytes.saturating_add(bytes) <= MAX_WAITING_BYTES)
    }
}

fn bytes(jobs: &[Box<dyn Job>]) -> usize {
    jobs.iter().map(|it| it.bytes()).sum()
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.jobs.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wait {
        until: Option<Duration>,
        bytes: usize,
    }

    impl Job for Wait {
        fn is_wanted(&self, now: Duration) -> bool {
            self.until.is_none_or(|it| now < it)
        }

        fn bytes(&self) -> usize {
            self.bytes
        }

        fn hit_full_disk(&self) -> bool {
            false
        }

        fn run(&mut self, _: &Session<'_>) {}

        fn is_about_the_file(&self) -> bool {
            false
        }

        fn answer(self: Box<Self>, _: Result<(), &Error>, _: &Database) {}
    }

    fn wait(until: Option<u64>, bytes: usize) -> Box<dyn Job> {
        Box::new(Wait { until: until.map(Duration::from_secs), bytes })
    }

    #[test]
    fn expired_writes_are_removed_when_a_job_is_added() {
        let mut queue = Queue::default();
        for _ in 0..10 {
            queue.add(wait(Some(1), 7), Duration::ZERO);
        }
        let (late, is_added) = queue.add(wait(Some(2), 5), Duration::from_secs(1));
        assert_eq!((late.len(), is_added, queue.jobs.len(), queue.bytes), (10, true, 1, 5));
    }

    #[test]
    fn full_queue_refuses_writes_until_queued_ones_expire() {
        for (count, bytes) in [(MAX_WAITING - 1, 0), (16, GROUP_BYTES)] {
            let mut queue = Queue::default();
            assert!(queue.add(wait(None, 0), Duration::ZERO).1);
            for _ in 0..count {
                assert!(queue.add(wait(Some(1), bytes), Duration::ZERO).1);
            }
            assert!(!queue.add(wait(Some(1), 1), Duration::ZERO).1);
            let (late, is_added) = queue.add(wait(Some(2), 1), Duration::from_secs(1));
            assert_eq!((late.len(), is_added, queue.jobs.len()), (count, true, 2));
            assert_eq!(queue.take_group().len(), 2);
            assert_eq!((queue.bytes, queue.is_empty()), (0, true));
        }
    }
}
