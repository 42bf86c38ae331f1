//! The source of the single flight and of the fences under a model checker: with shuttle's locks
//! and atomics, it runs through thousands of interleavings. The invariants are those of the design:
//! I1 one loader per key and generation, I2 no read after a delete returns an older value, I3 no
//! caller waits longer than the time of the load, I4 no flight is left when idle.

#![allow(missing_docs, unreachable_pub)]

// The source under test imports `crate::cache`, `crate::error`, `crate::runtime` and others.
#[expect(
    clippy::needless_pass_by_value,
    clippy::unused_self,
    reason = "the types are those that the source under test expects"
)]
mod cache;
#[expect(clippy::unused_self, reason = "as in the source under test")]
mod error;
mod fences;
mod refreshes;
mod runtime;
#[allow(dead_code)]
#[path = "../../src/fetch/singleflight.rs"]
mod singleflight;
mod tasks;
mod world;

#[path = "../../src/runtime/first.rs"]
mod first;
#[path = "../../src/runtime/join.rs"]
mod join;

pub(crate) use cache::{fetch, layer, store, timeout, value};

use std::{
    future::{Future, pending, ready},
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use error::{ErrorKind, Result};
use runtime::first;
use runtime::sync::Ordering::SeqCst;
use shuttle::{
    future::{block_on, spawn, yield_now},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::Arc,
    thread,
};
use singleflight::{Joined, Singleflight, WaitOutcome};
use world::{KEY, LASTS, World, decode};

const SCHEDULES: usize = 3_000;
const PREEMPTIONS: usize = 3;

/// Runs the scenario with many random schedules.
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    run_schedules(RandomScheduler::new(SCHEDULES), scenario);
}

/// Runs the scenario with many schedules in which few tasks are interrupted, at random points: they
/// find races that need many steps in a certain order.
fn check_with_few_preemptions(scenario: impl Fn() + Send + Sync + 'static) {
    run_schedules(PctScheduler::new(PREEMPTIONS, SCHEDULES), scenario);
}

fn run_schedules(schedules: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    // shuttle's atomics are large, and `Singleflight` has a hundred of them.
    config.stack_size = 1 << 19;
    shuttle::Runner::new(schedules, config).run(scenario);
}

/// Runs each task on its own thread, then checks I4 and that the store is not out of date.
fn run(world: &Arc<World>, tasks: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = tasks.into_iter().map(thread::spawn).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(world.flights.active(), 0, "I4: flights are left");
    let stored = *world.store.lock().unwrap();
    assert!(
        stored.is_none_or(|it| it >= world.floor.load(SeqCst)),
        "I2: {stored:?} is left in the store"
    );
}

fn task<F: Future<Output = ()>>(
    world: &Arc<World>,
    code: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Box<dyn FnOnce() + Send> {
    let world = Arc::clone(world);
    Box::new(move || block_on(code(world)))
}

#[test]
fn concurrent_callers_share_one_load() {
    check(|| {
        let world = World::new();
        let get = || task(&world, |it| async move { it.get_checked().await });
        run(&world, vec![get(), get(), get()]);
        assert_eq!(world.loads.load(SeqCst), 1);
    });
}

#[test]
fn delete_during_a_load_wins() {
    check(|| {
        let world = World::new();
        let get = || {
            task(&world, |it| async move {
                it.get_checked().await;
                it.get_checked().await;
            })
        };
        let delete = || task(&world, |it| async move { it.delete().await });
        run(&world, vec![get(), get(), delete(), delete()]);
    });
}

#[test]
fn load_that_begins_during_a_write_does_not_overwrite_it() {
    check(|| {
        let world = World::new();
        let get = || {
            task(&world, |it| async move {
                it.get_checked().await;
                it.get_checked().await;
            })
        };
        let set = task(&world, |it| async move { it.set(50).await });
        run(&world, vec![get(), get(), set]);
        assert_eq!(*world.store.lock().unwrap(), Some(50));
    });
}

#[test]
fn value_is_revoked_by_a_writer_that_stops_waiting() {
    let scenario = || {
        let world = World::impatient();
        let get = || {
            task(&world, |it| async move {
                it.get_checked().await;
                it.get_checked().await;
            })
        };
        let delete = || task(&world, |it| async move { it.delete().await });
        run(&world, vec![get(), get(), delete(), delete()]);
    };
    check(scenario);
    check_with_few_preemptions(scenario);
}

#[test]
fn waiter_leads_when_the_leader_is_dropped() {
    check(|| {
        let world = World::new();
        // A caller that is dropped after some steps, wherever it is then.
        let dropped = task(&world, |it| async move {
            let steps = async {
                for _ in 0..3 {
                    yield_now().await;
                }
            };
            // `World::load` would leave its entry in the list of loaders, so this one loads
            // nothing.
            let get = async {
                match it.flights.join(KEY, LASTS).unwrap() {
                    Joined::Lead(lead) => lead.load(pending::<()>()).await,
                    Joined::Wait(mut wait) => match wait.outcome().await {
                        WaitOutcome::Lead(lead) => lead.load(pending::<()>()).await,
                        WaitOutcome::Completed(_) | WaitOutcome::Rejoin => {}
                    },
                }
            };
            first(get, steps).await;
        });
        let get = || task(&world, |it| async move { it.get_checked().await });
        let delete = task(&world, |it| async move { it.delete().await });
        run(&world, vec![dropped, get(), get(), delete]);
    });
}

/// Polls a future once, for a caller that then stops polling it.
fn polled_once<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    let mut future = Box::pin(future);
    let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending());
    future
}

/// I3: shuttle reports a caller that still waits as a deadlock.
#[test]
fn waiter_leads_when_the_time_of_the_leader_is_over() {
    check(|| {
        let world = World::new();
        // Its loader never ends, and delays no caller after its time.
        let own = Arc::clone(&world);
        let stuck = polled_once(async move {
            let Joined::Lead(lead) = own.flights.join(KEY, LASTS).unwrap() else { unreachable!() };
            lead.load(pending::<()>()).await;
        });
        let waiter = || {
            task(&world, |it| async move {
                loop {
                    match it.flights.join(KEY, LASTS).unwrap() {
                        Joined::Lead(lead) => break assert_eq!(it.lead(lead, it.load(0)).await, 1),
                        Joined::Wait(mut wait) => {
                            // This is the timer of the cache.
                            let until = wait.until();
                            let over = async {
                                while Duration::from_secs(it.time.load(SeqCst)) < until {
                                    yield_now().await;
                                }
                            };
                            match first(wait.outcome(), over).await {
                                Some(WaitOutcome::Lead(lead)) => {
                                    break assert_eq!(it.lead(lead, it.load(0)).await, 1);
                                }
                                Some(WaitOutcome::Completed(result)) => {
                                    break assert_eq!(decode(&result.unwrap()), 1);
                                }
                                Some(WaitOutcome::Rejoin) | None => {}
                            }
                        }
                    }
                }
            })
        };
        let clock = task(&world, |it| async move {
            yield_now().await;
            it.time.fetch_add(LASTS.as_secs(), SeqCst);
        });
        run(&world, vec![waiter(), waiter(), waiter(), clock]);
        // A caller that joins when the flight is complete loads as well.
        assert!((1..=3).contains(&world.loads.load(SeqCst)));
        drop(stuck);
        assert_eq!(world.flights.active(), 0, "I4: flights are left");
    });
}

#[test]
fn write_that_is_not_polled_ends_with_its_time() {
    check(|| {
        let world = World::new();
        let own = Arc::clone(&world);
        let aside = polled_once(async move {
            let mut writing = own.flights.begin_write(KEY, LASTS);
            writing.expire_after(LASTS);
            let done = writing.run(own.write(Some(0))).await;
            own.end(writing);
            done
        });
        world.time.fetch_add(LASTS.as_secs(), SeqCst);
        let get = || task(&world, |it| async move { it.get_checked().await });
        let late = task(&world, |_| async move {
            assert!(aside.await.is_none(), "it would overwrite a value that was loaded since");
        });
        run(&world, vec![get(), get(), late]);
        assert_ne!(*world.store.lock().unwrap(), Some(0));
        // The late write may have detached the flights, so only this load is sure to be stored.
        run(&world, vec![get()]);
        assert_eq!(*world.store.lock().unwrap(), Some(1));
    });
}

#[test]
fn finished_write_removes_its_claim_beside_one_that_is_not_polled() {
    check(|| {
        let world = World::new();
        let mut aside = world.flights.begin_write(KEY, LASTS);
        aside.expire_after(LASTS);
        world.time.fetch_add(LASTS.as_secs() / 2, SeqCst);
        let mut done = world.flights.begin_write(KEY, LASTS);
        done.expire_after(LASTS);
        drop(done);
        world.time.fetch_add(LASTS.as_secs() / 2, SeqCst);
        run(&world, vec![task(&world, |it| async move { it.get_checked().await })]);
        assert_eq!(*world.store.lock().unwrap(), Some(1), "the loaded value was not stored");
        drop(aside);
    });
}

#[test]
fn pending_write_that_is_not_polled_ends_with_its_time() {
    check(|| {
        let world = World::new();
        let own = Arc::clone(&world);
        let aside = polled_once(async move {
            let Joined::Lead(lead) = own.flights.join(KEY, LASTS).unwrap() else { unreachable!() };
            lead.load(ready(())).await;
            lead.store(|| own.write(Some(0)), LASTS, pending(), |_| ()).await
        });
        world.time.fetch_add(LASTS.as_secs(), SeqCst);
        let set = task(&world, |it| async move { it.set(50).await });
        let late = task(&world, |_| async move {
            assert!(aside.await.is_none(), "it would overwrite a value that was written since");
        });
        run(&world, vec![set, late]);
        assert_eq!(*world.store.lock().unwrap(), Some(50));
    });
}

#[test]
fn loads_that_wait_for_each_other_end_with_an_error() {
    /// Loads `outer`, whose loader loads `inner`. Returns an error if a circle was detected.
    async fn nest(flights: &Arc<Singleflight>, outer: &str, inner: &str) -> Result<()> {
        match flights.join(outer, LASTS)? {
            Joined::Wait(mut wait) => match wait.outcome().await {
                WaitOutcome::Completed(res) => res.map(drop),
                WaitOutcome::Rejoin | WaitOutcome::Lead(_) => Ok(()),
            },
            Joined::Lead(lead) => {
                let res = lead
                    .load(async {
                        yield_now().await;
                        match flights.join(inner, LASTS)? {
                            Joined::Lead(lead) => {
                                lead.load(yield_now()).await;
                                lead.complete(Ok(Bytes::new()));
                                Ok(())
                            }
                            Joined::Wait(mut wait) => match wait.outcome().await {
                                WaitOutcome::Completed(res) => res.map(drop),
                                WaitOutcome::Rejoin | WaitOutcome::Lead(_) => Ok(()),
                            },
                        }
                    })
                    .await;
                lead.complete(res.clone().map(|()| Bytes::new()));
                res
            }
        }
    }
    check(|| {
        let flights = Arc::new(Singleflight::new(true, || Duration::ZERO));
        let tasks: Vec<_> = [("a", "b"), ("b", "c"), ("c", "a")]
            .into_iter()
            .map(|(outer, inner)| {
                let flights = Arc::clone(&flights);
                spawn(async move { nest(&flights, outer, inner).await })
            })
            .collect();
        // The test ends: shuttle would report a deadlock.
        for task in tasks {
            if let Err(error) = block_on(task).unwrap() {
                assert_eq!(error.kind(), ErrorKind::Loader);
                assert!(error.message().contains(" → "), "{error}");
            }
        }
        assert_eq!(flights.active(), 0);
    });
}
