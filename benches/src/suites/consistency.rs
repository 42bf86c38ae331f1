//! The cost of fenced loads, of locks and of tags, store by store, and their round trips.
//!
//! The loads are those of a `fetch` whose loader answers at once: fenced, and not. A lock is
//! acquired and released; `add_delete` is the same without an owner. The peers are sequences of
//! commands that other libraries document, made with the raw client: `laravel` those of Laravel's
//! `Cache::remember` and `Cache::lock`, `django_get_or_set` and `django-redis_lock` those of Django
//! and of django-redis. The package django-redis itself is measured where Python is there.
//!
//! `tagged` is a `get` of a value with a tag, `untagged` one without. `of_1000` is the invalidation
//! of a tag that a thousand entries of the store have.
//!
//! A further row is a `Call`, and a line for each contender that has it.

mod calls;
mod memcached;
mod ours;
mod redis;
mod stores;
mod tags;

use std::sync::Arc;

use anyhow::Result;

use self::{
    calls::{CALLS, Call, Contender, VALUE_BYTES},
    stores::{Place, STORES},
    tags::Most,
};
use super::network::{BUSY, round_trips::RoundTrips, workers::Workers};
use crate::{
    harness::{Bench, Case, Contest, Unit},
    peers::{Peer, PeerCase},
};

/// The name of the suite on the command line.
pub const NAME: &str = "consistency";

/// The calls whose round trips are counted.
const COUNTED: usize = 20;

/// Measures the time and the round trips of the calls.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let workers = Workers::current_thread()?;
    for store in STORES {
        let wanted: Vec<Call> =
            CALLS.into_iter().filter(|it| bench.wants(&it.case(store.name))).collect();
        let counted: Vec<Call> =
            CALLS.into_iter().filter(|it| bench.wants(&it.trips(store.name))).collect();
        if wanted.is_empty() && counted.is_empty() {
            continue;
        }
        let place = (store.start)()?;
        let invalidates = wanted.contains(&Call::Invalidate);
        let most = if invalidates { store.most } else { Most::Thousand };
        let contenders = workers.block_on(place.contenders(place.server, most))?;
        let peers = place.python();
        for call in wanted {
            measure(bench, &workers, &call.case(store.name), call, &contenders, &peers)?;
        }
        if !counted.is_empty() {
            count_trips(bench, &workers, store.name, &counted, &place)?;
        }
    }
    Ok(())
}

fn measure(
    bench: &mut Bench<'_>,
    workers: &Workers,
    name: &str,
    call: Call,
    contenders: &[Contender],
    peers: &[Peer],
) -> Result<()> {
    for (tasks, unit) in [(1, Unit::Nanos), (BUSY, Unit::PerSecond)] {
        let ours = contenders.iter().filter(|it| it.call == call);
        let mut sides: Vec<_> =
            ours.map(|it| workers.side(it.name, tasks, Arc::clone(&it.job))).collect();
        if tasks == 1
            && let Some(name) = call.in_python()
        {
            let case = PeerCase::new(name, VALUE_BYTES);
            sides.extend(peers.iter().map(|it| it.side(&case)));
        }
        let case = Case::new(name, unit, VALUE_BYTES).on_runtime(workers.flavour(), tasks);
        bench.run(Contest { case: case.with_cpu(), sides })?;
    }
    Ok(())
}

/// Counts round trips in front of the server, if there is one.
fn count_trips(
    bench: &mut Bench<'_>,
    workers: &Workers,
    store: &str,
    calls: &[Call],
    place: &Place,
) -> Result<()> {
    let Some(server) = place.server else { return Ok(()) };
    let trips = RoundTrips::to(server)?;
    let contenders = workers.block_on(place.contenders(Some(trips.address), Most::Thousand))?;
    for call in calls {
        let (mut names, mut counts) = (Vec::new(), Vec::new());
        for it in contenders.iter().filter(|it| it.call == *call) {
            // The first calls connect, prepare statements, and send scripts that the server does
            // not know yet.
            workers.side(it.name, 1, Arc::clone(&it.job)).time(COUNTED as u64);
            trips.take();
            workers.side(it.name, 1, Arc::clone(&it.job)).time(COUNTED as u64);
            names.push(it.name);
            counts.push(vec![trips.take() as f64 / COUNTED as f64]);
        }
        let case = Case::new(call.trips(store), Unit::Count("round trips"), VALUE_BYTES);
        bench.tell(&case, &names, &counts)?;
    }
    Ok(())
}
