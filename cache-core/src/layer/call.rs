use crate::{
    error::{Error, Result},
    telemetry::Operation,
    timeout::Expiry,
};

/// The call that a [`Layer`](super::Layer) runs around.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The operation.
    pub operation: Operation,
    /// The key of a call with one key; for a rename, the old key.
    pub key: Option<&'a str>,
    /// The number of keys.
    pub keys: usize,
    /// The total size of the values that the call writes, in bytes.
    pub bytes: usize,
    /// The lifetime that the call sets, if it sets one.
    pub lifetime: Option<Expiry>,
    /// Whether the call may be repeated without harm when the outcome of the first is unknown.
    pub idempotent: bool,
}

impl Call<'_> {
    /// Returns whether the call may take as long as the server needs, so that it has no deadline.
    pub(super) fn is_unlimited(&self) -> bool {
        matches!(
            self.operation,
            Operation::Clear | Operation::ClearStore | Operation::Check | Operation::Close
        )
    }

    /// Returns the number of deadlines that the call may take.
    pub(super) fn rounds(&self) -> u32 {
        match self.operation {
            Operation::SetMany => rounds(self.keys, self.bytes),
            _ => rounds(self.keys, 0),
        }
    }
}

/// The number of keys of a batch per deadline.
const KEYS_PER_DEADLINE: usize = 1000;
/// The bytes of values of a batch per deadline: 8 MiB a second with the default of 500 ms.
const BYTES_PER_DEADLINE: usize = 4 << 20;

/// Returns the number of deadlines for a batch of `keys` keys that sends `bytes` bytes of values.
pub(crate) fn rounds(keys: usize, bytes: usize) -> u32 {
    let rounds = keys.div_ceil(KEYS_PER_DEADLINE).max(bytes.div_ceil(BYTES_PER_DEADLINE)).max(1);
    u32::try_from(rounds).unwrap_or(u32::MAX)
}

/// The result of a call: one `Result`, or one per key of a batch.
pub trait Reply: Send + Sized + 'static {
    /// Returns the result of `call` if the call fails as a whole.
    fn failed(call: &Call<'_>, error: Error) -> Self;

    /// Returns the errors, one for each key that failed.
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
    fn batch_has_one_deadline_per_1000_keys_or_4_mib() {
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
