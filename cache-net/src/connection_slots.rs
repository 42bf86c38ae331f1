//! Several connections to one server: each key has its own.

use std::{fmt, sync::Arc};

use cache_core::{Error, ErrorKind, Result};

use crate::{Attempt, ConnectionSlot, Connector, stand_in::StandIn};

/// Slots for several connections to one server. Each key has the number of a connection, so that
/// commands about one key keep their order.
///
/// While a connection cannot be made, although others exist, another one stands in: the server may
/// allow fewer connections. Meanwhile, the missing connection is tried once a second. Its keys
/// return to it when the server has executed the commands that were sent for them on the other one,
/// those of dropped calls included.
///
/// ```
/// use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
///
/// use cache_core::{Clock, Error, ErrorKind, Result, store::SharedDeadline};
/// use cache_net::{ConnectionSlot, ConnectionSlots, Connector};
/// use tokio::runtime::Handle;
///
/// /// Allows one connection.
/// struct Server(AtomicU32);
///
/// impl Connector for &'static Server {
///     type Connection = u32;
///
///     async fn connect(&self, _: &Handle) -> Result<u32> {
///         match self.0.fetch_add(1, Ordering::Relaxed) {
///             0 => Ok(7),
///             _ => Err(Error::new(ErrorKind::Unavailable, "too many connections")),
///         }
///     }
///
///     async fn ping(&self, _: &u32) {}
///     fn is_closed(&self, _: &u32) -> bool { false }
///     fn abort(&self, _: &u32) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<()> {
/// static SERVER: Server = Server(AtomicU32::new(0));
/// let clock = Clock::system();
/// let deadline = SharedDeadline::new(Duration::from_secs(1), clock.clone());
/// let slot = || ConnectionSlot::new(&SERVER, Handle::current(), clock.clone(), deadline.clone());
/// let slots = ConnectionSlots::new(vec![slot(), slot()]);
/// assert_eq!(*slots.connection(0).await?.1, 7);
/// let (slot, connection) = slots.connection(1).await?;
/// assert_eq!(*connection, 7);
/// assert!(std::sync::Arc::ptr_eq(slot, &slots.slots()[0]));
/// # Ok(()) }
/// ```
pub struct ConnectionSlots<C: Connector> {
    slots: Vec<Arc<ConnectionSlot<C>>>,
    /// For each slot.
    stand_ins: Vec<StandIn>,
}

/// A connection and the slot that supervises it.
type Found<'s, C> = (&'s Arc<ConnectionSlot<C>>, Arc<<C as Connector>::Connection>);

impl<C: Connector> ConnectionSlots<C> {
    /// Takes the slots, which are numbered from 0.
    pub fn new(slots: Vec<Arc<ConnectionSlot<C>>>) -> Self {
        let stand_ins = (0..slots.len()).map(StandIn::new).collect();
        Self { slots, stand_ins }
    }

    /// Returns the slots.
    pub fn slots(&self) -> &[Arc<ConnectionSlot<C>>] {
        &self.slots
    }

    /// Returns the connection of this number if it exists, need not be checked before it is used,
    /// and no other stands in.
    ///
    /// # Panics
    /// If there is no slot of this number, like an index.
    pub fn ready(&self, number: usize) -> Option<Found<'_, C>> {
        if self.stand_ins[number].number() != number {
            return None;
        }
        let slot = &self.slots[number];
        Some((slot, slot.ready()?))
    }

    /// Returns the connection of this number, or the one that stands in, with its slot. Connects if
    /// necessary.
    ///
    /// # Errors
    /// Those of [`ConnectionSlot::connection`], if no other connection exists; `TimedOut` if the
    /// connection that stood in does not reply.
    ///
    /// # Panics
    /// If there is no slot of this number, like an index.
    ///
    /// # Cancel safety
    /// An attempt to connect continues without the caller.
    pub async fn connection(&self, number: usize) -> Result<Found<'_, C>> {
        match self.ready(number) {
            Some(found) => Ok(found),
            None => Box::pin(self.own_or_stand_in(number)).await,
        }
    }

    #[cold]
    async fn own_or_stand_in(&self, own: usize) -> Result<Found<'_, C>> {
        let (stand_in, own_slot) = (&self.stand_ins[own], &self.slots[own]);
        loop {
            let number = stand_in.number();
            if number != own {
                let slot = &self.slots[number];
                own_slot.connect_in_background();
                match slot.current() {
                    Some(_) if own_slot.current().is_none() && stand_in.used(number) => {
                        // If it was lost, the keys leave it.
                        if let Ok(connection) = slot.connection().await {
                            return Ok((slot, connection));
                        }
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
        connection: Option<Arc<C::Connection>>,
    ) -> Result<()> {
        let (stand_in, slot) = (&self.stand_ins[own], &self.slots[number]);
        let begin = || completed(slot, connection.clone());
        let Some((stay, completed)) = stand_in.completed(number, begin) else { return Ok(()) };
        let outcome = completed.outcome().await;
        let is_closed = connection.is_none_or(|it| slot.connector().is_closed(&it));
        if is_closed {
            // Some servers end what was in progress on it only for its successor.
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
fn completed<C: Connector>(
    slot: &Arc<ConnectionSlot<C>>,
    connection: Option<Arc<C::Connection>>,
) -> Attempt<()> {
    let slot = Arc::clone(slot);
    let runtime = slot.runtime().clone();
    Attempt::start(&runtime, async move {
        let Some(connection) = connection else { return Ok(()) };
        let pinged = slot.run(slot.deadline(), &connection, slot.connector().ping(&connection));
        pinged.await.ok_or_else(|| {
            let time = slot.deadline().time();
            Error::new(ErrorKind::TimedOut, format!("no answer within {time:?} to a ping"))
        })
    })
}

impl<C: Connector> fmt::Debug for ConnectionSlots<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionSlots").field(&self.slots).finish()
    }
}
