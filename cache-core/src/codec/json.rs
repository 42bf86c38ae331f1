use serde::{Serialize, de::DeserializeOwned};

use super::{Undecodable, cannot_encode};
use crate::Result;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    // The error of serde_json may quote what the type's own `Serialize` says, which may be the value.
    serde_json::to_vec(value).map_err(|_| {
        cannot_encode("JSON: its `Serialize` failed, or a map in it has keys that are not strings")
    })
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecodable> {
    serde_json::from_slice(bytes).map_err(|_| Undecodable::OtherType)
}
