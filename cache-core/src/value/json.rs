use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::{
    checked::Shape,
    undecodable::{Problem, cannot_encode},
};
use crate::error::Result;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut res = Vec::with_capacity(128);
    // The error of serde_json may quote what the type's own `Serialize` says, which may be the value.
    Shape::json().write(value, &mut serde_json::Serializer::new(&mut res)).map_err(|refused| {
        cannot_encode::<T>(
            "JSON",
            refused.map_or(
                "its `Serialize` failed, or a map in it has keys that are not strings",
                |it| it.as_str(),
            ),
        )
    })?;
    Ok(res)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem {
        codec: "JSON",
        what: match error.classify() {
            Category::Io | Category::Syntax => "not valid JSON, or nested too deep",
            Category::Data => "data of another type",
            Category::Eof => "cut off",
        },
        place: Some((error.line(), error.column())),
    })
}
