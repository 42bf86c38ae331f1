use crate::{
    error::{Error, Result},
    telemetry::Operation,
};

/// Which call a [`Layer`] is around.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The method.
    pub operation: Operation,
    /// The key of a call that has one; for a rename, the old key.
    pub key: Option<&'a str>,
    /// How many keys the call has.
    pub keys: usize,
    /// Whether a second call does no harm when the outcome of the first is unknown.
    pub idempotent: bool,
}

/// How many keys a store may be expected to read or write in one round trip.
const KEYS_PER_ROUND_TRIP: usize = 1000;

impl Call<'_> {
    /// How many round trips a store may be expected to make of it.
    pub(super) fn rounds(&self) -> u32 {
        let rounds = self.keys.div_ceil(KEYS_PER_ROUND_TRIP).max(1);
        u32::try_from(rounds).unwrap_or(u32::MAX)
    }
}

/// What a call answers: a `Result`, or one for each key of a batch.
pub trait Reply: Send + Sized + 'static {
    /// The answer to `call` if it fails as a whole.
    fn failed(call: &Call<'_>, error: Error) -> Self;

    /// The errors in it, one for each key that failed.
    fn errors(&self) -> impl Iterator<Item = &Error>;
}

impl<T: Send + 'static> Reply for Result<T> {
    fn failed(_: &Call<'_>, error: Error) -> Self {
        Err(error)
    }
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.as_ref().err().into_iter()
    }
}

impl<T: Send + 'static> Reply for Vec<Result<T>> {
    fn failed(call: &Call<'_>, error: Error) -> Self {
        (0..call.keys).map(|_| Err(error.clone())).collect()
    }
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.iter().filter_map(|it| it.as_ref().err())
    }
}
