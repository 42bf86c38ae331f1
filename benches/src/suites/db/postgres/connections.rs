//! The throughput of several numbers of connections.

use anyhow::Result;

use super::suite::{OPTIONS, Suite};
use crate::{
    harness::{Bench, Contest, Unit},
    suites::{
        db::ours::{OURS, Ours},
        network::{BUSY, calls::Call},
    },
};

pub(super) const CASES: [(Call, &str); 2] =
    [(Call::Get, "get_connections"), (Call::Set, "set_connections")];

const CONNECTIONS: [(usize, &str); 3] =
    [(1, "1_connection"), (2, "2_connections"), (4, "4_connections")];

/// Compares the default number of connections with each other number. A ratio below 1 is in favour
/// of the other number. The comparison of the default with itself shows the noise.
pub(super) fn run(bench: &mut Bench<'_>, suite: &Suite<'_>, url: &str) -> Result<()> {
    for (call, name) in CASES {
        let name = suite.name(name);
        if !bench.wants(&name) {
            continue;
        }
        let mut tried = Vec::new();
        for (count, name) in CONNECTIONS {
            let options = format!("{OPTIONS}\nconnections = {count}");
            tried.push((name, Ours::new(url, &options, suite.rows)?));
        }
        let side = |name, ours| suite.side(name, BUSY, call.of(ours));
        let mut sides = vec![side(OURS, &suite.ours)];
        sides.extend(tried.iter().map(|it| side(it.0, &it.1)));
        let case = suite.case(&name, call, Unit::PerSecond, BUSY);
        bench.run(Contest { case, sides })?;
    }
    Ok(())
}
