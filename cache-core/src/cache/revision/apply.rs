//! Changes of an entry that may have a newer revision, by compare-and-set.

use bytes::Bytes;

use crate::{
    cache::{Cache, call, call_leader, put_aside, tries::Tries},
    error::{ErrorKind, Result},
    layer::Operation,
    runtime::all,
    store::{Entry, Expected, SetMode, TtlUpdate},
    telemetry::stats::Event,
    timeout::Expiry,
    value::{
        Form, envelope,
        revision::{Change, Verdict},
    },
};

/// The largest value that is sent along with the first read of its key. It is sent again if the key
/// has an entry.
const SENT_AT_ONCE: usize = 16 << 10;

/// The knowledge of an entry before a try.
pub(in crate::cache) enum Known {
    Nothing,
    /// The key was absent.
    Absent,
    /// The key had an entry, which has changed.
    Changed,
    Entry(Entry),
}

/// The answer of a try.
enum Tried {
    Done,
    IsOld,
    Again(Known),
}

impl<V: Form> Cache<V> {
    /// Applies a change that a caller makes, in turn with the other updates of the key. Returns
    /// whether it applied.
    pub(in crate::cache) async fn apply(
        &self,
        operation: Operation,
        key: &str,
        change: &Change,
    ) -> Result<bool> {
        Box::pin(async {
            self.resolve(key).await?;
            let tries =
                if self.shared.sync.is_some() { self.tries() } else { self.turn(key).await? };
            let writing = self.before_write(key).await;
            let moment = self.shared.tombstones.moment();
            let applied =
                writing.run(self.apply_in_turn(operation, key, change, Known::Nothing, tries));
            let applied = applied.await.unwrap_or_else(|| Err(put_aside()))?;
            if applied {
                self.written(key, moment, &Ok(()));
            }
            Ok(applied)
        })
        .await
    }

    /// Applies a change of a load. The flight of the load guards the write.
    pub(in crate::cache) async fn apply_loaded(
        &self,
        operation: Operation,
        key: &str,
        change: &Change,
        known: Known,
    ) -> Result<bool> {
        Box::pin(self.apply_in_turn(operation, key, change, known, self.tries())).await
    }

    async fn apply_in_turn(
        &self,
        operation: Operation,
        key: &str,
        change: &Change,
        mut known: Known,
        mut tries: Tries<'_>,
    ) -> Result<bool> {
        let waits = self.shared.sync.is_none();
        loop {
            if waits {
                tries.begin()?;
            }
            match self.try_change(key, change, known).await? {
                Tried::Done => return Ok(true),
                Tried::IsOld => {
                    self.revision_refused(operation);
                    return Ok(false);
                }
                Tried::Again(it) => {
                    if waits && matches!(it, Known::Changed) {
                        tries.wait().await;
                    }
                    known = it;
                }
            }
        }
    }

    pub(in crate::cache) fn revision_refused(&self, operation: Operation) {
        self.shared.counters.event(Event::RevisionRefused);
        self.shared.observer.revision_refused(operation);
    }

    /// Makes the next step of a change.
    async fn try_change(&self, key: &str, change: &Change, known: Known) -> Result<Tried> {
        match (known, &change.new) {
            (Known::Absent, None) => Ok(Tried::Done),
            (Known::Absent, Some((value, expiry))) => {
                let added: Result<bool> =
                    call!(self.set(key, value.clone(), *expiry, SetMode::IfAbsent));
                Ok(if added? { Tried::Done } else { Tried::Again(Known::Changed) })
            }
            (Known::Nothing, Some((value, expiry)))
                if self.shared.sync.is_none() && value.len() <= SENT_AT_ONCE =>
            {
                self.read_or_add(key, value, *expiry, change).await
            }
            (Known::Nothing | Known::Changed, _) => {
                let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
                self.after_read(key, change, entry).await
            }
            (Known::Entry(entry), _) => self.compare_and_change(key, change, &entry).await,
        }
    }

    /// Reads the key, and stores the value if the key is absent, in one round trip.
    async fn read_or_add(
        &self,
        key: &str,
        value: &Bytes,
        expiry: Expiry,
        change: &Change,
    ) -> Result<Tried> {
        enum Reply {
            Read(Result<Option<Entry>>),
            Added(Result<bool>),
        }
        let both = [true, false].into_iter().map(async |reads| {
            if reads {
                Reply::Read(call_leader!(self.get_entry(key)))
            } else {
                let mode = SetMode::IfAbsent;
                Reply::Added(call!(self.set(key, value.clone(), expiry, mode)))
            }
        });
        let mut replies = all(both).await.into_iter();
        match (replies.next(), replies.next()) {
            (_, Some(Reply::Added(Ok(true)))) => Ok(Tried::Done),
            // It was added and expired, or was deleted in between.
            (Some(Reply::Read(Ok(None))), Some(Reply::Added(added))) => {
                added.map(|_| Tried::Again(Known::Changed))
            }
            (Some(Reply::Read(read)), _) => self.after_read(key, change, read).await,
            _ => Ok(Tried::Again(Known::Changed)),
        }
    }

    async fn after_read(
        &self,
        key: &str,
        change: &Change,
        read: Result<Option<Entry>>,
    ) -> Result<Tried> {
        match read {
            Ok(None) => Ok(Tried::Again(Known::Absent)),
            Ok(Some(entry)) => Ok(Tried::Again(Known::Entry(entry))),
            // The value of another program, which cannot be compared, is replaced as by `set`.
            Err(error) if error.kind().is_unreadable() => {
                let res: Result<bool> = match &change.new {
                    Some((value, expiry)) => {
                        call!(self.set(key, value.clone(), *expiry, SetMode::Always))
                    }
                    None => call!(self.delete(key)),
                };
                res.map(|_| Tried::Done)
            }
            Err(error) => Err(error),
        }
    }

    async fn compare_and_change(&self, key: &str, change: &Change, entry: &Entry) -> Result<Tried> {
        let seen = Expected::entry(entry);
        let left = self.left_of(entry).await?;
        let res: Result<bool> = match change.judge(&entry.value, left) {
            Verdict::IsOld => return Ok(Tried::IsOld),
            Verdict::Applies(Some((value, expiry))) => {
                call!(self.compare_and_set(key, seen, value, TtlUpdate::New(expiry)))
            }
            Verdict::Applies(None) => call!(self.compare_and_delete(key, seen)),
        };
        if res.as_ref().is_err_and(|it| it.kind() == ErrorKind::TooLarge) {
            // The old value does not stay behind; a floor does.
            if !envelope::is_lease_or_floor(&entry.value) {
                let _: Result<bool> = call!(self.compare_and_delete(key, seen));
            }
        }
        Ok(if res? { Tried::Done } else { Tried::Again(Known::Changed) })
    }
}
