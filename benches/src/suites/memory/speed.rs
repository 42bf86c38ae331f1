//! Gets, misses and sets, and gets and sets at capacity, with one, two and four threads.

use std::{
    hint::black_box,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;

use super::stores::{Engine, Map, Moka, Ours, Store, VALUE_LEN, absent_key, key, value};
use crate::{
    harness::{Bench, Case, Contest, Side, Unit, on_threads},
    random::zipf,
};

/// The usual skew of requests.
const EXPONENT: f64 = 0.99;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    for (keys, suffix) in [(1_000, "_1k"), (100_000, ""), (1_000_000, "_1m")] {
        if keys > 100_000 && bench.effort().quick {
            continue;
        }
        let names = ["get", "miss", "set", "mixed"].map(|it| format!("{it}{suffix}"));
        if !names.iter().any(|it| bench.wants(it)) {
            continue;
        }
        let requests = Requests::new(keys, bench.effort().requests);
        let [get, miss, set, mixed] = names;
        let room = 2 * keys;
        let (ours, engine) = (requests.filled::<Ours>(room), requests.filled::<Engine>(room));
        let (moka, map) = (requests.filled::<Moka>(room), requests.filled::<Map>(room));
        for (name, job) in [(get, Job::Get), (miss, Job::Miss), (set, Job::Set)] {
            for threads in [1, 2, 4] {
                let with = With { requests: &requests, job, threads };
                let sides =
                    vec![with.side(&ours), with.side(&engine), with.side(&moka), with.side(&map)];
                bench.run(Contest { case: case(&name, threads), sides })?;
            }
        }
        drop((ours, engine, moka, map));
        if !bench.wants(&mixed) {
            continue;
        }
        // Without the map, which has no bound and would find all keys.
        let room = keys / 10;
        let (ours, engine) = (requests.filled::<Ours>(room), requests.filled::<Engine>(room));
        let moka = requests.filled::<Moka>(room);
        for threads in [1, 2, 4] {
            let with = With { requests: &requests, job: Job::Mixed, threads };
            let sides = vec![with.side(&ours), with.side(&engine), with.side(&moka)];
            bench.run(Contest { case: case(&mixed, threads), sides })?;
        }
    }
    Ok(())
}

fn case(name: &str, threads: usize) -> Case {
    Case::new(name, Unit::PerSecond, VALUE_LEN).on_threads(threads)
}

/// The requested keys.
struct Requests {
    keys: Vec<String>,
    absent: Vec<String>,
    /// The places of the requested keys, in the order of the requests.
    trace: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Job {
    Get,
    Miss,
    Set,
    /// Nine reads for each write.
    Mixed,
}

/// The work of a contender.
#[derive(Clone, Copy)]
struct With<'a> {
    requests: &'a Requests,
    job: Job,
    threads: usize,
}

impl Requests {
    fn new(keys: usize, requests: usize) -> Self {
        Self {
            keys: (0..keys).map(key).collect(),
            absent: (0..keys).map(absent_key).collect(),
            trace: zipf(keys, EXPONENT, requests),
        }
    }

    /// Returns a store with all keys, which are set in another order than in memory and in
    /// requests.
    fn filled<S: Store>(&self, room: usize) -> S {
        let store = S::new(room, None);
        let step = 7919;
        for n in 0..self.keys.len() {
            store.set(&self.keys[n * step % self.keys.len()], value());
        }
        store.settle();
        store
    }
}

impl<'a> With<'a> {
    fn side<S: Store>(self, store: &'a S) -> Side<'a> {
        let Self { requests, job, threads } = self;
        // Each chunk continues where the last chunk ended.
        let next = AtomicUsize::new(0);
        let work = move |_, count: u64| {
            let count = usize::try_from(count).unwrap_or_default();
            let start = next.fetch_add(count, Ordering::Relaxed);
            requests.work(job, store, start, count);
        };
        if threads == 1 {
            Side::busy(S::NAME, move |count| work(0, count))
        } else {
            Side::timed(S::NAME, move |count| on_threads(threads, count, &work))
        }
    }
}

impl Requests {
    fn work<S: Store>(&self, job: Job, store: &S, start: usize, count: usize) {
        let places = self.trace.iter().cycle().skip(start % self.trace.len()).take(count);
        match job {
            Job::Get => places.for_each(|at| drop(black_box(store.get(&self.keys[*at])))),
            Job::Miss => places.for_each(|at| drop(black_box(store.get(&self.absent[*at])))),
            Job::Set => places.for_each(|at| store.set(&self.keys[*at], value())),
            Job::Mixed => places.enumerate().for_each(|(n, at)| {
                if n % 10 == 9 {
                    store.set(&self.keys[*at], value());
                } else {
                    drop(black_box(store.get(&self.keys[*at])));
                }
            }),
        }
    }
}
