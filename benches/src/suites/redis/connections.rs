//! The throughput of several numbers of connections.

use anyhow::Result;

use super::{
    BUSY, Call,
    clients::{CONNECTIONS, Clients},
    workers::Workers,
};
use crate::harness::{Bench, Case, Contest, Unit};

/// Compares the default number of connections with each other number. A ratio below 1 is in favour
/// of the other number.
pub(super) fn run(
    bench: &mut Bench<'_>,
    workers: &Workers,
    clients: &Clients,
    size: usize,
) -> Result<()> {
    for (call, name) in [(Call::Get, "get_connections"), (Call::Set, "set_connections")] {
        for (tasks, unit) in [(1, Unit::Nanos), (BUSY, Unit::PerSecond)] {
            let side = |name, client| workers.side(name, tasks, call.of(client));
            let mut sides = vec![side("cache-redis", &clients.ours_default)];
            for count in CONNECTIONS {
                let name = match count {
                    1 => "1_connection",
                    2 => "2_connections",
                    4 => "4_connections",
                    _ => "8_connections",
                };
                sides.push(side(name, clients.ours(count)));
            }
            let case = Case::new(name, unit, size).on_runtime(workers.flavour(), tasks);
            bench.run(Contest { case, sides })?;
        }
    }
    Ok(())
}
