//! Tasks that call all the time, and what they see.

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

/// A task per key that writes it, reads it and counts, again and again.
#[derive(Debug)]
pub struct Load {
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What came of the calls.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often an operation came to an outcome, and the longest that it took.
    outcomes: BTreeMap<(&'static str, String), (u64, Duration)>,
    /// One error of each kind.
    texts: BTreeMap<String, String>,
    /// Values that should not have been read.
    wrong: Vec<String>,
}

/// How old a value may be that a task reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Not older than what it has written last: only this task writes the key.
    Latest,
    /// What is acknowledged may be lost with a leader, and what timed out may be done late.
    Any,
}

/// Calls that end at once would take all there is of this machine.
const PACE: Duration = Duration::from_millis(20);

impl Load {
    /// Begins, in this runtime.
    pub fn start(cache: &Cache, keys: Vec<String>, age: Age) -> Self {
        let (seen, over) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let task = |key| tokio::spawn(work(cache.clone(), key, age, seen.clone(), over.clone()));
        let tasks = keys.into_iter().map(task).collect();
        Self { seen, over, tasks }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Forgets what was seen so far.
    pub fn forget(&self) {
        *self.seen.lock().unwrap() = Seen::default();
    }

    /// Whether each operation has come to this outcome so many times since the last look away.
    pub fn has(&self, operation: &'static str, outcome: &str, times: u64) -> bool {
        self.seen.lock().unwrap().of(operation, outcome) >= times
    }

    /// Lets each task end its round. A task that panicked is a failure here.
    pub async fn stop(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        for it in self.tasks {
            it.await.unwrap();
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert!(seen.wrong.is_empty(), "wrong values: {:?}", seen.wrong);
        seen
    }
}

impl Seen {
    /// How often an operation came to this outcome.
    pub fn of(&self, operation: &'static str, outcome: &str) -> u64 {
        self.outcomes.get(&(operation, outcome.to_owned())).map_or(0, |it| it.0)
    }

    /// How often an operation was tried.
    pub fn tried(&self, operation: &'static str) -> u64 {
        self.outcomes.iter().filter(|((it, _), _)| *it == operation).map(|(_, it)| it.0).sum()
    }

    /// How often an operation, or any, ended with an error.
    pub fn failed(&self, operation: Option<&str>) -> u64 {
        let failed = self.outcomes.iter().filter(|((it, outcome), _)| {
            operation.is_none_or(|wanted| *it == wanted) && is_kind(outcome)
        });
        failed.map(|(_, it)| it.0).sum()
    }

    /// Whether all errors are what an outage is.
    pub fn has_only_outages(&self) -> bool {
        let mut kinds = self.outcomes.keys().map(|(_, outcome)| outcome).filter(|it| is_kind(it));
        kinds.all(|it| it == "Unavailable" || it == "TimedOut")
    }

    /// The longest that a call took.
    pub fn longest(&self) -> Duration {
        self.outcomes.values().map(|it| it.1).max().unwrap_or_default()
    }

    fn note(&mut self, operation: &'static str, outcome: &str, took: Duration) {
        let it = self.outcomes.entry((operation, outcome.to_owned())).or_default();
        *it = (it.0 + 1, it.1.max(took));
    }

    fn note_error(&mut self, operation: &'static str, error: &Error, took: Duration) {
        let kind = format!("{:?}", error.kind());
        self.note(operation, &kind, took);
        self.texts.entry(kind).or_insert_with(|| error.to_string());
    }
}

/// Outcomes are words of their own, or kinds of errors.
fn is_kind(outcome: &str) -> bool {
    outcome.starts_with(|it: char| it.is_ascii_uppercase())
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ((operation, outcome), (times, longest))) in self.outcomes.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{operation} {outcome} {times} x (<= {longest:.1?})")?;
        }
        for (kind, text) in &self.texts {
            write!(f, "; {kind}: {text}")?;
        }
        Ok(())
    }
}

async fn work(cache: Cache, key: String, age: Age, seen: Arc<Mutex<Seen>>, over: Arc<AtomicBool>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let counter = counter(&key);
    let mut written = 0;
    for n in 0_u64.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        pace.tick().await;
        let (res, took) = timed(cache.set(&key, &format!("{key} {n}"), secs(600))).await;
        if res.is_ok() {
            written = n;
        }
        note(&seen, "set", "done", res, took);
        let (res, took) = timed(cache.get::<String>(&key)).await;
        let oldest = if age == Age::Latest { written } else { 0 };
        if let Ok(Some(value)) = &res
            && !is_right(value, &key, oldest, n)
        {
            seen.lock().unwrap().wrong.push(format!("{key} = {value:?}, not {oldest} to {n}"));
        }
        let outcome = if matches!(res, Ok(None)) { "miss" } else { "hit" };
        note(&seen, "get", outcome, res.map(drop), took);
        let (res, took) = timed(cache.incr_or(&counter, 1, 0, secs(600))).await;
        note(&seen, "incr", "done", res.map(drop), took);
    }
}

fn note(
    seen: &Mutex<Seen>,
    operation: &'static str,
    outcome: &str,
    res: Result<()>,
    took: Duration,
) {
    let mut seen = seen.lock().unwrap();
    match res {
        Ok(()) => seen.note(operation, outcome, took),
        Err(error) => seen.note_error(operation, &error, took),
    }
}

fn is_right(value: &str, key: &str, oldest: u64, latest: u64) -> bool {
    let number = value.strip_prefix(key).and_then(|it| it.strip_prefix(' ')?.parse().ok());
    number.is_some_and(|it: u64| (oldest..=latest).contains(&it))
}

/// Where the task of this key counts. In a Cluster it is on the same server.
pub fn counter(key: &str) -> String {
    if key.contains('{') { format!("count-{key}") } else { format!("count-{{{key}}}") }
}

/// The kinds that each call of a handle may end with that fails open.
pub fn is_open_about_it(seen: &Seen) -> bool {
    seen.failed(Some("get")) == 0 && seen.failed(Some("set")) == 0
}
