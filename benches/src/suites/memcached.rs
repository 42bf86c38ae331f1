//! The memcached store, compared with direct use of the clients of the crate `memcache` and with
//! caches of Django.
//!
//! Direct use has the whole key ready and decodes with `serde_json`. Both clients have 16
//! connections, and the blocking client runs in `spawn_blocking`. The server is another process.

mod clients;

use anyhow::Result;
use test_servers::{Memcached, Server as _};

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
pub const NAME: &str = "memcached";

const OURS: &str = "cache-memcached";

/// Measures the duration of calls, their CPU time, and several numbers of connections.
pub fn run(bench: &mut Bench<'_>) -> Result<()> {
    // Memory for all keys of all contenders, with values of 10 KB.
    let server = Memcached::options().memory(512).start()?;
    let address = server.address().to_string();
    let peers = if CALLS.iter().any(|it| bench.wants(it.name())) {
        peers::django(&[DjangoCache::memcached(&address)])
    } else {
        None
    };
    let peers = peers.unwrap_or_default();
    let flavours = [Workers::current_thread()?, Workers::multi_thread()?];
    for size in SIZES {
        let inputs = Inputs::new(size)?;
        for workers in &flavours {
            let clients = workers.block_on(Clients::connect(&address, &inputs))?;
            let suite = Suite { workers, clients, peers: &peers, size };
            let mut calls = CALLS.iter().filter(|it| size == SIZES[0] || **it != Call::Incr);
            calls.try_for_each(|it| suite.calls(bench, *it))?;
            if size == SIZES[0] {
                suite.one_counter(bench)?;
            }
            if !bench.effort().quick || size == SIZES[0] {
                suite.connections(bench)?;
            }
        }
    }
    Ok(())
}

/// Calls `count` with a contest of each call, for one task in a current-thread runtime.
pub fn contests(count: impl FnOnce(Vec<Contest<'_>>) -> Result<()>) -> Result<()> {
    let server = Memcached::options().memory(512).start()?;
    let (workers, size) = (Workers::current_thread()?, SIZES[0]);
    let (address, inputs) = (server.address().to_string(), Inputs::new(size)?);
    let clients = workers.block_on(Clients::connect(&address, &inputs))?;
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
        bench.run(self.busy(call))
    }

    /// One call after the other.
    fn alone(&'a self, call: Call) -> Contest<'a> {
        let mut sides = self.sides(call, 1);
        sides.push(self.blocking(call, 1));
        if self.workers.is_current_thread() {
            sides.extend(self.peers(call, 1));
        }
        Contest { case: self.case(call.name(), 1, Unit::Nanos), sides }
    }

    /// As many tasks as the peers have threads.
    fn beside_threads(&'a self, call: Call) -> Contest<'a> {
        let mut sides = self.sides(call, THREADS);
        if !self.workers.is_current_thread() {
            sides.extend(self.peers(call, THREADS));
        }
        Contest { case: self.case(call.name(), THREADS, Unit::PerSecond), sides }
    }

    fn busy(&'a self, call: Call) -> Contest<'a> {
        let mut sides = self.sides(call, BUSY);
        sides.push(self.blocking(call, BUSY));
        Contest { case: self.case(call.name(), BUSY, Unit::PerSecond), sides }
    }

    /// Compares the default number of connections with other numbers, and with the client of the
    /// crate with several numbers. A ratio below 1 is in favour of the other.
    fn connections(&'a self, bench: &mut Bench<'_>) -> Result<()> {
        for (call, name) in [(Call::Get, "get_connections"), (Call::Set, "set_connections")] {
            let side = |name, job| self.workers.side(name, BUSY, job);
            let mut sides = vec![side(OURS, call.of(&self.clients.ours_default))];
            sides.extend(self.clients.ours.iter().map(|it| side(it.0, call.of(&it.1))));
            sides.extend(self.clients.by_hand.iter().map(|it| side(it.0, call.of(&it.1))));
            bench.run(Contest { case: self.case(name, BUSY, Unit::PerSecond), sides })?;
        }
        Ok(())
    }

    /// All tasks increment one key, as the peers always do.
    fn one_counter(&'a self, bench: &mut Bench<'_>) -> Result<()> {
        let it = &self.clients;
        for tasks in [THREADS, BUSY] {
            let side = |name, job| self.workers.side(name, tasks, job);
            let mut sides = vec![
                side(OURS, calls::count_one_key(&it.ours_default)),
                side("memcache", calls::count_one_key(&it.by_hand_default)),
            ];
            if tasks == THREADS {
                sides.extend(self.peers(Call::Incr, tasks));
            }
            bench
                .run(Contest { case: self.case("incr_one_key", tasks, Unit::PerSecond), sides })?;
        }
        Ok(())
    }

    /// `cache-memcached` and the async client of the crate.
    fn sides(&'a self, call: Call, tasks: usize) -> Vec<Side<'a>> {
        let it = &self.clients;
        let mut sides = vec![
            self.workers.side(OURS, tasks, call.of(&it.ours_default)),
            self.workers.side("memcache", tasks, call.of(&it.by_hand_default)),
        ];
        if call == Call::Incr {
            // Without the check of the old value that `cache-memcached` makes.
            sides.push(self.workers.side("memcache_ma", tasks, it.increment()));
        }
        sides
    }

    fn blocking(&'a self, call: Call, tasks: usize) -> Side<'a> {
        self.workers.side("memcache_sync", tasks, call.of(&self.clients.blocking))
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
