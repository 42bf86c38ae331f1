//! Flights that a task leads: its callers wait like all others, and may leave.

use shuttle::{
    future::{block_on, spawn, yield_now},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    KEY, LASTS, check,
    runtime::{first, sync::Ordering::SeqCst},
    singleflight::{Joined, Lead, Wait, WaitOutcome},
    world::{World, decode, encode},
};

pub(super) type Tasks = Arc<Mutex<Vec<shuttle::future::JoinHandle<()>>>>;

/// The view of a caller before it joined a flight.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// `None` for a load by force, which does not care whether the key was written since.
    pub(super) write_epoch: Option<u64>,
    /// The value that the load replaces.
    pub(super) old: Option<u64>,
}

/// Runs the load of a flight as `Cache::fetch` does. Its caller joined after `before` detaches.
pub(super) fn spawn_leader(world: &Arc<World>, tasks: &Tasks, lead: Lead, before: u64, seen: Seen) {
    let world = Arc::clone(world);
    let task = spawn(async move {
        if seen.write_epoch.is_some_and(|it| it != world.flights.write_epoch(KEY))
            && let Some(value) = world.read().await
            && Some(value) != seen.old
        {
            return lead.complete(Ok(encode(value)));
        }
        let load = Box::pin(lead.load(world.load(before)));
        let Some(value) = first(load, lead.unwanted()).await else { return };
        lead.store(|| world.write(Some(value)), LASTS, std::future::pending(), |_| ()).await;
        lead.complete(Ok(encode(value)));
    });
    tasks.lock().unwrap().push(task);
}

/// Does the steps of a fetch. Its caller leaves after some steps, unless `stays`.
async fn fetch(world: Arc<World>, tasks: Tasks, stays: bool) {
    let floor = world.floor.load(SeqCst);
    let write_epoch = Some(world.flights.write_epoch(KEY));
    if let Some(value) = world.read().await {
        assert!(value >= floor, "I2: read {value} after a delete that follows {floor}");
        return;
    }
    wait_for_load(&world, &tasks, Seen { write_epoch, old: None }, stays, floor).await;
}

/// Joins the flight or begins it as a task, and waits for its value.
pub(super) async fn wait_for_load(
    world: &Arc<World>,
    tasks: &Tasks,
    seen: Seen,
    stays: bool,
    floor: u64,
) {
    loop {
        let before = world.detached.load(SeqCst);
        let mut wait: Wait = match world.flights.join(KEY, LASTS).unwrap() {
            Joined::Lead(lead) => {
                let wait = lead.wait(LASTS).unwrap();
                spawn_leader(world, tasks, lead, before, seen);
                wait
            }
            Joined::Wait(wait) => wait,
        };
        let leaves = async {
            for _ in 0..3 {
                yield_now().await;
            }
            if stays {
                std::future::pending::<()>().await;
            }
        };
        match first(wait.outcome(), leaves).await {
            None => return,
            Some(WaitOutcome::Completed(result)) => {
                let value = decode(&result.unwrap());
                assert!(value >= floor, "I2: got {value} after a delete that follows {floor}");
                return;
            }
            Some(WaitOutcome::Lead(lead)) => {
                drop(wait);
                let wait = lead.wait(LASTS).unwrap();
                spawn_leader(world, tasks, lead, before, seen);
                drop(wait);
                return;
            }
            Some(WaitOutcome::Rejoin) => {}
        }
    }
}

/// Waits for the threads and the tasks that they began, then checks I4 and I2.
pub(super) fn finish(world: &World, threads: Vec<thread::JoinHandle<()>>, tasks: &Tasks) {
    for thread in threads {
        thread.join().unwrap();
    }
    let tasks = std::mem::take(&mut *tasks.lock().unwrap());
    for task in tasks {
        block_on(task).unwrap();
    }
    assert_eq!(world.flights.active(), 0, "I4: flights are left");
    let stored = *world.store.lock().unwrap();
    let floor = world.floor.load(SeqCst);
    assert!(stored.is_none_or(|it| it >= floor), "I2: {stored:?} is left in the store");
}

fn run(world: &Arc<World>, callers: &[bool], deletes: bool) {
    let tasks = Tasks::default();
    let mut threads: Vec<_> = callers
        .iter()
        .map(|stays| {
            let (world, tasks, stays) = (Arc::clone(world), Arc::clone(&tasks), *stays);
            thread::spawn(move || block_on(fetch(world, tasks, stays)))
        })
        .collect();
    if deletes {
        let world = Arc::clone(world);
        threads.push(thread::spawn(move || block_on(world.delete())));
    }
    finish(world, threads, &tasks);
}

#[test]
fn load_of_a_task_ends_when_its_callers_have_left() {
    check(|| run(&World::new(), &[false, false], false));
}

#[test]
fn caller_that_stays_gets_a_value_when_others_leave() {
    check(|| run(&World::new(), &[false, true, false], false));
}

#[test]
fn delete_during_the_load_of_a_task_wins() {
    check(|| run(&World::new(), &[true, false, true], true));
}

#[test]
fn kept_load_goes_on_without_callers_until_it_is_released() {
    check(|| {
        let world = World::new();
        let Joined::Lead(lead) = world.flights.join(KEY, LASTS).unwrap() else { unreachable!() };
        let guard = Arc::new(());
        lead.keep(Arc::clone(&guard));
        let wait = lead.wait(LASTS).unwrap();
        let tasks = Tasks::default();
        let own = Arc::clone(&world);
        tasks.lock().unwrap().push(spawn(async move {
            let hang = Box::pin(lead.load(std::future::pending::<()>()));
            assert!(first(hang, lead.unwanted()).await.is_none());
            drop(lead);
            assert_eq!(own.flights.active(), 0);
        }));
        let leaves = thread::spawn(move || drop(wait));
        let own = Arc::clone(&world);
        let releases = thread::spawn(move || own.flights.release_kept());
        leaves.join().unwrap();
        releases.join().unwrap();
        // The last of the two ended it: otherwise shuttle reports a deadlock.
        let task = tasks.lock().unwrap().pop().unwrap();
        block_on(task).unwrap();
        assert_eq!(Arc::strong_count(&guard), 1, "the guard was not dropped");
    });
}
