//! Fenced loads and refreshes of several processes that share a store, beside deletes, sets and
//! clears, callers that leave, and processes that die.

use std::mem;

use bytes::Bytes;
use shuttle::{
    future::{block_on, yield_now},
    rand::{Rng as _, thread_rng},
    thread,
};

use crate::{
    cache::{
        Bug, Cache, SharedStore,
        value::envelope::{Found, GRACE, OWNER_OF_EQUAL_LEASES},
    },
    check, check_with_few_preemptions,
    runtime::{
        first,
        sync::{Arc, AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    timeout::Expiry,
    world::{decode, encode},
};

/// The processes that live. A further one may die.
const PROCESSES: usize = 2;

/// A source of truth, a store in front of it, and processes that read through it.
struct World {
    source: AtomicU64,
    /// The value of the source when the last write returned, for all reads of the store.
    floor: AtomicU64,
    loads: AtomicU64,
    /// Whether the last write was a set.
    has_set: AtomicBool,
    store: SharedStore,
    processes: Vec<Process>,
    dead: Cache,
}

struct Process {
    cache: Cache,
    /// The value of the source when its own last write returned. A load that began before the write
    /// of another process may still return its value to callers that join it.
    floor: AtomicU64,
}

/// The task of one thread.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Loads, in this process.
    Load(usize),
    /// Begins a load in this process, and leaves after some steps.
    Leave(usize),
    /// Serves a stale value and refreshes it in the background, in this process.
    Refresh(usize),
    /// Only reads, in this process.
    Read(usize),
    /// Makes these writes one after the other, each in any process. Two writes at the same time
    /// have no order, so there is one such task.
    Write(&'static [Write]),
    /// Begins a load in a process that dies after some steps.
    Die,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Delete,
    Set,
    /// Sets a value that is past its timeout, and in its grace.
    SetStale,
    Clear,
}

use Task::{Die, Leave, Load, Read, Refresh};
use Write::{Clear, Delete, Set, SetStale};

impl World {
    fn new(bug: Bug) -> Arc<Self> {
        let store = SharedStore::new(bug);
        let owner = |n: usize| match bug {
            Bug::TakesLeasesOver => 1,
            Bug::EqualLeases => OWNER_OF_EQUAL_LEASES,
            _ => n as u64 + 1,
        };
        let process = |n| Process { cache: Cache::new(&store, owner(n)), floor: AtomicU64::new(1) };
        Arc::new(Self {
            source: AtomicU64::new(1),
            floor: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            has_set: AtomicBool::new(false),
            processes: (0..PROCESSES).map(process).collect(),
            dead: Cache::new(&store, owner(PROCESSES)),
            store,
        })
    }

    async fn load(&self) -> Bytes {
        self.loads.fetch_add(1, SeqCst);
        let value = self.source.load(SeqCst);
        for _ in 0..thread_rng().gen_range(0..12) {
            yield_now().await;
        }
        encode(value)
    }

    /// Reads the store, and checks I2.
    async fn get(&self, cache: &Cache) -> Option<Found> {
        let floor = self.floor.load(SeqCst);
        let found = cache.find().await?;
        if let Found::Fresh(value) | Found::Stale(value) = &found {
            let value = decode(value);
            assert!(value >= floor, "I2: read {value} after a write of {floor}");
        }
        Some(found)
    }

    async fn get_or_set(&self, cache: &Cache, floor: &AtomicU64) {
        let floor = floor.load(SeqCst);
        let write_epoch = cache.shared.flights.write_epoch(crate::KEY);
        let value = match self.get(cache).await {
            Some(Found::Fresh(value)) => value,
            _ => cache.load_missing(write_epoch, || self.load()).await,
        };
        let value = decode(&value);
        assert!(value >= floor, "I2: loaded {value} after a write of {floor}");
    }

    /// Reads, and refreshes a stale value in the background.
    async fn serve_stale(self: &Arc<Self>, cache: &Cache) {
        let write_epoch = cache.shared.flights.write_epoch(crate::KEY);
        if let Some(Found::Stale(_)) = self.get(cache).await {
            let world = Arc::clone(self);
            cache.refresh(write_epoch, move || async move { world.load().await });
        }
    }

    /// Changes the source, and then the cache. Returns whether the write was acknowledged: it ends
    /// with an error if it takes too long.
    async fn write(&self, write: Write) -> bool {
        for _ in 0..thread_rng().gen_range(0..24) {
            yield_now().await;
        }
        let new = self.source.fetch_add(1, SeqCst) + 1;
        let process = &self.processes[thread_rng().gen_range(0..PROCESSES)];
        let is_done = match write {
            Delete => process.cache.delete().await,
            Set => process.cache.set(encode(new), Expiry::Never).await,
            SetStale => process.cache.set(encode(new), Expiry::After(GRACE)).await,
            Clear => {
                process.cache.clear().await;
                true
            }
        };
        if is_done {
            process.floor.fetch_max(new, SeqCst);
            self.floor.fetch_max(new, SeqCst);
        }
        is_done
    }

    async fn run(self: Arc<Self>, task: Task) {
        let some_steps = async |most| {
            for _ in 0..thread_rng().gen_range(0..most) {
                yield_now().await;
            }
        };
        match task {
            Load(n) => {
                for _ in 0..2 {
                    self.get_or_set(&self.processes[n].cache, &self.processes[n].floor).await;
                }
            }
            Leave(n) => {
                let get = self.get_or_set(&self.processes[n].cache, &self.processes[n].floor);
                first(get, some_steps(16)).await;
            }
            Refresh(n) => {
                for _ in 0..3 {
                    self.serve_stale(&self.processes[n].cache).await;
                    some_steps(8).await;
                }
            }
            Read(n) => {
                for _ in 0..6 {
                    self.get(&self.processes[n].cache).await;
                }
            }
            Task::Write(writes) => {
                for write in writes {
                    let is_done = self.write(*write).await;
                    let is_set = matches!(write, Set | SetStale);
                    self.has_set.store(is_done && is_set, SeqCst);
                }
            }
            Die => {
                let floor = AtomicU64::new(0);
                let mut get = Box::pin(self.get_or_set(&self.dead, &floor));
                first(get.as_mut(), some_steps(16)).await;
                mem::forget(get);
            }
        }
    }
}

/// Runs each task on its own thread, then checks the state that is left.
fn run(bug: Bug, tasks: &[Task]) -> Arc<World> {
    let world = World::new(bug);
    if tasks.iter().any(|it| matches!(it, Refresh(_))) {
        let stale = (encode(1), Expiry::After(GRACE));
        block_on(world.store.write(Some(stale)));
    }
    let threads: Vec<_> = tasks
        .iter()
        .map(|task| {
            let (world, task) = (Arc::clone(&world), *task);
            thread::spawn(move || block_on(world.run(task)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for Process { cache, .. } in &world.processes {
        let tasks = mem::take(&mut *cache.shared.tasks.lock().unwrap());
        for task in tasks {
            block_on(task).unwrap();
        }
        assert_eq!(cache.shared.flights.active(), 0, "I4: flights are left");
    }
    let left = world.store.peek();
    if let Some(lease) = left.as_ref().filter(|it| it.starts_with(b"lease")) {
        let dead = format!("lease {} ", PROCESSES + 1);
        assert!(lease.starts_with(dead.as_bytes()), "the lease of a live process is left");
    } else {
        let (left, floor) = (left.as_ref().map(decode), world.floor.load(SeqCst));
        assert!(left.is_none_or(|it| it >= floor), "I2: {left:?} is left after a write of {floor}");
        let has_set = world.has_set.load(SeqCst);
        assert!(!has_set || left == Some(floor), "{left:?} is left after a set of {floor}");
    }
    world
}

const LOADS: &[Task] = &[Load(0), Load(0), Load(1)];
const LATE_LOADS: &[Task] = &[Load(0), Load(1), Read(1), Task::Write(&[Delete])];
const LATE_LOADS_AFTER_SEVERAL_WRITES: &[Task] =
    &[Load(0), Load(1), Load(1), Task::Write(&[Delete, Set, Clear, Delete])];
const LOADS_BESIDE_A_SET: &[Task] = &[Load(0), Leave(0), Load(1), Task::Write(&[Clear, Set])];
const CALLERS_THAT_LEAVE: &[Task] = &[Leave(0), Load(0), Leave(1), Task::Write(&[Delete])];
const REFRESHES: &[Task] = &[Refresh(0), Refresh(1), Read(0), Task::Write(&[Delete])];
const REFRESHES_BESIDE_A_LOAD: &[Task] = &[Refresh(0), Load(0), Load(1), Task::Write(&[Clear])];
const REFRESHES_AFTER_SEVERAL_WRITES: &[Task] =
    &[Refresh(0), Refresh(1), Refresh(1), Task::Write(&[Set, SetStale, Delete, SetStale])];
const DEAD_HOLDER: &[Task] = &[Die, Load(0), Load(1), Task::Write(&[Delete])];

/// Fails if a process loads beside another.
fn load_once(bug: Bug, tasks: &[Task]) {
    let world = run(bug, tasks);
    assert_eq!(world.loads.load(SeqCst), 1, "several processes have loaded");
}

#[test]
fn processes_load_a_key_once() {
    check(|| load_once(Bug::None, LOADS));
}

#[test]
fn delete_by_any_process_wins_over_the_loads_of_all() {
    check(|| drop(run(Bug::None, LATE_LOADS)));
    check(|| drop(run(Bug::None, LATE_LOADS_AFTER_SEVERAL_WRITES)));
}

#[test]
fn set_is_neither_overwritten_nor_removed_by_loads() {
    check(|| drop(run(Bug::None, LOADS_BESIDE_A_SET)));
}

#[test]
fn delete_by_any_process_wins_over_the_refreshes_of_all() {
    check(|| drop(run(Bug::None, REFRESHES)));
    check(|| drop(run(Bug::None, REFRESHES_BESIDE_A_LOAD)));
}

#[test]
fn set_is_neither_overwritten_nor_removed_by_refreshes() {
    check(|| drop(run(Bug::None, REFRESHES_AFTER_SEVERAL_WRITES)));
}

#[test]
fn callers_that_leave_leave_no_lease() {
    check(|| drop(run(Bug::None, CALLERS_THAT_LEAVE)));
}

#[test]
fn dead_holder_delays_others_and_keeps_no_deleted_value() {
    check(|| drop(run(Bug::None, DEAD_HOLDER)));
}

/// The model finds faults of the fences.
#[test]
fn each_bug_breaks_an_invariant() {
    type Scenario = fn(Bug);
    let scenarios: [(Bug, Scenario); 8] = [
        (Bug::StoresAlways, |bug| drop(run(bug, LATE_LOADS))),
        (Bug::StoresWithoutLease, |bug| drop(run(bug, LATE_LOADS))),
        (Bug::ReleasesEverything, |bug| drop(run(bug, LOADS_BESIDE_A_SET))),
        (Bug::TakesLeasesOver, |bug| load_once(bug, LOADS)),
        (Bug::EqualLeases, |bug| drop(run(bug, LATE_LOADS))),
        (Bug::StoresAlways, |bug| drop(run(bug, REFRESHES))),
        (Bug::StoresWithoutLease, |bug| drop(run(bug, REFRESHES))),
        (Bug::StoresOverOtherEntries, |bug| drop(run(bug, REFRESHES_AFTER_SEVERAL_WRITES))),
    ];
    let is_found = |bug: Bug, scenario: Scenario| {
        let with_preemptions = std::thread::spawn(move || {
            check_with_few_preemptions(move || scenario(bug));
        });
        with_preemptions.join().is_err()
            || std::thread::spawn(move || check(move || scenario(bug))).join().is_err()
    };
    for (bug, scenario) in scenarios {
        // The schedules are random: those of one try may all miss it.
        let found = (0..10).any(|_| is_found(bug, scenario));
        assert!(found, "{bug:?} breaks no invariant");
    }
}
