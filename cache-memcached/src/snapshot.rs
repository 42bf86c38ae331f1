//! An entry, its number and its end, as they were at one moment.

use std::time::Duration;

use cache_core::{Result, Ttl, store::Entry};

use crate::{
    command, error, lifetime,
    pool::{Common, KeyLocation},
    server::Moment,
    tries::Tries,
};

/// What a look has found.
pub(crate) struct Snapshot {
    /// With the number for compare-and-swap that is its own.
    pub(crate) entry: Entry,
    /// What remained of the entry by which the server's clock is read, if that is there.
    pub(crate) clock: Option<Duration>,
    pub(crate) moment: Moment,
}

impl Snapshot {
    /// The number by which a new entry ends when this one does; nothing if the clock has to be started first.
    pub(crate) fn end(&self) -> Option<u64> {
        match (self.entry.ttl, self.clock) {
            (Ttl::Forever, _) => Some(0),
            (ttl, clock) => clock.map(|it| lifetime::end(ttl, it)),
        }
    }
}

/// An entry that ends at a time that is known, by which the server's clock is read. It belongs to no prefix.
const CLOCK_KEY: &str = "!clock";

/// Looks at the entry that is there.
///
/// The server's arithmetic gives the item that it replaces the number of the new one, and who is just reading it gets the old
/// value with the new number: compared by that, an increment would be lost. So it is read twice in one pipeline. An item that
/// is replaced is found no more, so what is the same both times belongs together.
///
/// The server says only what remains of a life. Counted from when an entry is written anew, that would be more by each tick in between.
/// So the server's time is read between both looks, and what remains is made the time at which it ends.
pub(crate) async fn read(common: &Common, location: &KeyLocation) -> Result<Option<Snapshot>> {
    let at = location.address();
    let mut tries = Tries::new(common);
    loop {
        let asked = location.ask_at(|names| {
            let key = names.entry(location.key());
            vec![command::get_entry(key.as_str()), command::ttl(CLOCK_KEY), command::get_entry(key)]
        });
        let (answers, moment) = asked.await?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().ok_or_else(|| error::unexpected_reply(at));
        let (first, clock, second) = (next()?, next()?, next()?);
        let first = command::entry(first, at)?;
        let Some(second) = command::entry(second, at)? else { return Ok(None) };
        let same =
            |it: &Entry| (&it.value, it.stamp, it.ttl) == (&second.value, second.stamp, second.ttl);
        let clock = match command::remaining(&clock, at)? {
            Some(Ttl::Remaining(left)) => Some(left),
            _ => None,
        };
        match first.filter(same) {
            Some(entry) => return Ok(Some(Snapshot { entry, clock, moment })),
            None => tries.again().await?,
        }
    }
}

/// Looks at an entry that is written anew, with the number by which the new one ends when this one does.
pub(crate) async fn read_with_end(
    common: &Common,
    location: &KeyLocation,
) -> Result<Option<(Snapshot, u64)>> {
    let mut tries = Tries::new(common);
    loop {
        let Some(found) = read(common, location).await? else { return Ok(None) };
        if let Some(end) = found.end() {
            return Ok(Some((found, end)));
        }
        start_clock(location).await?;
        tries.again().await?;
    }
}

/// Looks at an entry whose end does not matter.
pub(crate) async fn read_value(
    common: &Common,
    location: &KeyLocation,
) -> Result<Option<(Entry, Moment)>> {
    let asked = location.ask_at(|it| vec![command::get_entry(it.entry(location.key()))]);
    let (mut answers, moment) = asked.await?;
    let answer = answers.pop().ok_or_else(|| error::unexpected_reply(location.address()))?;
    match command::entry(answer, location.address())? {
        // Its number may be that of a newer one.
        Some(it) if may_be_counter(&it.value) => {
            Ok(read(common, location).await?.map(|it| (it.entry, it.moment)))
        }
        it => Ok(it.map(|it| (it, moment))),
    }
}

/// Reads the clock of the server of this place.
pub(crate) async fn read_clock(common: &Common, location: &KeyLocation) -> Result<Duration> {
    let mut tries = Tries::new(common);
    loop {
        let answer = location.member.ask(command::ttl(CLOCK_KEY)).await?;
        if let Some(Ttl::Remaining(left)) = command::remaining(&answer, location.address())? {
            return Ok(left);
        }
        start_clock(location).await?;
        tries.again().await?;
    }
}

/// All write the same, so it does not matter who is the last. Only where it is needed: a server may have no memory left for it.
pub(crate) async fn start_clock(location: &KeyLocation) -> Result<()> {
    let write = command::set(CLOCK_KEY, "", lifetime::LAST);
    let answer = location.member.ask(write).await?;
    command::done(&answer, location.address()).map(drop)
}

/// Whether the server's arithmetic could have written this.
fn may_be_counter(value: &[u8]) -> bool {
    value.len() <= 20 && value.first().is_some_and(u8::is_ascii_digit)
}
