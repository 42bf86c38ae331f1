//! A contender.

use std::{
    fmt,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// A contender: a name, and a function that runs a given number of operations.
pub struct Side<'a> {
    name: &'static str,
    run: Box<dyn FnMut(u64) -> Took + 'a>,
}

/// How long operations took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// The time that is compared.
    pub time: Duration,
    /// The CPU time of all threads of this process, if the operations ran here.
    pub processors: Option<Duration>,
}

impl<'a> Side<'a> {
    /// Returns a contender whose operations never wait. It is measured in CPU time, which excludes
    /// other programs.
    pub fn busy(name: &'static str, mut operations: impl FnMut(u64) + 'a) -> Self {
        Self::timed(name, move |count| {
            let start = processor_time();
            operations(count);
            processor_time().saturating_sub(start)
        })
    }

    /// Returns a contender that measures its own time.
    pub fn timed(name: &'static str, mut time: impl FnMut(u64) -> Duration + 'a) -> Self {
        Self::measured(name, move |count| Took { time: time(count), processors: None })
    }

    /// Returns a contender that also measures its CPU time.
    pub fn measured(name: &'static str, run: impl FnMut(u64) -> Took + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns how long this many operations take.
    pub fn time(&mut self, count: u64) -> Duration {
        self.measure(count).time
    }

    /// Returns how long this many operations take, and their CPU time.
    pub fn measure(&mut self, count: u64) -> Took {
        (self.run)(count)
    }

    /// Returns how many operations take about `chunk`. The contender has run at least this long
    /// afterwards, so it is warm.
    pub(super) fn calibrate(&mut self, chunk: Duration) -> u64 {
        // Starts with one operation: some peers take half a second per operation.
        let mut count = 1;
        loop {
            let took = self.time(count);
            if took * 2 >= chunk {
                let all = u128::from(count) * chunk.as_nanos() / took.as_nanos().max(1);
                count = u64::try_from(all).unwrap_or(u64::MAX).max(1);
                // The first operations may be slower than the others.
                if self.time(count) * 2 >= chunk {
                    return count;
                }
            }
            count *= 2;
        }
    }
}

impl fmt::Debug for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Side").field(&self.name).finish()
    }
}

/// Returns the CPU time of this thread.
pub fn processor_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// Returns the CPU time of all threads of this process.
pub fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        time.tv_sec.try_into().unwrap_or_default(),
        time.tv_nsec.try_into().unwrap_or_default(),
    )
}

/// Divides the operations among threads. Each thread gets its number and its share. The time is
/// from the start of the first operation to the end of the last one, without the start of threads.
pub fn on_threads(threads: usize, count: u64, operations: impl Fn(usize, u64) + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let run = |thread| {
        barrier.wait();
        let start = Instant::now();
        operations(thread, count / threads as u64);
        (start, Instant::now())
    };
    let times: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|it| scope.spawn(move || run(it))).collect();
        running.into_iter().filter_map(|it| it.join().ok()).collect()
    });
    let first = times.iter().map(|it| it.0).min();
    let last = times.iter().map(|it| it.1).max();
    last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_contender_is_given_as_much_as_fills_its_chunk() {
        let mut side =
            Side::timed("a", |count| Duration::from_micros(10) * u32::try_from(count).unwrap());
        assert_eq!(side.calibrate(Duration::from_millis(40)), 4000);
        let mut slow = Side::timed("b", Duration::from_secs);
        assert_eq!(slow.calibrate(Duration::from_millis(40)), 1);
    }

    #[test]
    fn a_slow_start_does_not_make_the_chunk_short() {
        let mut calls = 0;
        let mut side = Side::timed("a", |count| {
            calls += 1;
            let start = Duration::from_millis(if calls == 1 { 90 } else { 0 });
            start + Duration::from_micros(10) * u32::try_from(count).unwrap()
        });
        assert_eq!(side.calibrate(Duration::from_millis(40)), 4000);
    }

    #[test]
    fn threads_share_the_operations() {
        let done = AtomicU64::new(0);
        on_threads(4, 1000, |_, count| {
            done.fetch_add(count, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 1000);
    }
}
