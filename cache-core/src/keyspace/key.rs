//! Stored keys of a keyspace: the name, the schema and the parts of a key, escaped.

use std::fmt::{self, Write};

use crate::error::{Error, ErrorKind, Result};

/// A key of a [`Keyspace`](crate::Keyspace): a value with `Display`, or a tuple of such values.
///
/// The compiler infers `M`, which is [`One`] or [`Many`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key of a keyspace",
    note = "a key is a value with `Display`, or a tuple of up to six such values"
)]
pub trait KeyParts<M> {
    /// Writes each part.
    #[doc(hidden)]
    fn write(&self, to: &mut Parts) -> fmt::Result;
}

/// Marks keys of one part.
#[derive(Clone, Copy, Debug)]
pub enum One {}

/// Marks keys that are tuples.
#[derive(Clone, Copy, Debug)]
pub enum Many {}

/// Returns the key of these parts. Different names, schemas and parts give different keys: each
/// part ends at the next colon, and is escaped so that it contains none.
pub(super) fn write<K: KeyParts<M> + ?Sized, M>(
    name: &str,
    schema: u32,
    key: &K,
) -> Result<String> {
    let mut parts = Parts(String::with_capacity(64));
    let res = Escaped(&mut parts.0).write_str(name).and_then(|()| parts.push(&schema));
    let failed = |fmt::Error| {
        let what = "the `Display` of a part of the key returned an error";
        Error::new(ErrorKind::InvalidKey, what).with_context("keyspace", name)
    };
    res.and_then(|()| key.write(&mut parts)).map_err(failed)?;
    Ok(parts.0)
}

/// The parts of a key.
#[derive(Debug)]
pub struct Parts(String);

impl Parts {
    fn push(&mut self, part: &(impl fmt::Display + ?Sized)) -> fmt::Result {
        self.0.push(':');
        write!(Escaped(&mut self.0), "{part}")
    }
}

impl<T: fmt::Display + ?Sized> KeyParts<One> for T {
    fn write(&self, to: &mut Parts) -> fmt::Result {
        to.push(self)
    }
}

macro_rules! tuples {
    ($(($($part:ident)*))+) => {
        $(impl<$($part: fmt::Display),*> KeyParts<Many> for ($($part,)*) {
            #[expect(non_snake_case, reason = "the names of the types")]
            fn write(&self, to: &mut Parts) -> fmt::Result {
                let ($($part,)*) = self;
                $(to.push($part)?;)*
                Ok(())
            }
        })+
    };
}

tuples!((A)(A B)(A B C)(A B C D)(A B C D E)(A B C D E F));

impl KeyParts<Many> for () {
    fn write(&self, _: &mut Parts) -> fmt::Result {
        Ok(())
    }
}

/// Writes text with `%3A` and the like for colons, for percent signs and for what a key must not
/// contain.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(is_escaped) {
            self.0.push_str(&rest[..at]);
            write!(self.0, "%{:02X}", rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}

fn is_escaped(byte: u8) -> bool {
    byte <= 0x20 || matches!(byte, b':' | b'%' | 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A key with any number of parts.
    struct Any(Vec<String>);

    impl KeyParts<()> for Any {
        fn write(&self, to: &mut Parts) -> fmt::Result {
            self.0.iter().try_for_each(|it| to.push(it))
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a1:%3A \n~ß]{0,4}", any::<String>()]
    }

    fn whole() -> impl Strategy<Value = (String, u32, Vec<String>)> {
        (text(), 0..3_u32, vec(text(), 0..4))
    }

    fn key(name: &str, schema: u32, parts: &[String]) -> String {
        write(name, schema, &Any(parts.to_vec())).unwrap()
    }

    fn unescaped(part: &str) -> String {
        let mut pieces = part.split('%');
        let mut res = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let (code, rest) = piece.split_at(2);
            res.push(char::from(u8::from_str_radix(code, 16).unwrap()));
            res.push_str(rest);
        }
        res
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn different_names_schemas_and_parts_never_share_a_key(a in whole(), b in whole()) {
            let (left, right) = (key(&a.0, a.1, &a.2), key(&b.0, b.1, &b.2));
            prop_assert_eq!(left == right, a == b, "{}, {}", left, right);
        }

        #[test]
        fn parts_can_be_read_from_the_key(whole in whole()) {
            let text = key(&whole.0, whole.1, &whole.2);
            prop_assert!(!text.bytes().any(|it| it <= 0x20 || it == 0x7f));
            let mut parts = text.split(':').map(unescaped);
            prop_assert_eq!(parts.next(), Some(whole.0));
            prop_assert_eq!(parts.next(), Some(whole.1.to_string()));
            prop_assert_eq!(parts.collect::<Vec<_>>(), whole.2);
        }
    }

    #[test]
    fn key_of_each_type_is_readable() {
        struct Id(u64);
        impl fmt::Display for Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        assert_eq!(write("user", 2, &42).unwrap(), "user:2:42");
        assert_eq!(write("user", 2, "a b").unwrap(), "user:2:a%20b");
        assert_eq!(write("user", 2, &Id(7)).unwrap(), "user:2:7");
        assert_eq!(write("page", 1, &(Id(7), "de", '-')).unwrap(), "page:1:7:de:-");
        assert_eq!(write("page", 1, &("é",)).unwrap(), "page:1:é");
        assert_eq!(write("config", 1, &()).unwrap(), "config:1");
        assert_eq!(write("a:b", 1, &1).unwrap(), "a%3Ab:1:1");
    }

    #[test]
    fn part_that_cannot_be_displayed_is_an_error() {
        struct Bad;
        impl fmt::Display for Bad {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half")?;
                Err(fmt::Error)
            }
        }
        let error = write("user", 1, &Bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert_eq!(error.context("keyspace"), Some("user"));
    }
}
