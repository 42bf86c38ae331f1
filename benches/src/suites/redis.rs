//! The Redis store, compared with direct use of the crate `redis` and with caches of Django.
//!
//! Direct use has the whole key ready, decodes with `serde_json`, and uses a
//! `MultiplexedConnection` with `TCP_NODELAY` and otherwise default settings. The server is another
//! process, so CPU time is that of the client. With one task, the duration is mostly the wake-up
//! time of threads.

mod broken;
mod clients;
mod connections;

use anyhow::Result;
use test_servers::Redis;

use self::clients::Clients;
use super::network::{
    BUSY, SIZES, THREADS,
    calls::{self, CALLS, Call},
    inputs::{self, Inputs},
    workers::{self, Workers},
};
use crate::{
    harness::{Bench, Case, Contest, Side, Unit},
    peers::{self, DjangoCache, Peer, PeerCase},
};

/// The name of the suite on the command line.
pub const NAME: &str = "redis";

/// Measures the duration of calls, their CPU time, several numbers of connections, and an outage.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    let server = Redis::start()?;
    let peers = if CALLS.iter().any(|it| bench.wants(it.name())) {
        let url = server.url();
        peers::django(&[DjangoCache::redis(&url), DjangoCache::django_redis(&url)])
    } else {
        None
    };
    let peers = peers.unwrap_or_default();
    let flavours = [Workers::current_thread()?, Workers::multi_thread()?];
    for size in SIZES {
        let inputs = Inputs::new(size)?;
        for workers in &flavours {
            let clients = workers.block_on(Clients::connect(&server.url(), &inputs))?;
            let suite = Suite { workers, clients, peers: &peers, size };
            let mut calls = CALLS.iter().filter(|it| size == SIZES[0] || **it != Call::Incr);
            calls.try_for_each(|it| suite.calls(bench, *it))?;
            if !bench.effort().quick || size == SIZES[0] {
                connections::run(bench, workers, &suite.clients, size)?;
            }
        }
    }
    flavours.iter().try_for_each(|it| broken::run(bench, it))
}

/// Calls `count` with a contest of each call, for one task in a current-thread runtime.
pub fn contests(count: impl FnOnce(Vec<Contest<'_>>) -> Result<()>) -> Result<()> {
    let server = Redis::start()?;
    let (workers, size) = (Workers::current_thread()?, SIZES[0]);
    let clients = workers.block_on(Clients::connect(&server.url(), &Inputs::new(size)?))?;
    let suite = Suite { workers: &workers, clients, peers: &[], size };
    count(CALLS.iter().map(|it| suite.alone(*it)).collect())
}

/// The contenders of one runtime with values of one size.
struct Suite<'a> {
    workers: &'a Workers,
    clients: Clients,
    peers: &'a [Peer],
    size: usize,
}

impl<'a> Suite<'a> {
    fn calls(&'a self, bench: &mut Bench<'_>, call: Call) -> Result<()> {
        bench.run(self.alone(call))?;
        bench.run(self.beside_threads(call))?;
        bench.run(self.busy(call))?;
        if bench.effort().quick && self.size != SIZES[0] {
            return Ok(());
        }
        bench.run(self.over_several(call))
    }

    /// One call after the other.
    fn alone(&'a self, call: Call) -> Contest<'a> {
        let mut sides = self.one_connection(call, 1);
        if call == Call::GetMany {
            let job = self.clients.ours_one_by_one();
            sides.push(self.workers.side("100_gets", 1, job));
        }
        if self.workers.is_current_thread() {
            sides.extend(self.peers(call, 1));
        }
        Contest { case: self.case(call.name(), 1, Unit::Nanos), sides }
    }

    /// As many tasks as the peers have threads.
    fn beside_threads(&'a self, call: Call) -> Contest<'a> {
        let mut sides = self.one_connection(call, THREADS);
        if !self.workers.is_current_thread() {
            sides.extend(self.peers(call, THREADS));
        }
        Contest { case: self.case(call.name(), THREADS, Unit::PerSecond), sides }
    }

    fn busy(&'a self, call: Call) -> Contest<'a> {
        let sides = self.one_connection(call, BUSY);
        Contest { case: self.case(call.name(), BUSY, Unit::PerSecond), sides }
    }

    /// `cache-redis` and the client with four connections, and the client with one.
    fn over_several(&'a self, call: Call) -> Contest<'a> {
        let it = &self.clients;
        let sides = vec![
            self.workers.side("cache-redis", BUSY, call.of(it.ours(4))),
            self.workers.side("redis_x4", BUSY, call.of(&it.raw_x4)),
            self.workers.side("redis", BUSY, call.of(&it.raw)),
        ];
        let name = format!("{}_x4", call.name());
        Contest { case: self.case(&name, BUSY, Unit::PerSecond), sides }
    }

    fn one_connection(&'a self, call: Call, tasks: usize) -> Vec<Side<'a>> {
        let it = &self.clients;
        let mut sides = vec![
            self.workers.side("cache-redis", tasks, call.of(it.ours(1))),
            self.workers.side("redis", tasks, call.of(&it.raw)),
        ];
        if call == Call::Incr {
            // Without the check for an existing key that `cache-redis` makes.
            sides.push(self.workers.side("redis_incrby", tasks, it.raw_incrby()));
        }
        sides
    }

    fn peers(&self, call: Call, threads: usize) -> impl Iterator<Item = Side<'a>> {
        let case = PeerCase::new(call.name(), self.size).on_threads(threads);
        let peers = if call == Call::GetBytes { &[] } else { self.peers };
        peers.iter().map(move |it| it.side(&case))
    }

    fn case(&self, name: &str, tasks: usize, unit: Unit) -> Case {
        // The size of a counter does not depend on the values.
        let size = if name.starts_with(Call::Incr.name()) { 8 } else { self.size };
        Case::new(name, unit, size).on_runtime(self.workers.flavour(), tasks).with_cpu()
    }
}
