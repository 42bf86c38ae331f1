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
    /// How many bytes the values of a `set_many` have; zero for other calls.
    pub bytes: usize,
    /// Whether a second call does no harm when the outcome of the first is unknown.
    pub idempotent: bool,
}

impl Call<'_> {
    /// How many deadlines the call has.
    pub(super) fn rounds(&self) -> u32 {
        rounds(self.keys, self.bytes)
    }
}

/// How many keys a batch may have for each deadline.
const KEYS_PER_DEADLINE: usize = 1000;
/// How many bytes of values a batch may send for each deadline: 8 MiB a second with the default of 500 ms.
const BYTES_PER_DEADLINE: usize = 4 << 20;

/// How many deadlines a batch of so many keys has that sends so many bytes of values.
pub(crate) fn rounds(keys: usize, bytes: usize) -> u32 {
    let rounds = keys.div_ceil(KEYS_PER_DEADLINE).max(bytes.div_ceil(BYTES_PER_DEADLINE)).max(1);
    u32::try_from(rounds).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_a_deadline_for_each_thousand_keys_or_4_mib() {
        for (keys, bytes, expected) in [
            (0, 0, 1),
            (1000, 4 << 20, 1),
            (1001, 0, 2),
            (1, (4 << 20) + 1, 2),
            (60, 60 * (4 << 20), 60),
            (2000, 4 << 20, 2),
            (usize::MAX, usize::MAX, u32::MAX),
        ] {
            assert_eq!(rounds(keys, bytes), expected, "{keys} keys, {bytes} bytes");
        }
    }
}
