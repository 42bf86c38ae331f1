//! Reads and replaces markers in the store.

use std::{
    ops::Range,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;

use super::{Cache, Shared, background_delete::handle, batch::one_each, call, call_leader};
use crate::{
    consistency::markers::{Marker, MarkerPath, Read, Replacement, Step, Version},
    error::{Error, ErrorKind, Result},
    runtime::{self, all, first},
    store::SetMode,
    telemetry::stats::Event,
    timeout::Expiry,
    value::Form,
};

/// How often a reader makes a marker that the store loses at once.
const ATTEMPTS: usize = 3;
/// The longest wait after a failed replacement and after the first failure of the background task,
/// and the longest of all its waits.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The number of markers that the background task replaces at a time.
const CHUNK: usize = 100;

impl<V: Form> Cache<V> {
    /// Returns the version of a marker if it is remembered.
    #[inline]
    pub(super) fn known_version(&self, marker: &Marker) -> Option<Version> {
        self.shared.markers.known(marker, self.shared.tag_staleness)
    }

    /// Returns the versions of markers: one result for each, in order. Those that are not
    /// remembered are read with one call of the store, or by another caller that reads them
    /// already. A missing marker gets a new version, and so does a marker with a pending
    /// replacement.
    pub(super) async fn versions(&self, markers: &[Arc<Marker>]) -> Vec<Result<Version>> {
        self.versions_within(markers, self.shared.tag_staleness).await
    }

    /// Returns the versions of markers as [`versions`](Self::versions) does. With a staleness of
    /// zero, their reads begin in this call.
    pub(super) async fn versions_within(
        &self,
        markers: &[Arc<Marker>],
        staleness: Duration,
    ) -> Vec<Result<Version>> {
        let lasts = self.write_claim(markers.len());
        let mut results: Vec<Option<Result<Version>>> = vec![None; markers.len()];
        while results.iter().any(Option::is_none) {
            let (mut mine, mut others) = (Vec::new(), Vec::new());
            for (place, marker) in markers.iter().enumerate() {
                if results[place].is_some() {
                    continue;
                }
                match self.shared.markers.begin(marker, staleness, lasts) {
                    Step::Known(version) => results[place] = Some(Ok(version)),
                    Step::Read(read) => mine.push((place, read)),
                    Step::Wait(result, until) => others.push((place, result, until)),
                }
            }
            // Before the wait, because two callers may wait for each other's markers.
            for (place, result) in self.read_markers(mine).await {
                results[place] = Some(result);
            }
            for (place, mut result, until) in others {
                let wait = result.wait_for(Option::is_some);
                // Without a result, the reader was dropped or its time is over.
                if let Some(Ok(result)) = first(wait, self.shared.clock.sleep(until)).await {
                    results[place].clone_from(&result);
                }
            }
        }
        results.into_iter().flatten().collect()
    }

    /// Replaces the versions of markers with one call of the store. If this fails, reads here find
    /// the markers unknown until a replacement has succeeded, which is tried in the background and
    /// by each caller that needs the marker.
    ///
    /// Returns the error of the first marker that could not be replaced.
    pub(super) async fn replace_markers(&self, markers: &[Arc<Marker>]) -> Result<()> {
        // Dropped after the replacements: the future may be dropped, too.
        let _background = Background(self);
        let replacements: Vec<_> =
            markers.iter().map(|it| self.shared.markers.replace(it)).collect();
        let items: Vec<_> =
            replacements.iter().map(|it| (it.key(), stored(it.version()))).collect();
        let answers: Vec<Result<()>> =
            if items.is_empty() { Vec::new() } else { call!(self.set_many(&items, Expiry::Never)) };
        drop(items);
        let mut failed = None;
        for (replacement, answer) in replacements.into_iter().zip(one_each(answers)) {
            match answer {
                Ok(()) => Replacement::complete(replacement),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Makes a marker unknown until it has been replaced: a write that depends on its version
    /// failed open.
    pub(super) fn add_pending_replacement(&self, marker: &Marker) {
        if !self.shared.markers.add_pending(marker) {
            self.shared.counters.event(Event::MarkLost);
        }
        self.replace_in_background();
    }

    /// Notes that a write or delete of a key failed open, because the generation of its namespace
    /// could not be read. `place` is where it stands in the key. If too many keys wait, the
    /// namespace is cleared instead.
    pub(super) fn add_unentered(&self, path: &MarkerPath, key: &str, place: Range<usize>) {
        let markers = &self.shared.markers;
        if markers.unentered.add(path, key, place) {
            // After that, so that a version that is remembered later was read later.
            for marker in path.iter() {
                marker.forget();
            }
            self.replace_in_background();
        } else if let Some(own) = path.last() {
            self.add_pending_replacement(own);
        }
    }

    async fn read_markers<P>(&self, reads: Vec<(P, Read<'_>)>) -> Vec<(P, Result<Version>)> {
        let (replaced, mut reads): (Vec<_>, Vec<_>) =
            reads.into_iter().partition(|(_, it)| it.replaces());
        let mut results = Vec::with_capacity(replaced.len() + reads.len());
        let mut ended = Vec::new();
        self.write_markers(replaced, &mut ended).await;
        for _ in 0..ATTEMPTS {
            if reads.is_empty() {
                break;
            }
            let keys: Vec<_> = reads.iter().map(|(_, read)| read.key()).collect();
            let answers = self.get_markers(&keys).await;
            drop(keys);
            let (mut missing, mut foreign) = (Vec::new(), Vec::new());
            for (read, answer) in reads.into_iter().zip(one_each(answers)) {
                match answer {
                    Ok(Some(text)) => match Version::parse(&text) {
                        Some(version) => ended.push((read, Ok(version))),
                        None => foreign.push(read),
                    },
                    Ok(None) => missing.push(read),
                    Err(error) if error.kind().is_unreadable() => foreign.push(read),
                    Err(error) => ended.push((read, Err(error))),
                }
            }
            self.write_markers(foreign, &mut ended).await;
            reads = self.add_markers(missing, &mut ended).await;
        }
        ended.extend(reads.into_iter().map(|read| (read, Err(lost()))));
        for ((place, read), result) in ended {
            read.complete(result.clone());
            results.push((place, result));
        }
        results
    }

    /// Replaces markers, and adds the results.
    async fn write_markers<'a, P>(
        &self,
        reads: Vec<(P, Read<'a>)>,
        ended: &mut Vec<((P, Read<'a>), Result<Version>)>,
    ) {
        if reads.is_empty() {
            return;
        }
        let versions: Vec<_> = reads.iter().map(|_| Version::random()).collect();
        let items = reads.iter().zip(&versions);
        let items: Vec<_> = items.map(|((_, it), version)| (it.key(), stored(*version))).collect();
        let answers: Vec<Result<()>> = call!(self.set_many(&items, Expiry::Never));
        drop(items);
        let answers = versions.into_iter().zip(one_each(answers));
        let results = answers.map(|(version, answer)| answer.map(|()| version));
        ended.extend(reads.into_iter().zip(results));
    }

    /// Makes missing markers, and adds the results. Returns those that another caller made
    /// meanwhile.
    async fn add_markers<'a, P>(
        &self,
        reads: Vec<(P, Read<'a>)>,
        ended: &mut Vec<((P, Read<'a>), Result<Version>)>,
    ) -> Vec<(P, Read<'a>)> {
        let add = |(_, read): &(P, Read<'a>)| {
            let key = read.key().to_owned();
            async move {
                let version = Version::random();
                let mode = SetMode::IfAbsent;
                let res: Result<bool> = call!(self.set(&key, stored(version), Expiry::Never, mode));
                res.map(|is_new| is_new.then_some(version))
            }
        };
        let answers = all(reads.iter().map(add)).await;
        let mut lost = Vec::new();
        for (read, answer) in reads.into_iter().zip(answers) {
            match answer {
                Ok(Some(version)) => ended.push((read, Ok(version))),
                Ok(None) => lost.push(read),
                Err(error) => ended.push((read, Err(error))),
            }
        }
        lost
    }

    /// Reads markers where they are written: a copy that lags would return old versions.
    async fn get_markers(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        if let [key] = keys {
            let answer: Result<Option<Bytes>> = call_leader!(self.get(key));
            return vec![answer];
        }
        call_leader!(self.get_many(keys))
    }

    /// Starts the task that replaces markers without a call that needs them.
    pub(super) fn replace_in_background(&self) {
        if !self.shared.markers.begin_task(self.replacements_last()) {
            return;
        }
        // If no thread can start, the calls that need the markers replace them.
        if let Ok(own) = runtime::own() {
            drop(own.spawn(run(Arc::downgrade(&self.shared))));
        }
    }

    /// Returns how long the task counts as running: it may have died with its runtime, for example
    /// in a child of `fork`.
    fn replacements_last(&self) -> Duration {
        LONGEST_WAIT.saturating_mul(2).saturating_add(self.write_claim(CHUNK).saturating_mul(2))
    }
}

/// Starts the background task when it is dropped, if replacements are pending.
pub(super) struct Background<'a, V: Form>(pub(super) &'a Cache<V>);

impl<V: Form> Drop for Background<'_, V> {
    fn drop(&mut self) {
        self.0.replace_in_background();
    }
}

/// Ends when no replacement is pending and no key waits for a generation, or with the cache.
async fn run(shared: Weak<Shared>) {
    let mut wait = FIRST_WAIT;
    loop {
        let Some(cache) = shared.upgrade().map(handle) else { return };
        if !cache.shared.markers.continue_task(cache.replacements_last()) {
            return;
        }
        let clock = cache.shared.clock.clone();
        // The cache may be dropped during the wait.
        drop(cache);
        clock.sleep(wait / 2 + runtime::jitter(wait / 2)).await;
        let Some(cache) = shared.upgrade().map(handle) else { return };
        let pending = cache.shared.markers.pending(CHUNK);
        let mut results = cache.versions(&pending).await;
        if let Some(path) = cache.shared.markers.unentered.any() {
            results.push(cache.generation(&path, Duration::ZERO).await);
        }
        let is_down = !results.is_empty() && results.iter().all(Result::is_err);
        wait = if is_down { wait.saturating_mul(2).min(LONGEST_WAIT) } else { FIRST_WAIT };
    }
}

pub(super) fn stored(version: Version) -> Bytes {
    Bytes::copy_from_slice(version.text().as_bytes())
}

#[cold]
fn lost() -> Error {
    Error::new(
        ErrorKind::Backend,
        "the store does not keep the version of a tag or namespace: it was missing right after it \
         was written",
    )
}
