//! Tasks in a runtime, and their duration.

use std::{ops::Range, pin::Pin, sync::Arc, time::Instant};

use anyhow::Result;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use crate::harness::{Side, Took, process_time};

/// A runtime in which the tasks of a contender run.
pub(in crate::suites) struct Workers {
    runtime: Runtime,
    flavour: &'static str,
}

/// Makes a task of the operations with these numbers.
pub(in crate::suites) type Job = Arc<dyn Fn(Range<usize>) -> Task>;
pub(in crate::suites) type Task = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

const CURRENT_THREAD: &str = "current_thread";

impl Workers {
    pub(in crate::suites) fn current_thread() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, flavour: CURRENT_THREAD })
    }

    /// Creates a runtime with two worker threads.
    pub(in crate::suites) fn multi_thread() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { runtime, flavour: "multi_thread" })
    }

    pub(in crate::suites) fn flavour(&self) -> &'static str {
        self.flavour
    }

    pub(in crate::suites) fn is_current_thread(&self) -> bool {
        self.flavour == CURRENT_THREAD
    }

    pub(in crate::suites) fn block_on<R>(&self, it: impl Future<Output = R>) -> R {
        self.runtime.block_on(it)
    }

    /// Returns a contender with a number of concurrent tasks. Panics if an operation fails, because
    /// a failed operation is fast.
    pub(in crate::suites) fn side(&self, name: &'static str, tasks: usize, job: Job) -> Side<'_> {
        Side::measured(name, move |count| match self.time(&job, tasks, count) {
            Ok(took) => took,
            Err(err) => panic!("{name}: {err:#}"),
        })
    }

    fn time(&self, job: &Job, tasks: usize, count: u64) -> Result<Took> {
        let share = (usize::try_from(count)? / tasks).max(1);
        let (time, processors) = self.block_on(async {
            let (began, processors) = (Instant::now(), process_time());
            let mut running = JoinSet::new();
            for task in 0..tasks {
                // Also a single task, because `block_on` runs its future outside of the workers.
                running.spawn(job(task * share..(task + 1) * share));
            }
            while let Some(done) = running.join_next().await {
                done??;
            }
            anyhow::Ok((began.elapsed(), process_time().saturating_sub(processors)))
        })?;
        let scale = count as f64 / (share * tasks) as f64;
        Ok(Took { time: time.mul_f64(scale), processors: Some(processors.mul_f64(scale)) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn tasks_share_the_operations() {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let job: Job = Arc::new(move |range| {
            let done = Arc::clone(&counted);
            Box::pin(async move {
                done.fetch_add(range.len(), Ordering::Relaxed);
                Ok(())
            })
        });
        for workers in [Workers::current_thread().unwrap(), Workers::multi_thread().unwrap()] {
            workers.time(&job, 64, 6400).unwrap();
            assert_eq!(done.swap(0, Ordering::Relaxed), 6400);
            workers.time(&job, 64, 3).unwrap();
            assert_eq!(done.swap(0, Ordering::Relaxed), 64, "each task has at least one operation");
        }
    }

    #[test]
    fn failed_operation_is_an_error() {
        let job: Job = Arc::new(|_| Box::pin(async { anyhow::bail!("no server") }));
        let workers = Workers::current_thread().unwrap();
        assert!(workers.time(&job, 2, 2).is_err());
    }
}
