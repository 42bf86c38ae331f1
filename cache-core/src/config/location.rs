use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// The value of `location`: nothing, a string or a list of strings.
///
/// It may contain a password, so `Debug` does not print it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Location(Vec<String>);

impl Location {
    /// Creates a location with one place.
    pub fn one(place: impl Into<String>) -> Self {
        Self(vec![place.into()])
    }

    /// Creates a location with several places.
    pub fn many(places: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(places.into_iter().map(Into::into).collect())
    }

    /// Returns the places.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({} hidden)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Location;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: de::Error>(self, it: &str) -> Result<Location, E> {
                Ok(Location::one(it))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Location, A::Error> {
                let mut res = Vec::new();
                while let Some(it) = seq.next_element::<String>()? {
                    res.push(it);
                }
                Ok(Location(res))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
