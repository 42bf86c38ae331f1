//! The flight under a model checker: its own source, with shuttle's locks and atomics under it, run through
//! thousands of interleavings. The invariants are those of the design: I1 one loader per key and generation, I2 nothing older than a delete is
//! read after it, I4 nothing remains when idle.

#![allow(missing_docs, unreachable_pub)]

#[allow(dead_code)]
#[path = "../src/flight.rs"]
mod flight;

mod sync {
    pub(crate) use shuttle::{
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
        thread_local,
    };
}

use std::{
    future::{Future, pending, ready},
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
// The source under test looks for these at the crate's root.
use cache_core::{Error, ErrorKind, Result};
use flight::{Flights, Lead, Turn, Waited, Writing, first};
use shuttle::{
    future::{block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
    scheduler::RandomScheduler,
    sync::{Arc, Mutex, atomic::AtomicU64},
    thread,
};
use sync::Ordering::SeqCst;

const KEY: &str = "k";
const SCHEDULES: usize = 3_000;
/// How long a load and a write may take. Time stands still but where a scenario moves it.
const LASTS: Duration = Duration::from_secs(10);

/// Runs the scenario in many random schedules.
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    // Its atomics are large, and there are a hundred of them in `Flights`.
    config.stack_size = 1 << 19;
    let schedules = RandomScheduler::new(SCHEDULES);
    shuttle::Runner::new(schedules, config).run(scenario);
}

/// A source of truth, a store in front of it, and a cache that reads through.
struct World {
    source: AtomicU64,
    store: Mutex<Option<u64>>,
    flights: Flights,
    /// What the source held when the last delete returned.
    floor: AtomicU64,
    /// How many times flights were about to be detached, and how many times they were.
    detaching: AtomicU64,
    detached: AtomicU64,
    /// The loaders that run, each with `detached` before it joined and `detaching` when it ran.
    loaders: Mutex<Vec<(u64, u64)>>,
    loads: AtomicU64,
    time: Arc<AtomicU64>,
}

impl World {
    /// A store whose writes take steps, with exact knowledge of which keys are being written, or without.
    fn new() -> Arc<Self> {
        let exact = thread_rng().gen_bool(0.5);
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        Arc::new(Self {
            source: AtomicU64::new(1),
            store: Mutex::new(None),
            flights: Flights::new(exact, move || Duration::from_secs(clock.load(SeqCst))),
            time,
            floor: AtomicU64::new(1),
            detaching: AtomicU64::new(0),
            detached: AtomicU64::new(0),
            loaders: Mutex::default(),
            loads: AtomicU64::new(0),
        })
    }

    /// A store's call: it takes effect some time after it was sent.
    async fn write(&self, value: Option<u64>) {
        yield_now().await;
        *self.store.lock().unwrap() = value;
        yield_now().await;
    }

    async fn read(&self) -> Option<u64> {
        yield_now().await;
        *self.store.lock().unwrap()
    }

    /// The loader of a caller who joined after `before` deletes had detached.
    async fn load(&self, before: u64) -> u64 {
        let mine = {
            let mut loaders = self.loaders.lock().unwrap();
            let begun = self.detaching.load(SeqCst);
            // Two may run at once only if a delete has come between the two.
            let apart = |it: &(u64, u64)| it.0 < begun || before < it.1;
            assert!(loaders.iter().all(apart), "I1: two loaders in one generation");
            loaders.push((before, begun));
            (before, begun)
        };
        self.loads.fetch_add(1, SeqCst);
        let value = self.source.load(SeqCst);
        yield_now().await;
        let mut loaders = self.loaders.lock().unwrap();
        let at = loaders.iter().position(|it| *it == mine).unwrap();
        loaders.swap_remove(at);
        value
    }

    /// As `Cache::get_or_set`.
    async fn get(&self) -> u64 {
        let landings = self.flights.landings(KEY);
        if let Some(value) = self.read().await {
            return value;
        }
        loop {
            let before = self.detached.load(SeqCst);
            match self.flights.join(KEY, LASTS).unwrap() {
                Turn::Lead(lead) => {
                    if self.flights.landings(KEY) != landings
                        && let Some(value) = self.read().await
                    {
                        lead.land(Ok(encode(value)));
                        return value;
                    }
                    return self.lead(lead, self.load(before)).await;
                }
                Turn::Wait(mut wait) => match wait.outcome().await {
                    Waited::Landed(result) => return decode(&result.unwrap()),
                    Waited::Lead(lead) => return self.lead(lead, self.load(before)).await,
                    Waited::Rejoin => {}
                },
            }
        }
    }

    async fn lead(&self, lead: Lead<'_>, loader: impl Future<Output = u64>) -> u64 {
        let value = lead.load(loader).await;
        lead.store(|| self.write(Some(value)), LASTS, pending(), |_| ()).await;
        lead.land(Ok(encode(value)));
        value
    }

    /// As `Cache::delete`, after the source has changed.
    async fn delete(&self) {
        // At any point of the others' loads, not mostly before them.
        for _ in 0..thread_rng().gen_range(0..16) {
            yield_now().await;
        }
        let new = self.source.fetch_add(1, SeqCst) + 1;
        self.detaching.fetch_add(1, SeqCst);
        let writing = self.flights.writing(KEY, LASTS);
        self.flights.detach(KEY, pending()).await;
        self.detached.fetch_add(1, SeqCst);
        self.write(None).await;
        self.end(writing);
        self.floor.fetch_max(new, SeqCst);
    }

    /// What began during the write is detached as well.
    fn end(&self, writing: Writing<'_>) {
        self.detaching.fetch_add(1, SeqCst);
        drop(writing);
        self.detached.fetch_add(1, SeqCst);
    }

    /// As `Cache::set`, of a value that only the cache has.
    async fn set(&self, value: u64) {
        for _ in 0..thread_rng().gen_range(0..12) {
            yield_now().await;
        }
        // The flight that reads the source has another generation, as with a delete.
        self.detaching.fetch_add(1, SeqCst);
        let writing = self.flights.writing(KEY, LASTS);
        self.flights.detach(KEY, pending()).await;
        self.detached.fetch_add(1, SeqCst);
        self.write(Some(value)).await;
        self.end(writing);
        self.floor.fetch_max(value, SeqCst);
    }

    /// Reads, and checks I2.
    async fn get_checked(&self) {
        let floor = self.floor.load(SeqCst);
        let value = self.get().await;
        assert!(value >= floor, "I2: read {value} after a delete that follows {floor}");
    }
}

fn encode(value: u64) -> Bytes {
    value.to_string().into()
}

fn decode(bytes: &Bytes) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// Runs each future on a thread of its own, and then checks I4 and that the store is not out of date.
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
fn one_load_serves_all_who_come_at_once() {
    check(|| {
        let world = World::new();
        let get = || task(&world, |it| async move { it.get_checked().await });
        run(&world, vec![get(), get(), get()]);
        assert_eq!(world.loads.load(SeqCst), 1);
    });
}

#[test]
fn a_delete_during_a_load_wins() {
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
fn a_load_that_begins_during_a_write_does_not_overwrite_it() {
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
fn when_the_leader_is_dropped_another_leads() {
    check(|| {
        let world = World::new();
        // A caller who gives up after some steps, wherever it is then.
        let dropped = task(&world, |it| async move {
            let steps = async {
                for _ in 0..3 {
                    yield_now().await;
                }
            };
            // The loader's own entry would stay behind in the list; this one keeps none.
            let get = async {
                match it.flights.join(KEY, LASTS).unwrap() {
                    Turn::Lead(lead) => lead.load(pending::<()>()).await,
                    Turn::Wait(mut wait) => match wait.outcome().await {
                        Waited::Lead(lead) => lead.load(pending::<()>()).await,
                        Waited::Landed(_) | Waited::Rejoin => {}
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

/// Polls a future once and puts it aside.
fn put_aside<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    let mut future = Box::pin(future);
    let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending());
    future
}

#[test]
fn when_the_time_of_the_leader_is_over_one_of_the_waiters_leads() {
    check(|| {
        let world = World::new();
        // Its loader never ends; it is in the way of nobody once its time is over.
        let own = Arc::clone(&world);
        let stuck = put_aside(async move {
            let Turn::Lead(lead) = own.flights.join(KEY, LASTS).unwrap() else { unreachable!() };
            lead.load(pending::<()>()).await;
        });
        let waiter = || {
            task(&world, |it| async move {
                loop {
                    match it.flights.join(KEY, LASTS).unwrap() {
                        Turn::Lead(lead) => break assert_eq!(it.lead(lead, it.load(0)).await, 1),
                        Turn::Wait(mut wait) => {
                            // As the cache's timer does.
                            let until = wait.until();
                            let over = async {
                                while Duration::from_secs(it.time.load(SeqCst)) < until {
                                    yield_now().await;
                                }
                            };
                            match first(wait.outcome(), over).await {
                                Some(Waited::Lead(lead)) => {
                                    break assert_eq!(it.lead(lead, it.load(0)).await, 1);
                                }
                                Some(Waited::Landed(result)) => {
                                    break assert_eq!(decode(&result.unwrap()), 1);
                                }
                                Some(Waited::Rejoin) | None => {}
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
        // One who comes when all is over finds nobody and loads as well.
        assert!((1..=3).contains(&world.loads.load(SeqCst)));
        drop(stuck);
        assert_eq!(world.flights.active(), 0, "I4: flights are left");
    });
}

#[test]
fn a_write_that_is_put_aside_ends_with_its_time() {
    check(|| {
        let world = World::new();
        let own = Arc::clone(&world);
        let aside = put_aside(async move {
            let mut writing = own.flights.writing(KEY, LASTS);
            writing.may_wait(LASTS);
            let done = writing.run(own.write(Some(0))).await;
            own.end(writing);
            done
        });
        world.time.fetch_add(LASTS.as_secs(), SeqCst);
        let get = || task(&world, |it| async move { it.get_checked().await });
        let late = task(&world, |_| async move {
            assert!(aside.await.is_none(), "it would overwrite what was loaded since");
        });
        run(&world, vec![get(), get(), late]);
        assert_ne!(*world.store.lock().unwrap(), Some(0));
        // The late one has detached the flights that it met, so only now it is sure to be stored.
        run(&world, vec![get()]);
        assert_eq!(*world.store.lock().unwrap(), Some(1));
    });
}

#[test]
fn a_loaded_value_that_is_put_aside_on_its_way_ends_with_its_time() {
    check(|| {
        let world = World::new();
        let own = Arc::clone(&world);
        let aside = put_aside(async move {
            let Turn::Lead(lead) = own.flights.join(KEY, LASTS).unwrap() else { unreachable!() };
            lead.load(ready(())).await;
            lead.store(|| own.write(Some(0)), LASTS, pending(), |_| ()).await
        });
        world.time.fetch_add(LASTS.as_secs(), SeqCst);
        let set = task(&world, |it| async move { it.set(50).await });
        let late = task(&world, |_| async move {
            assert!(aside.await.is_none(), "it would overwrite what was written since");
        });
        run(&world, vec![set, late]);
        assert_eq!(*world.store.lock().unwrap(), Some(50));
    });
}

#[test]
fn loads_that_wait_for_each_other_end_with_an_error() {
    /// Loads `outer`, whose loader loads `inner`; whether a circle was found somewhere inside.
    async fn nest(flights: &Flights, outer: &str, inner: &str) -> Result<()> {
        match flights.join(outer, LASTS)? {
            Turn::Wait(mut wait) => match wait.outcome().await {
                Waited::Landed(res) => res.map(drop),
                Waited::Rejoin | Waited::Lead(_) => Ok(()),
            },
            Turn::Lead(lead) => {
                let res = lead
                    .load(async {
                        yield_now().await;
                        match flights.join(inner, LASTS)? {
                            Turn::Lead(lead) => {
                                lead.load(yield_now()).await;
                                lead.land(Ok(Bytes::new()));
                                Ok(())
                            }
                            Turn::Wait(mut wait) => match wait.outcome().await {
                                Waited::Landed(res) => res.map(drop),
                                Waited::Rejoin | Waited::Lead(_) => Ok(()),
                            },
                        }
                    })
                    .await;
                lead.land(res.clone().map(|()| Bytes::new()));
                res
            }
        }
    }
    check(|| {
        let flights = Arc::new(Flights::new(true, || Duration::ZERO));
        let tasks: Vec<_> = [("a", "b"), ("b", "c"), ("c", "a")]
            .into_iter()
            .map(|(outer, inner)| {
                let flights = Arc::clone(&flights);
                spawn(async move { nest(&flights, outer, inner).await })
            })
            .collect();
        // That this ends at all is the promise: shuttle reports a deadlock.
        for task in tasks {
            if let Err(error) = block_on(task).unwrap() {
                assert_eq!(error.kind(), ErrorKind::Loader);
                assert!(error.message().contains(" → "), "{error}");
            }
        }
        assert_eq!(flights.active(), 0);
    });
}
