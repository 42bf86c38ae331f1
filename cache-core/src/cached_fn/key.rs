//! The key of a call: the text of the attribute, and a digest of the other arguments.

use std::fmt::{self, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::arguments::Arguments;
use crate::error::{Error, ErrorKind, Result};

/// The key of a call, while it is made.
///
/// Different arguments never have the same key: a value in the text is escaped, and all other
/// arguments are in a SHA-256 digest, each with its type and its length. So a key also obeys the
/// rules for keys whatever the arguments are.
#[derive(Debug)]
pub struct Key {
    text: String,
    arguments: Option<Arguments>,
    error: Option<Error>,
}

/// Separates the text from the digest. The text does not contain it.
const MARK: char = '#';
/// The longest text. With a digest it leaves 100 bytes for a key prefix.
const LONGEST: usize = 88;
/// The length of a digest: 160 bits in hexadecimal digits.
const DIGEST: usize = 40;

impl Key {
    /// Begins a key.
    pub fn new() -> Self {
        Self { text: String::with_capacity(LONGEST), arguments: None, error: None }
    }

    /// Adds a text of the attribute.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds the path of a function. It escapes characters that a key may not have: the path of
    /// `impl Find for Users` has spaces.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        for it in path.chars() {
            match it {
                '\0'..=' ' | '\x7f' | '#' | '%' => {
                    // Writing to a string does not fail.
                    let _ = write!(self.text, "%{:02X}", u32::from(it));
                }
                _ => self.text.push(it),
            }
        }
        self
    }

    /// Adds a value within the text.
    #[must_use]
    pub fn value(mut self, value: fmt::Arguments<'_>) -> Self {
        // An error can only come from the `Display` of the value.
        if Escaped(&mut self.text).write_fmt(value).is_err() {
            self.error.get_or_insert_with(|| unfit("its `Display` returned an error"));
        }
        self
    }

    /// Adds an argument to the digest.
    #[must_use]
    pub fn argument<T: Serialize + ?Sized>(mut self, argument: &T) -> Self {
        let arguments = self.arguments.get_or_insert_with(Arguments::new);
        if let Err(error) = arguments.add(argument) {
            self.error.get_or_insert_with(|| unfit(&error.to_string()));
        }
        self
    }

    /// Adds the type parameter of a generic function to the digest.
    #[must_use]
    pub fn type_parameter<T: ?Sized>(mut self) -> Self {
        self.arguments.get_or_insert_with(Arguments::new).add_type::<T>();
        self
    }

    /// Returns the key.
    ///
    /// # Errors
    /// `Codec` if an argument cannot be serialized.
    pub fn finish(self) -> Result<String> {
        let Self { mut text, arguments, error } = self;
        if let Some(error) = error {
            return Err(error);
        }
        if text.len() > LONGEST {
            // The text is ASCII unless the attribute has other characters.
            let end = text.floor_char_boundary(LONGEST - DIGEST);
            let digest = Sha256::digest(text.as_bytes());
            text.truncate(end);
            push(&mut text, &digest);
        }
        if let Some(arguments) = arguments {
            push(&mut text, &arguments.digest());
        }
        Ok(text)
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}

fn push(text: &mut String, digest: &[u8]) {
    text.push(MARK);
    for byte in digest.iter().take(DIGEST / 2) {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
}

fn unfit(why: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("an argument cannot be part of a cache key: {why}"))
}

/// Writes a value with all characters escaped that could end it, or that a key may not have.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'@' => {
                    self.0.push(char::from(byte));
                }
                _ => write!(self.0, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}
