//! Loads in the background of a value that is served stale, beside loads by force, callers that
//! leave, and deletes.

use shuttle::{
    future::{block_on, yield_now},
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use crate::{
    KEY, LASTS, check,
    runtime::sync::Ordering::SeqCst,
    singleflight::Joined,
    tasks::{Seen, Tasks, finish, spawn_leader, wait_for_load},
    world::World,
};

/// A caller beside others.
#[derive(Clone, Copy)]
enum Caller {
    /// Finds a stale value, and begins a refresh unless one runs.
    Stale,
    /// Finds a stale value, and waits for a new one for some steps.
    StaleWaits,
    /// Loads by force.
    Force,
    /// Loads by force, and leaves after some steps.
    ForceLeaves,
    Delete,
}

/// A bound of the refreshes that run, as `max_refreshes` is.
const MOST: usize = 1;

/// The right to refresh in the background.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(active: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |it| (it < MOST).then_some(it + 1);
        active.fetch_update(SeqCst, SeqCst, more).ok().map(|_| Self(Arc::clone(active)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Does the steps of a fetch that finds a stale value.
async fn fetch_stale(world: &Arc<World>, tasks: &Tasks, permits: &Arc<AtomicUsize>, waits: bool) {
    let floor = world.floor.load(SeqCst);
    let write_epoch = Some(world.flights.write_epoch(KEY));
    let old = world.read().await;
    let seen = Seen { write_epoch, old };
    let Some(value) = old else {
        return wait_for_load(world, tasks, seen, true, floor).await;
    };
    assert!(value >= floor, "I2: read {value} after a delete that follows {floor}");
    if !waits && world.flights.has_flight(KEY) {
        return;
    }
    let before = world.detached.load(SeqCst);
    let wait = match world.flights.join(KEY, LASTS).unwrap() {
        Joined::Wait(wait) => wait,
        Joined::Lead(lead) => {
            let Some(permit) = Permit::take(permits) else { return };
            lead.keep(permit);
            let wait = waits.then(|| lead.wait(LASTS).unwrap());
            spawn_leader(world, tasks, lead, before, seen);
            let Some(wait) = wait else { return };
            wait
        }
    };
    // The soft timeout.
    if waits {
        yield_now().await;
    }
    drop(wait);
}

/// Does the steps of a fetch by force.
async fn force(world: &Arc<World>, tasks: &Tasks, stays: bool) {
    let floor = world.floor.load(SeqCst);
    world.detaching.fetch_add(1, SeqCst);
    world.flights.detach(KEY, std::future::pending()).await;
    world.detached.fetch_add(1, SeqCst);
    let old = world.read().await;
    wait_for_load(world, tasks, Seen { write_epoch: None, old }, stays, floor).await;
}

/// Runs the callers at the same time, over a store whose value is stale. Each ends, and no flight
/// and no permit is left.
fn run(callers: &'static [Caller]) {
    check(move || {
        let world = World::new();
        *world.store.lock().unwrap() = Some(1);
        let (tasks, permits) = (Tasks::default(), Arc::new(AtomicUsize::new(0)));
        let spawn = |caller: &Caller| {
            let (world, caller) = (Arc::clone(&world), *caller);
            let (tasks, permits) = (Arc::clone(&tasks), Arc::clone(&permits));
            thread::spawn(move || {
                block_on(async {
                    match caller {
                        Caller::Stale => fetch_stale(&world, &tasks, &permits, false).await,
                        Caller::StaleWaits => fetch_stale(&world, &tasks, &permits, true).await,
                        Caller::Force => force(&world, &tasks, true).await,
                        Caller::ForceLeaves => force(&world, &tasks, false).await,
                        Caller::Delete => world.delete().await,
                    }
                });
            })
        };
        let threads = callers.iter().map(spawn).collect();
        finish(&world, threads, &tasks);
        assert_eq!(permits.load(SeqCst), 0, "a permit is left");
    });
}

use Caller::{Delete, Force, ForceLeaves, Stale, StaleWaits};

#[test]
fn refreshes_of_one_key_end_and_give_their_permits_back() {
    run(&[Stale, Stale, StaleWaits]);
}

#[test]
fn delete_during_a_refresh_wins() {
    run(&[Stale, StaleWaits, Delete]);
}

#[test]
fn load_by_force_beside_a_refresh_ends() {
    run(&[Stale, Force, StaleWaits]);
}

#[test]
fn delete_beside_a_refresh_and_a_load_by_force_wins() {
    run(&[Stale, Force, Delete]);
}

#[test]
fn loads_by_force_whose_callers_leave_end() {
    run(&[ForceLeaves, StaleWaits, ForceLeaves, Delete]);
}
