//! An entry with its CAS number and its expiry, all from one moment.

use std::time::Duration;

use cache_core::{Result, Ttl, store::Entry};

use crate::{
    command::{self, Mode},
    generation::SendCommand as _,
    key::Key,
    lifetime,
    moment::Moment,
    outcome,
    pool::{Common, KeyLocation},
    tries::Tries,
};

/// An entry, as it was at one moment.
pub(crate) struct Snapshot {
    /// The entry, with its own CAS number.
    pub(crate) entry: Entry,
    /// The remaining lifetime of the clock entry, if it exists.
    pub(crate) clock: Option<Duration>,
    pub(crate) moment: Moment,
}

impl Snapshot {
    /// Returns the server's number for the same expiry. Returns `None` if the clock entry has to be
    /// written first.
    pub(crate) fn end(&self) -> Option<u64> {
        match (self.entry.ttl, self.clock) {
            (Ttl::Forever, _) => Some(0),
            (ttl, clock) => clock.map(|it| lifetime::end(ttl, it)),
        }
    }
}

/// The key of an entry with a known expiry, from which the server's clock is read. It belongs to no
/// prefix.
const CLOCK_KEY: Key<'static> = Key::new("!clock", "");

/// Reads an entry.
///
/// The server's arithmetic gives the replaced item the CAS number of the new item, so a concurrent
/// reader can receive the old value with the new number. A compare-and-swap with that number would
/// lose an increment. Therefore, the entry is read twice in one pipeline. A replaced item is not
/// found again, so two equal results belong together.
///
/// The server reports only the remaining lifetime. A new write with this lifetime would extend it
/// with each tick in between. Therefore, the server's clock is read between the two reads, to
/// convert the lifetime to a time.
pub(crate) async fn read(common: &Common, location: &KeyLocation<'_>) -> Result<Option<Snapshot>> {
    let at = location.address();
    let mut tries = Tries::new(common);
    loop {
        let replies = location.send_all(|key| {
            [command::get_entry(key), command::ttl(CLOCK_KEY), command::get_entry(key)]
        });
        let ([first, clock, second], moment) = replies.await?;
        let first = outcome::entry(first, at)?;
        let Some(second) = outcome::entry(second, at)? else { return Ok(None) };
        let same =
            |it: &Entry| (&it.value, it.stamp, it.ttl) == (&second.value, second.stamp, second.ttl);
        let clock = match outcome::remaining(&clock, at)? {
            Some(Ttl::Remaining(left)) => Some(left),
            _ => None,
        };
        match first.filter(same) {
            Some(entry) => return Ok(Some(Snapshot { entry, clock, moment })),
            None => tries.again().await?,
        }
    }
}

/// Reads an entry that will be written again, with the server's number for the same expiry.
pub(crate) async fn read_with_end(
    common: &Common,
    location: &KeyLocation<'_>,
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

/// Reads an entry whose expiry does not matter.
pub(crate) async fn read_value(
    common: &Common,
    location: &KeyLocation<'_>,
) -> Result<Option<(Entry, Moment)>> {
    let (reply, moment) =
        location.send_named(|names| command::get_entry(names.entry(location.key()))).await?;
    match outcome::entry(reply, location.address())? {
        // The CAS number may belong to a newer value.
        Some(it) if may_be_counter(&it.value) => {
            Ok(read(common, location).await?.map(|it| (it.entry, it.moment)))
        }
        it => Ok(it.map(|it| (it, moment))),
    }
}

/// Reads the clock of the server of this key.
pub(crate) async fn read_clock(common: &Common, location: &KeyLocation<'_>) -> Result<Duration> {
    let mut tries = Tries::new(common);
    loop {
        let reply = location.member.send_command(command::ttl(CLOCK_KEY)).await?;
        if let Some(Ttl::Remaining(left)) = outcome::remaining(&reply, location.address())? {
            return Ok(left);
        }
        start_clock(location).await?;
        tries.again().await?;
    }
}

/// Writes the clock entry. All writers write the same. It is written only when it is needed,
/// because the server may have no memory for it.
pub(crate) async fn start_clock(location: &KeyLocation<'_>) -> Result<()> {
    let write = command::set(CLOCK_KEY, b"", Mode::Always, lifetime::LAST);
    let reply = location.member.send_command(write).await?;
    outcome::done(&reply, location.address()).map(drop)
}

/// Whether the server's arithmetic may have written this value.
fn may_be_counter(value: &[u8]) -> bool {
    value.len() <= 20 && value.first().is_some_and(u8::is_ascii_digit)
}
