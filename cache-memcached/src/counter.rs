//! Signed counters over a server that knows only numbers of 64 bits without a sign.

use cache_core::{Create, Entry, Error, ErrorKind, Result, integer};

use crate::{
    command, error, lifetime,
    pool::Place,
    store::{Memcached, ask},
    transport::Transport as _,
};

impl Memcached {
    /// Looks, checks, and changes what was seen if it is still that.
    ///
    /// The server's own command stops at zero, wraps, adds to what only begins like a number, and leaves spaces behind a number that
    /// became shorter. So it is used only where all that cannot happen; it keeps the lifetime to the tick. Elsewhere the
    /// entry is written anew with what remains of its life, and the second that is under way.
    pub(crate) async fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<Create>,
    ) -> Result<Option<i64>> {
        let place = self.place(key).await?;
        loop {
            let Some(seen) = entry(&place).await? else {
                let Some(create) = create else { return Ok(None) };
                if let Some(first) = self.begin(&place, delta, create).await? {
                    return Ok(Some(first));
                }
                continue;
            };
            let old = integer::parse(&seen.value)?;
            let new = integer::add(old, delta)?;
            let text = new.to_string();
            let by_server = old >= 0 && new >= 0 && text.len() >= seen.value.len();
            let change = if by_server {
                command::add(place.key(), delta)
            } else {
                command::set(
                    place.key(),
                    text.as_bytes(),
                    lifetime::rest(seen.ttl, &self.common.clock),
                )
            };
            if ask(&place, command::if_still(change, seen.stamp)).await? {
                return Ok(Some(new));
            }
            // Somebody else was faster.
        }
    }

    /// Makes the counter with its lifetime, in one step; nothing if somebody else has made it.
    async fn begin(&self, place: &Place, delta: i64, create: Create) -> Result<Option<i64>> {
        let first = create.initial.checked_add(delta);
        let first =
            first.ok_or_else(|| Error::new(ErrorKind::Overflow, "the result is outside i64"))?;
        let write =
            command::set(place.key(), first.to_string().as_bytes(), self.seconds(create.expiry));
        let answer = place.member.ask(write.flag("ME")).await?;
        Ok(command::done(&answer, place.member.address())?.then_some(first))
    }
}

/// The counter that is there, with the number for compare-and-swap that is its own.
///
/// The server's arithmetic gives the item that it replaces the number of the new one, and who is just reading it gets the old
/// value with the new number: compared by that, an increment would be lost. So it is read twice in one pipeline. An item that
/// is replaced is found no more, so what is the same both times belongs together.
pub(crate) async fn entry(place: &Place) -> Result<Option<Entry>> {
    let at = place.member.address();
    loop {
        let twice = vec![command::get_entry(place.key()), command::get_entry(place.key())];
        let mut answers = place.member.ask_all(twice).await?.into_iter();
        let mut next = || match answers.next() {
            Some(it) => command::entry(it, at),
            None => Err(error::surprise(at)),
        };
        let (first, second) = (next()?, next()?);
        match (first, second) {
            (_, None) => return Ok(None),
            (Some(a), Some(b)) if (&a.value, a.stamp) == (&b.value, b.stamp) => return Ok(Some(b)),
            _ => {}
        }
    }
}

/// Whether the server's arithmetic could have written this.
pub(crate) fn may_be(value: &[u8]) -> bool {
    value.len() <= 20 && value.first().is_some_and(u8::is_ascii_digit)
}
