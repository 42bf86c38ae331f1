//! The tables of `docs/performance.md`: their rows, the peers and the goals.

mod consistency;
mod disk;
mod facade;
mod memory;
mod near;
mod network;
mod parts;
mod python;
mod web;

pub(super) use self::parts::{Goal, Peer, Row, Table};

/// All tables, in the order of the page.
pub(super) const TABLES: [Table; 19] = [
    facade::TABLE,
    facade::LOAD,
    memory::TABLE,
    network::REDIS,
    near::TABLE,
    near::SERVER,
    network::MEMCACHED,
    disk::FILE,
    disk::SQLITE,
    disk::POSTGRES,
    python::TABLE,
    consistency::LOADS,
    consistency::LOCKS,
    consistency::TAG_CHECKS,
    consistency::INVALIDATIONS,
    consistency::TRIPS,
    web::ATTRIBUTE,
    web::PAGES,
    web::LAYERS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tables_are_short_and_have_goals_for_existing_peers() {
        let regions: BTreeSet<&str> = TABLES.iter().map(|it| it.region).collect();
        assert_eq!(regions.len(), TABLES.len());
        for table in TABLES {
            let shown = table.rows.iter().filter(|it| it.is_shown).count();
            assert!((1..=13).contains(&shown), "{}: {shown} rows", table.region);
            for row in table.rows {
                assert!(row.goals.len() <= table.peers.len(), "{}: {row:?}", table.region);
            }
        }
    }
}
