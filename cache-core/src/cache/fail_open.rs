//! Turns the reply of the store into the answer for the caller: counts it, and fails open where
//! allowed.

use super::Cache;
use crate::{
    error::{Error, ErrorKind, Result},
    layer::Operation,
    telemetry::stats::Outcome,
    value::Form,
};

impl<V: Form> Cache<V> {
    /// Returns the answer of a call that never fails open and is not a read.
    #[inline]
    pub(super) fn answer<T>(
        &self,
        operation: Operation,
        key: Option<&str>,
        res: Result<T>,
    ) -> Result<T> {
        match res {
            Ok(it) => {
                self.count(operation, Outcome::Done);
                Ok(it)
            }
            Err(error) => Err(self.fail(operation, key, error)),
        }
    }

    /// Returns the answer of a call that fails open with `nothing`.
    #[inline]
    pub(super) fn answer_or<T>(
        &self,
        operation: Operation,
        key: &str,
        res: Result<T>,
        nothing: T,
    ) -> Result<T> {
        match self.answer(operation, Some(key), res) {
            Err(error) if self.hides(&error) => Ok(nothing),
            res => res,
        }
    }

    /// Returns the answer of a read: the entry or a miss.
    #[inline]
    pub(super) fn found<T>(
        &self,
        operation: Operation,
        key: &str,
        res: Result<Option<T>>,
    ) -> Result<Option<T>> {
        match res {
            Ok(it) => {
                self.count(operation, if it.is_some() { Outcome::Hit } else { Outcome::Miss });
                Ok(it)
            }
            Err(error) => Err(self.fail(operation, Some(key), error)),
        }
    }

    /// Returns the answer of a read that fails open as a miss.
    #[inline]
    pub(super) fn found_or_miss<T>(
        &self,
        operation: Operation,
        key: &str,
        res: Result<Option<T>>,
    ) -> Result<Option<T>> {
        match self.found(operation, key, res) {
            Err(error) if self.hides(&error) => Ok(None),
            res => res,
        }
    }

    /// Counts an error and adds where it happened.
    #[cold]
    pub(super) fn fail(&self, operation: Operation, key: Option<&str>, error: Error) -> Error {
        let failed = error.kind().fails_open();
        self.shared.counters.error(error.kind());
        let hidden = self.hides(&error) && may_fail_open(operation);
        self.shared.observer.error(operation, &error, hidden);
        match error.kind() {
            _ if failed => self.count(operation, Outcome::Failed),
            // The error of a loader is counted with the loads.
            ErrorKind::Loader => {}
            _ => self.count(operation, Outcome::Refused),
        }
        let error = self.in_context(error, operation, key);
        self.shared.observer.notice(&error);
        error
    }

    /// Counts a call that did not reach the store.
    pub(super) fn refuse(&self, operation: Operation, error: Error) -> Error {
        self.fail(operation, None, error)
    }

    /// Returns whether this error is hidden from the caller.
    pub(super) fn hides(&self, error: &Error) -> bool {
        self.hides_failures() && error.kind().fails_open()
    }

    #[inline]
    pub(super) fn count(&self, operation: Operation, outcome: Outcome) {
        self.shared.counters.count(operation, outcome);
        self.shared.observer.outcome(operation, outcome, 1);
    }
}

/// Returns whether the operation may return an invented answer when the store fails.
fn may_fail_open(operation: Operation) -> bool {
    match operation {
        Operation::Get
        | Operation::GetMany
        | Operation::Set
        | Operation::SetMany
        | Operation::HasKey
        | Operation::Ttl
        | Operation::Touch
        | Operation::Delete
        | Operation::DeleteMany
        | Operation::CompareAndDelete
        | Operation::GetOrSet
        | Operation::Fetch => true,
        Operation::Add
        | Operation::Replace
        | Operation::SetRevision
        | Operation::DeleteRevision
        | Operation::Pop
        | Operation::Incr
        | Operation::Update
        | Operation::IncrVersion
        | Operation::InvalidateTags
        | Operation::Lock
        | Operation::Clear
        | Operation::ClearStore
        | Operation::Check
        | Operation::Close => false,
    }
}
