//! The writes that wait for the thread that writes.

use std::{collections::VecDeque, fmt, time::Duration};

use cache_core::Error;

use super::{database::Database, session::Session};

/// Its bounds hold however long the disk stalls.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    /// Of all of them.
    bytes: usize,
    /// The thread is there, and is it at work?
    pub(super) has_thread: bool,
    pub(super) is_busy: bool,
    pub(super) is_closed: bool,
}

pub(super) trait Job: Send {
    fn is_wanted(&self, now: Duration) -> bool;
    /// How large it is.
    fn bytes(&self) -> usize;
    /// Whether it failed for want of room on the disk.
    fn hit_full_disk(&self) -> bool;
    fn run(&mut self, session: &Session<'_>);
    /// Whether it failed in a way that puts the file in doubt.
    fn is_about_the_file(&self) -> bool;
    fn answer(self: Box<Self>, committed: std::result::Result<(), &Error>, database: &Database);
}

/// The most writes in one transaction: others wait for all of them.
const GROUP: usize = 256;
/// And the most bytes, unless one by itself is larger: the log has all of a transaction, and then some.
const GROUP_BYTES: usize = 16 << 20;
/// The most writes that wait: what a disk at work writes in a second or so.
const MAX_WAITING: usize = 256 * GROUP;
/// And the most bytes, unless one by itself is larger.
const MAX_WAITING_BYTES: usize = 16 * GROUP_BYTES;

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds a job, unless too much waits, and returns those that are no longer wanted: a stalled disk may keep the thread from
    /// them for long.
    pub(super) fn add(&mut self, job: Box<dyn Job>, now: Duration) -> (Vec<Box<dyn Job>>, bool) {
        let mut late = Vec::new();
        while self.jobs.front().is_some_and(|it| !it.is_wanted(now)) {
            late.extend(self.jobs.pop_front());
        }
        self.bytes -= bytes(&late);
        if !self.has_room(job.bytes()) {
            // They may be behind one with more patience.
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

    /// Those that are written together.
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

    /// Before those that came since.
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
    fn late_writes_leave_the_queue_when_others_come() {
        let mut queue = Queue::default();
        for _ in 0..10 {
            queue.add(wait(Some(1), 7), Duration::ZERO);
        }
        let (late, is_added) = queue.add(wait(Some(2), 5), Duration::from_secs(1));
        assert_eq!((late.len(), is_added, queue.jobs.len(), queue.bytes), (10, true, 1, 5));
    }

    #[test]
    fn full_queue_refuses_writes_until_others_are_late() {
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
