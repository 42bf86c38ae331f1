//! Tasks that call continuously, and the outcomes of their calls.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cache_core::{Cache, Error, Result, secs};
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::timed;

/// A task per key that repeatedly writes the key, reads it, and increments a counter.
#[derive(Debug)]
pub struct Load {
    seen: Arc<Mutex<Outcomes>>,
    is_stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// The outcomes of calls.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// For each operation and outcome: how often, and the longest duration.
    counts: BTreeMap<(&'static str, String), (u64, Duration)>,
    /// An error message of each kind.
    texts: BTreeMap<String, String>,
    /// Wrong values that were read.
    wrong: Vec<String>,
}

/// How old the value that a task reads may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// At least as new as the task's last acknowledged write: only this task writes the key.
    Latest,
    /// Any value: an acknowledged write may be lost with a leader, and one that timed out may be
    /// executed late.
    Any,
}

/// The interval between rounds. Without it, calls that return at once would use all of the CPU.
const PACE: Duration = Duration::from_millis(20);

impl Load {
    /// Starts the tasks on this runtime.
    pub fn start(cache: &Cache, keys: Vec<String>, freshness: Freshness) -> Self {
        let (seen, is_stopped) = (Arc::<Mutex<Outcomes>>::default(), Arc::<AtomicBool>::default());
        let task = |key| {
            tokio::spawn(work(cache.clone(), key, freshness, seen.clone(), is_stopped.clone()))
        };
        let tasks = keys.into_iter().map(task).collect();
        Self { seen, is_stopped, tasks }
    }

    /// Returns the outcomes since the start or the last reset.
    pub fn seen(&self) -> Outcomes {
        self.seen.lock().unwrap().clone()
    }

    /// Discards the outcomes so far.
    pub fn reset(&self) {
        *self.seen.lock().unwrap() = Outcomes::default();
    }

    /// Returns whether an operation had this outcome at least this often since the last reset.
    pub fn has(&self, operation: &'static str, outcome: &str, times: u64) -> bool {
        self.seen.lock().unwrap().of(operation, outcome) >= times
    }

    /// Stops the tasks after their current round. Panics if a task panicked or read a wrong value.
    pub async fn stop(self) -> Outcomes {
        self.is_stopped.store(true, Ordering::SeqCst);
        for it in self.tasks {
            it.await.unwrap();
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert!(seen.wrong.is_empty(), "wrong values: {:?}", seen.wrong);
        seen
    }
}

impl Outcomes {
    /// Returns how often an operation had this outcome.
    pub fn of(&self, operation: &'static str, outcome: &str) -> u64 {
        self.counts.get(&(operation, outcome.to_owned())).map_or(0, |it| it.0)
    }

    /// Returns how often an operation was called.
    pub fn attempts(&self, operation: &'static str) -> u64 {
        self.counts.iter().filter(|((it, _), _)| *it == operation).map(|(_, it)| it.0).sum()
    }

    /// Returns how often an operation, or any operation if `None`, failed.
    pub fn failed(&self, operation: Option<&str>) -> u64 {
        let failed = self.counts.iter().filter(|((it, outcome), _)| {
            operation.is_none_or(|wanted| *it == wanted) && is_kind(outcome)
        });
        failed.map(|(_, it)| it.0).sum()
    }

    /// Returns whether all errors are those of an outage.
    pub fn has_only_outages(&self) -> bool {
        let mut kinds = self.counts.keys().map(|(_, outcome)| outcome).filter(|it| is_kind(it));
        kinds.all(|it| it == "Unavailable" || it == "TimedOut")
    }

    /// Returns the longest duration of a call.
    pub fn longest(&self) -> Duration {
        self.counts.values().map(|it| it.1).max().unwrap_or_default()
    }

    fn record(&mut self, operation: &'static str, outcome: &str, took: Duration) {
        let it = self.counts.entry((operation, outcome.to_owned())).or_default();
        *it = (it.0 + 1, it.1.max(took));
    }

    fn record_error(&mut self, operation: &'static str, error: &Error, took: Duration) {
        let kind = format!("{:?}", error.kind());
        self.record(operation, &kind, took);
        self.texts.entry(kind).or_insert_with(|| error.to_string());
    }
}

/// An outcome is a lowercase word or the kind of an error.
fn is_kind(outcome: &str) -> bool {
    outcome.starts_with(|it: char| it.is_ascii_uppercase())
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ((operation, outcome), (times, longest))) in self.counts.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{operation} {outcome} {times} x (<= {longest:.1?})")?;
        }
        for (kind, text) in &self.texts {
            write!(f, "; {kind}: {text}")?;
        }
        Ok(())
    }
}

async fn work(
    cache: Cache,
    key: String,
    freshness: Freshness,
    seen: Arc<Mutex<Outcomes>>,
    is_stopped: Arc<AtomicBool>,
) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let counter = counter(&key);
    let mut written = 0;
    for n in 0_u64.. {
        if is_stopped.load(Ordering::SeqCst) {
            return;
        }
        pace.tick().await;
        let (res, took) = timed(cache.set(&key, &format!("{key} {n}"), secs(600))).await;
        if res.is_ok() {
            written = n;
        }
        record(&seen, "set", "done", res, took);
        let (res, took) = timed(cache.get::<String>(&key)).await;
        let oldest = if freshness == Freshness::Latest { written } else { 0 };
        if let Ok(Some(value)) = &res
            && !is_right(value, &key, oldest, n)
        {
            seen.lock().unwrap().wrong.push(format!("{key} = {value:?}, not {oldest} to {n}"));
        }
        let outcome = if matches!(res, Ok(None)) { "miss" } else { "hit" };
        record(&seen, "get", outcome, res.map(drop), took);
        let (res, took) = timed(cache.incr_or(&counter, 1, 0, secs(600))).await;
        record(&seen, "incr", "done", res.map(drop), took);
    }
}

fn record(
    seen: &Mutex<Outcomes>,
    operation: &'static str,
    outcome: &str,
    res: Result<()>,
    took: Duration,
) {
    let mut seen = seen.lock().unwrap();
    match res {
        Ok(()) => seen.record(operation, outcome, took),
        Err(error) => seen.record_error(operation, &error, took),
    }
}

fn is_right(value: &str, key: &str, oldest: u64, latest: u64) -> bool {
    let number = value.strip_prefix(key).and_then(|it| it.strip_prefix(' ')?.parse().ok());
    number.is_some_and(|it: u64| (oldest..=latest).contains(&it))
}

/// Returns the counter of this key's task. In a Cluster it is on the same server as the key.
pub fn counter(key: &str) -> String {
    if key.contains('{') { format!("count-{key}") } else { format!("count-{{{key}}}") }
}

/// Returns whether reads and writes failed open: they had no errors.
pub fn fails_open(seen: &Outcomes) -> bool {
    seen.failed(Some("get")) == 0 && seen.failed(Some("set")) == 0
}
