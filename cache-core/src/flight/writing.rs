//! Those who write a key themselves.

use super::Flights;
use crate::sync::Ordering;

/// A key is being written by its user: no flight stores it.
pub(crate) struct Writing<'a> {
    pub(super) flights: &'a Flights,
    pub(super) key: &'a str,
}

/// The write is over.
impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Self { flights, key } = *self;
        let stripe = flights.stripe(key);
        // First this: a flight that begins from now on reads again, one that began before is detached.
        stripe.landings.fetch_add(1, Ordering::SeqCst);
        if flights.active() > 0 {
            flights.detach_now(key);
        }
        if flights.writes_wait {
            let mut table = flights.lock();
            match table.writing.get_mut(key) {
                Some(writers) if *writers > 1 => *writers -= 1,
                _ => drop(table.writing.remove(key)),
            }
        }
        stripe.writers.fetch_sub(1, Ordering::SeqCst);
    }
}
