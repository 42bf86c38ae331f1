//! Waiting for replicas to catch up with their leaders.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use super::Redis;
use crate::{
    process::Server as _,
    resp::{Connection, Reply},
    wait,
};

/// Much longer than a replica needs to catch up, also after it has to find its leader again.
const LIMIT: Duration = Duration::from_secs(120);
/// A replica normally catches up within one or two polls, which is faster than one pause.
const POLLS_WITHOUT_PAUSE: u32 = 50;

/// Connections that stay open, so that polling is cheap.
#[derive(Debug, Default)]
pub(super) struct Lag(Mutex<HashMap<u16, Connection>>);

/// The role of a node, as the node reports it.
enum Role {
    Leader { offset: i64 },
    Replica { leader: u16, offset: i64 },
}

impl Lag {
    /// Waits until each running replica among the nodes has executed all writes that its leader had
    /// executed before the call.
    pub(super) fn wait(&self, nodes: &[&Redis]) -> Result<()> {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut goals = HashMap::new();
        let mut behind: Vec<&Redis> = nodes.iter().copied().filter(|it| it.is_running()).collect();
        let mut polls = 0;
        wait::poll("the replicas have what their leaders have", LIMIT, || {
            loop {
                let mut still = Vec::new();
                for node in &behind {
                    match role(&mut connections, node) {
                        Ok(Role::Leader { offset }) => {
                            goals.insert(node.port(), offset);
                        }
                        Ok(Role::Replica { leader, offset })
                            if goals.get(&leader).is_some_and(|it| offset >= *it) => {}
                        // A replica of an unknown leader may have another leader, or be a leader,
                        // at the next poll.
                        _ => still.push(*node),
                    }
                }
                behind = still;
                polls += 1;
                if behind.is_empty() {
                    return Ok(Some(()));
                }
                if polls > POLLS_WITHOUT_PAUSE {
                    return Ok(None);
                }
                thread::yield_now();
            }
        })
    }
}

fn role(connections: &mut MutexGuard<'_, HashMap<u16, Connection>>, node: &Redis) -> Result<Role> {
    let mut connection = match connections.remove(&node.port()) {
        Some(it) => it,
        None => node.connect()?,
    };
    // Dropped if the command fails: the server may have been restarted.
    let reply = connection.command(&["ROLE"])?;
    connections.insert(node.port(), connection);
    // ["master", offset, [replica…]], or ["slave", host, port, state, offset] with an offset of -1
    // without a link.
    let role = match reply.list() {
        [_, Reply::Int(offset), _] => Some(Role::Leader { offset: *offset }),
        [_, _, Reply::Int(port), _, Reply::Int(offset)] => {
            Some(Role::Replica { leader: u16::try_from(*port)?, offset: *offset })
        }
        _ => None,
    };
    role.context("unexpected reply to ROLE")
}
