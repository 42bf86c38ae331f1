//! Tags: values that are invalidated together.

mod blocking;
mod declare;
mod expire;
mod verify;

use std::{fmt::Write, sync::Arc};

use arrayvec::ArrayString;

pub(super) use self::declare::Declared;
use super::Cache;
use crate::{
    consistency::{markers::Marker, tag_set::TagSet},
    error::{Error, ErrorKind, Result},
    key::KeyHead,
    layer::Operation,
    value::Form,
};

/// Tags: values that are invalidated together.
///
/// The alias needs the setting [`tags`](crate::CacheSettings::tags). An entry carries the versions
/// of its tags from before its value was loaded, and is valid while all of them are current. So an
/// invalidation is one write, however many entries carry the tag, and it also reaches a load that
/// is in progress: its value is stored with the old version.
impl<V: Form> Cache<V> {
    /// Returns a handle to the same cache that stores its values with these tags, in addition to
    /// those of this handle. All of its writes and loads do: `set`, `add`, `get_or_set`, `fetch`,
    /// batches, and those of keyspaces. Its reads are those of every other handle.
    ///
    /// A tag is any text. An entry has at most 64 tags. A counter has none, because every store
    /// counts in plain integers: `incr`, `decr` and `incr_or` of this handle are `Unsupported`.
    /// `update` and `upsert` of any handle keep the tags of the old value. A call that waits for
    /// the load of another caller gets its value, with the tags of that caller.
    ///
    /// A value that was computed before the call may be older than an invalidation. Loads have no
    /// such gap: the versions are read before the loader runs.
    ///
    /// # Errors
    /// The calls of the handle that store values return `Config` if the alias does not have the
    /// setting `tags`, if a tag is empty, or if there are more than 64.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// use cache_core::{Cache, secs};
    /// # use cache_memory::Memory;
    ///
    /// let cache = Cache::builder(Memory::new()).tags(true).build("test")?;
    /// let org = cache.with_tags(["org:3"]);
    /// org.set("report", "12 pages", secs(300)).await?;
    /// let load = || async { "Ada".to_owned() };
    /// org.with_tags(["user:7"]).get_or_set("user:7", secs(300), load).await?;
    ///
    /// cache.invalidate_tags(["user:7"]).await?;
    /// assert_eq!(cache.get::<String>("user:7").await?, None);
    /// assert_eq!(cache.get::<String>("report").await?.as_deref(), Some("12 pages"));
    /// cache.invalidate_tags(["org:3"]).await?;
    /// assert_eq!(cache.get::<String>("report").await?, None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Self {
        let tags = self.tag_set(self.tags.as_deref(), tags);
        Self { tags: Some(Arc::new(tags)), ..self.clone() }
    }

    /// Makes all values with one of these tags unusable: they are missing for every read that
    /// begins after this call. The cost does not depend on how many values have the tags.
    ///
    /// - In this process it takes effect at once. A load in progress with one of these tags does
    ///   not store its value, and later callers do not wait for it.
    /// - In other processes it takes effect within
    ///   [`tag_staleness`](crate::CacheSettings::tag_staleness) (1 s by default).
    ///
    /// # Errors
    /// Never fails open. After an error, other processes may still serve the values. In this
    /// process the values are missing, and the invalidation is tried again in the background until
    /// it succeeds. `Config` if the alias does not have the setting `tags`, or if a tag is empty.
    ///
    /// # Cancel safety
    /// If the future is dropped, this process tries the invalidation again, as after an error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, secs}; use cache_memory::Memory;
    /// # let cache = Cache::builder(Memory::new()).tags(true).build("test")?;
    /// cache.with_tags(["org:3"]).set_many([("a", 1), ("b", 2)], secs(60)).await?.into_result()?;
    /// cache.invalidate_tags(["org:3"]).await?;
    /// assert!(cache.get_many::<i32, _>(["a", "b"]).await?.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn invalidate_tags<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let tags = self.checked_tags(tags)?;
        // Boxed because it is rare.
        let res = Box::pin(self.replace_markers(&tags.markers())).await;
        self.invalidated(&tags, res)
    }

    /// Lets all values with one of these tags count as past their lifetime. A value with a
    /// [grace](crate::Fetch::grace) is served stale, as in its grace: while a new one is loaded,
    /// and when the loader fails. A value without a grace is missing, as after
    /// [`invalidate_tags`](Self::invalidate_tags), which this call is like in all other respects.
    ///
    /// # Errors
    /// As [`invalidate_tags`](Self::invalidate_tags). A call that failed is repeated in the
    /// background as an invalidation, because it is unknown what the store has.
    ///
    /// # Cancel safety
    /// As [`invalidate_tags`](Self::invalidate_tags).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> cache_core::Result<()> {
    /// # use cache_core::{Cache, FetchSettings, secs}; use cache_memory::Memory;
    /// # use std::{io, time::Duration};
    /// let grace = FetchSettings::with_grace(Duration::from_secs(3600));
    /// let cache = Cache::builder(Memory::new()).tags(true).fetch(grace).build("test")?;
    /// cache.fetch("k").tags(["org:3"]).prime(&"old").await?;
    ///
    /// cache.expire_tags(["org:3"]).await?;
    /// assert_eq!(cache.get::<String>("k").await?, None);
    /// let fails = |_| async { Err::<String, _>(io::Error::other("database down")) };
    /// assert_eq!(cache.fetch("k").load(fails).await?, "old");
    /// # Ok(()) }
    /// ```
    pub async fn expire_tags<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let tags = self.checked_tags(tags)?;
        let res = Box::pin(self.expire(&tags)).await;
        self.invalidated(&tags, res)
    }

    /// Returns the tags of an invalidation.
    fn checked_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Result<TagSet> {
        let tags = self.tag_set(None, tags);
        let checked = tags.check_names();
        checked.map_err(|error| self.refuse(Operation::InvalidateTags, error))?;
        Ok(tags)
    }

    /// Ends an invalidation, after the markers were changed: a load that begins from now on reads
    /// the new versions.
    fn invalidated(&self, tags: &TagSet, res: Result<()>) -> Result<()> {
        let hashes: Vec<_> = tags.hashes().collect();
        self.shared.flights.detach_tagged(&hashes);
        self.answer(Operation::InvalidateTags, None, res.map_err(retried))
    }

    /// Returns the tags with these names, and those of `other`.
    pub(super) fn tag_set<T: AsRef<str>>(
        &self,
        other: Option<&TagSet>,
        names: impl IntoIterator<Item = T>,
    ) -> TagSet {
        let mut set = other.cloned().unwrap_or_default();
        if !self.shared.fetch.tags {
            set.refuse(needs_tags());
            return set;
        }
        for name in names {
            set.add(name.as_ref(), |hash| self.tag_marker(hash));
        }
        set
    }

    fn tag_marker(&self, hash: u64) -> Arc<Marker> {
        let mut name = ArrayString::<16>::new();
        // Fits: a number has 16 digits.
        let _ = write!(name, "{hash:016x}");
        // Fits, and has only valid bytes: a prefix is shorter than half a key.
        let key = KeyHead::tag(&self.shared.namespace, &name).unwrap_or_default();
        self.shared.markers.marker(&key)
    }

    /// Checks the tags of this handle before a call that may store a value.
    pub(super) fn check_tags(&self, operation: Operation) -> Result<()> {
        match &self.tags {
            Some(tags) => tags.check().map_err(|error| self.refuse(operation, error)),
            None => Ok(()),
        }
    }
}

#[cold]
fn needs_tags() -> Error {
    let what = "tags are off for this cache, because its reads would have to look for them: write \
                `tags = true` in the table of the cache (`[caches.<alias>]`)";
    Error::new(ErrorKind::Config, what)
}

/// Adds to the error of an invalidation what happens now.
#[cold]
fn retried(error: Error) -> Error {
    error.with_context(
        "invalidation",
        "failed: the values are missing in this process, and it is tried again in the background; \
         other processes may serve them",
    )
}
