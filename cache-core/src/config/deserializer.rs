//! Reads settings into types. Errors name the setting by its path and the allowed values, and never
//! show a value, which may be a password.

use std::fmt::{self, Display};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};
use toml::{Table, Value};

use crate::error::{Error, ErrorKind, Result};

/// Reads the table at `path`.
pub(super) fn read<'de, T: Deserialize<'de>>(path: &str, table: Table) -> Result<T> {
    T::deserialize(Reader(Value::Table(table))).map_err(|err| {
        Error::new(ErrorKind::Config, err.what)
            .with_context("setting", format!("{path}{}", err.path))
    })
}

/// Formats names for a message: `a`, `b` and `c`.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|it| format!("`{it}`")).collect();
    match names.split_last() {
        None => "none".into(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Returns the name that the word most likely means: one letter of four may be wrong.
pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|it| (distance(word, it), it));
    let (distance, name) = distances.min()?;
    (distance <= name.len().div_ceil(4) && distance < word.len()).then_some(name)
}

/// Returns how many letters must be inserted, removed or replaced to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (m, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(row[m + 1] + 1);
        }
    }
    row[b.len()]
}

/// Returns serde's expectation in words for readers of a settings file: serde's own words are names
/// of Rust types.
fn plain(expected: &dyn de::Expected) -> String {
    let theirs = expected.to_string();
    match theirs.as_str() {
        "i64" => "an integer".into(),
        "u64" | "usize" => "an integer that is not negative".into(),
        "u32" => format!("an integer from 0 to {}", u32::MAX),
        "u16" => format!("an integer from 0 to {}", u16::MAX),
        "u8" => format!("an integer from 0 to {}", u8::MAX),
        "f64" | "f32" => "a number".into(),
        "a map" => "a table".into(),
        "a sequence" => "a list".into(),
        it if it.starts_with("struct ") => "a table".into(),
        _ => theirs,
    }
}

struct Reader(Value);

#[derive(Debug)]
struct ReadError {
    what: String,
    /// The path from the start of the reading: `.options.max_entries`.
    path: String,
}

impl ReadError {
    fn under(mut self, name: impl Display) -> Self {
        self.path.insert_str(0, &name.to_string());
        self
    }
}

impl<'de> de::Deserializer<'de> for Reader {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::String(it) => visitor.visit_string(it),
            Value::Integer(it) => visitor.visit_i64(it),
            Value::Float(it) => visitor.visit_f64(it),
            Value::Boolean(it) => visitor.visit_bool(it),
            Value::Datetime(it) => visitor.visit_string(it.to_string()),
            Value::Array(it) => visitor.visit_seq(Items(it.into_iter(), 0)),
            Value::Table(it) => visitor.visit_map(Fields { rest: it.into_iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.0 {
            Value::String(it) => visitor.visit_enum(StrDeserializer::<ReadError>::new(it)),
            _ => Err(de::Error::custom(format_args!(
                "expected one of {}",
                list(names.iter().copied())
            ))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items(std::vec::IntoIter<Value>, usize);

impl<'de> de::SeqAccess<'de> for Items {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.0.next() else { return Ok(None) };
        let n = self.1;
        self.1 += 1;
        seed.deserialize(Reader(value)).map(Some).map_err(|err| err.under(format_args!("[{n}]")))
    }
}

struct Fields {
    rest: toml::map::IntoIter<String, Value>,
    current: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Fields {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.current = self.rest.next();
        let Some((name, _)) = &self.current else { return Ok(None) };
        seed.deserialize(name.as_str().into_deserializer())
            .map(Some)
            .map_err(|err: ReadError| err.under(format_args!(".{name}")))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (name, value) =
            self.current.take().ok_or_else(|| <ReadError as de::Error>::custom("no value"))?;
        seed.deserialize(Reader(value)).map_err(|err| err.under(format_args!(".{name}")))
    }
}

/// No text here contains the value that was found.
impl de::Error for ReadError {
    fn custom<T: Display>(what: T) -> Self {
        Self { what: what.to_string(), path: String::new() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a float",
            Unexpected::Str(_) | Unexpected::Char(_) => "a string",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            _ => "something else",
        };
        Self::custom(format_args!("expected {}, found {found}", plain(expected)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("expected {}", plain(expected)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected one of {}", list(expected.iter().copied())))
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        let allowed = list(expected.iter().copied());
        let lower = name.to_ascii_lowercase();
        if name != lower && expected.contains(&lower.as_str()) {
            return Self::custom(format_args!("unknown setting; it is spelled `{lower}` here"));
        }
        let similar = |it: &&str| lower.len() > 2 && (it.contains(&lower) || lower.contains(it));
        let close = expected.iter().copied().find(similar);
        match close.or_else(|| closest(&lower, expected.iter().copied())) {
            Some(close) => Self::custom(format_args!(
                "unknown setting; did you mean `{close}`? Allowed: {allowed}"
            )),
            None if expected.contains(&"options") => Self::custom(format_args!(
                "unknown setting; allowed: {allowed}. The backend's own settings belong in the table `options`"
            )),
            None => Self::custom(format_args!("unknown setting; allowed: {allowed}")),
        }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::custom("this setting is required").under(format_args!(".{name}"))
    }
}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl std::error::Error for ReadError {}
