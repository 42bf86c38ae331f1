use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::{checked::write, checks::Checks};
use crate::{
    error::Result,
    value::undecodable::{Problem, cannot_encode},
};

/// Appends the value to `stored`.
pub(in crate::value) fn encode<T: Serialize + ?Sized>(
    value: &T,
    stored: &mut Vec<u8>,
) -> Result<()> {
    // The error of serde_json may quote the error of the type's own `Serialize`, which may contain
    // the value.
    write(value, &mut serde_json::Serializer::new(stored), &Checks::json()).map_err(|refused| {
        cannot_encode::<T>(
            "JSON",
            refused.map_or(
                "its `Serialize` failed, or a map in it has keys that are not strings",
                |it| it.as_str(),
            ),
        )
    })
}

pub(in crate::value) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem {
        codec: "JSON",
        what: match error.classify() {
            Category::Io | Category::Syntax => "not valid JSON, or nested too deep",
            Category::Data => "data of another type",
            Category::Eof => "truncated",
        },
        position: Some((error.line(), error.column())),
    })
}
