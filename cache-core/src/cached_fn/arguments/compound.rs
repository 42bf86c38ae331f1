//! Arguments that have parts.

use serde::{Serialize, ser};

use super::bytes::{Arguments, Tag, Unfit};

/// A sequence, a tuple or a struct: its parts in order, and an end.
#[derive(Debug)]
pub(in crate::cached_fn) struct Compound<'a>(pub(super) &'a mut Arguments);

impl Compound<'_> {
    fn part<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Unfit> {
        part.serialize(&mut *self.0)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, part: &T) -> Result<(), Unfit> {
        self.0.tag(Tag::Field);
        self.0.text(name);
        self.part(part)
    }

    fn close(self) {
        self.0.tag(Tag::End);
    }
}

macro_rules! parts {
    ($($trait:ident $method:ident;)*) => {
        $(impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = Unfit;

            fn $method<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Unfit> {
                self.part(part)
            }

            fn end(self) -> Result<(), Unfit> {
                self.close();
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = Unfit;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                part: &T,
            ) -> Result<(), Unfit> {
                self.field(name, part)
            }

            fn end(self) -> Result<(), Unfit> {
                self.close();
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct SerializeStructVariant);

/// A map: its entries in the order of the digests of their keys, because equal hash maps have no
/// order in common.
#[derive(Debug)]
pub(in crate::cached_fn) struct Entries<'a> {
    map: &'a mut Arguments,
    parts: Vec<(Digested, Digested)>,
    key: Option<Digested>,
}

type Digested = [u8; 32];

impl<'a> Entries<'a> {
    pub(super) fn of(map: &'a mut Arguments) -> Self {
        Self { map, parts: Vec::new(), key: None }
    }
}

fn digest<T: Serialize + ?Sized>(part: &T) -> Result<Digested, Unfit> {
    let mut res = Arguments::default();
    part.serialize(&mut res)?;
    Ok(res.digest())
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        self.key = Some(digest(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        let key = self.key.take().ok_or_else(|| Unfit("a value of a map has no key".to_owned()))?;
        self.parts.push((key, digest(value)?));
        Ok(())
    }

    fn end(mut self) -> Result<(), Unfit> {
        // A stable sort: values of equal keys keep their order.
        self.parts.sort_by_key(|(key, _)| *key);
        self.map.number(self.parts.len());
        for (key, value) in &self.parts {
            self.map.bytes(key);
            self.map.bytes(value);
        }
        Ok(())
    }
}
