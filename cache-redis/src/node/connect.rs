//! The connection for the commands of a key, if it is not ready: it is made, replaced by another
//! one, or must wait until the server has ended abandoned ones.

use std::sync::{Arc, atomic::Ordering};

use cache_core::Result;
use cache_net::Attempt;

use super::{Node, PING, send};
use crate::{
    connection::Connection,
    connector::Slot,
    encoder::{Commands, Encoder},
    error,
};

impl Node {
    #[cold]
    pub(super) async fn connect(&self, own: usize) -> Result<(&Slot, Arc<Connection>)> {
        let (slot, connection) = self.own_or_stand_in(own).await?;
        if self.must_kill() {
            let clients = self.abandoned.clients();
            let kill = |out: &mut Encoder<'_>| clients.iter().for_each(|it| it.kill(out));
            let replies = send(slot, &connection, &Commands::many(clients.len(), &kill)).await?;
            let res = self.abandoned.killed(&clients, &replies);
            if !res.map_err(|it| error::at(it, &self.address))? {
                self.may_not_kill.store(true, Ordering::Release);
            }
        }
        Ok((slot, connection))
    }

    /// Returns a connection of the slot, or of another slot while the server rejects this one: it
    /// may allow fewer connections. Keys return to their own connection when the server has
    /// executed their commands on the other one, so that they keep their order.
    async fn own_or_stand_in(&self, own: usize) -> Result<(&Slot, Arc<Connection>)> {
        let (stand_in, own_slot) = (&self.stand_ins[own], &self.slots[own]);
        loop {
            let number = stand_in.number();
            if number != own {
                let slot = &self.slots[number];
                own_slot.connect_in_background();
                match slot.current() {
                    Some(connection) if own_slot.current().is_none() && stand_in.used(number) => {
                        return Ok((slot, slot.connection().await.unwrap_or(connection)));
                    }
                    connection => self.leave(own, number, connection).await?,
                }
                continue;
            }
            let error = match own_slot.connection().await {
                Ok(connection) => return Ok((own_slot, connection)),
                Err(error) => error,
            };
            let mut others = self.slots.iter().enumerate().filter(|it| it.0 != own);
            match others.find_map(|(i, slot)| Some((i, slot, slot.current()?))) {
                // Not if another call has connected since.
                Some((i, slot, connection)) if own_slot.current().is_none() && stand_in.take(i) => {
                    return Ok((slot, connection));
                }
                Some(_) => {}
                None => return Err(error),
            }
        }
    }

    /// Returns the keys of a slot from this other connection, after their commands there are
    /// complete. Dropped calls count as well. Calls about other keys need not complete.
    async fn leave(
        &self,
        own: usize,
        number: usize,
        connection: Option<Arc<Connection>>,
    ) -> Result<()> {
        let (stand_in, slot) = (&self.stand_ins[own], &self.slots[number]);
        let begin = || completed(slot, connection.clone());
        let Some((stay, completed)) = stand_in.completed(number, begin) else { return Ok(()) };
        let outcome = completed.outcome().await;
        let is_closed = connection.is_none_or(|it| it.is_closed());
        if is_closed {
            // Its successor makes the server end what was in progress on it.
            slot.connect_in_background();
        }
        if is_closed || outcome.is_ok() {
            stand_in.end(stay);
            return Ok(());
        }
        stand_in.stay(stay);
        outcome
    }
}

/// Begins to wait until all commands that were sent on the connection are complete: the server
/// replies in order.
fn completed(slot: &Slot, connection: Option<Arc<Connection>>) -> Attempt<()> {
    let slot = Arc::clone(slot);
    let runtime = slot.connector().runtime.clone();
    Attempt::start(&runtime, async move {
        let Some(connection) = connection else { return Ok(()) };
        send(&slot, &connection, &PING).await.map(drop)
    })
}
