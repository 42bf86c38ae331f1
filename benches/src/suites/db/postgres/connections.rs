//! How many connections are worth it.

use anyhow::Result;

use super::{BUSY, Call, OPTIONS, OURS, Ours, Suite};
use crate::harness::{Bench, Contest, Unit};

pub(super) const CASES: [(Call, &str); 2] =
    [(Call::Get, "get_connections"), (Call::Set, "set_connections")];

const CONNECTIONS: [(usize, &str); 3] =
    [(1, "1_connection"), (2, "2_connections"), (4, "4_connections")];

/// The number of the settings' default beside each that is tried. A ratio below 1 speaks for that one; the one beside the same
/// number says how far to trust the others.
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
