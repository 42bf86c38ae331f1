//! Which results of a function are kept, and in which form.

/// A rule that says which results of type `R` are kept.
pub trait Kind<R> {
    /// The part of a result that is stored.
    type Stored;

    /// Returns the part to store, or the whole result if it is not kept.
    ///
    /// # Errors
    /// The result, if it is not kept.
    fn keep(result: R) -> Result<Self::Stored, R>;

    /// Makes a result of the stored part.
    fn restore(stored: Self::Stored) -> R;

    /// Returns the result that says that there is no value, if results can say so.
    fn absent() -> Option<R> {
        None
    }

    /// Returns whether a result says that there is no value.
    fn is_absent(_: &R) -> bool {
        false
    }
}

/// Every result is kept.
#[derive(Debug)]
pub enum Whole {}

impl<T> Kind<T> for Whole {
    type Stored = T;

    fn keep(result: T) -> Result<T, T> {
        Ok(result)
    }

    fn restore(stored: T) -> T {
        stored
    }
}

/// `Some` is kept.
#[derive(Debug)]
pub enum IfSome {}

impl<T> Kind<Option<T>> for IfSome {
    type Stored = T;

    fn keep(result: Option<T>) -> Result<T, Option<T>> {
        result.ok_or(None)
    }

    fn restore(stored: T) -> Option<T> {
        Some(stored)
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }

    fn is_absent(result: &Option<T>) -> bool {
        result.is_none()
    }
}

/// `Ok` is kept.
#[derive(Debug)]
pub enum IfOk {}

impl<T, E> Kind<Result<T, E>> for IfOk {
    type Stored = T;

    fn keep(result: Result<T, E>) -> Result<T, Result<T, E>> {
        result.map_err(Err)
    }

    fn restore(stored: T) -> Result<T, E> {
        Ok(stored)
    }
}

/// `Ok(Some(_))` is kept.
#[derive(Debug)]
pub enum IfOkSome {}

impl<T, E> Kind<Result<Option<T>, E>> for IfOkSome {
    type Stored = T;

    fn keep(result: Result<Option<T>, E>) -> Result<T, Result<Option<T>, E>> {
        match result {
            Ok(Some(value)) => Ok(value),
            other => Err(other),
        }
    }

    fn restore(stored: T) -> Result<Option<T>, E> {
        Ok(Some(stored))
    }

    fn absent() -> Option<Result<Option<T>, E>> {
        Some(Ok(None))
    }

    fn is_absent(result: &Result<Option<T>, E>) -> bool {
        matches!(result, Ok(None))
    }
}

/// `Ok(Some(_))` and `Err` are kept.
#[derive(Debug)]
pub enum IfSomeOrErr {}

impl<T, E> Kind<Result<Option<T>, E>> for IfSomeOrErr {
    type Stored = Result<T, E>;

    fn keep(result: Result<Option<T>, E>) -> Result<Result<T, E>, Result<Option<T>, E>> {
        match result {
            Ok(Some(value)) => Ok(Ok(value)),
            Ok(None) => Err(Ok(None)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn restore(stored: Result<T, E>) -> Result<Option<T>, E> {
        stored.map(Some)
    }

    fn absent() -> Option<Result<Option<T>, E>> {
        Some(Ok(None))
    }

    fn is_absent(result: &Result<Option<T>, E>) -> bool {
        matches!(result, Ok(None))
    }
}
