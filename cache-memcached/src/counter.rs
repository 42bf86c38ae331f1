//! Signed counters over a server that knows only numbers of 64 bits without a sign.

use cache_core::{Create, Error, ErrorKind, Result, integer};

use crate::{
    command, lifetime,
    pool::Place,
    store::{Memcached, ask, entry},
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
