//! Refuses, while a value is written, what could not be read back: nesting that the readers refuse, `Some` of what is
//! written as null, and numbers that JSON does not have.

use std::cell::Cell;

use serde::{
    Serialize, Serializer,
    ser::{
        self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

/// How deep lists, maps, structs and variants with content may be nested, in every codec: what `serde_json` reads.
pub(super) const MAX_DEPTH: usize = 127;

/// `Some` and newtypes leave no bytes, so no reader can count them. A bound for the stack, far above every real value.
const MAX_FRAMES: usize = 4 * MAX_DEPTH;

/// Why a value is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooDeep,
    SomeNull,
    NotFinite,
}

impl Refused {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::TooDeep => "it is nested deeper than 127 levels",
            Self::SomeNull => {
                "`Some` of an empty value (`Some(None)`, `Some(())`) reads back as `None`"
            }
            Self::NotFinite => "JSON has no NaN and no infinity",
        }
    }
}

/// The state of the checks while a value is serialized.
#[derive(Debug, Default)]
pub(super) struct Shape {
    is_json: bool,
    depth: Cell<usize>,
    frames: Cell<usize>,
    /// The last thing that was written whole is a null.
    is_null: Cell<bool>,
    integer: Cell<Option<i64>>,
    refused: Cell<Option<Refused>>,
}

impl Shape {
    pub(super) fn json() -> Self {
        Self { is_json: true, ..Self::default() }
    }

    /// Writes a value, unless it could not be read back.
    pub(super) fn write<T: Serialize + ?Sized, S: Serializer>(
        &self,
        value: &T,
        to: S,
    ) -> Result<S::Ok, Option<Refused>> {
        let res = value.serialize(Checked { to, seen: self });
        match (res, self.refused.get()) {
            (Ok(it), None) => Ok(it),
            (_, refused) => Err(refused),
        }
    }

    /// The integer within `i64` that the whole value is.
    #[cfg(feature = "msgpack")]
    pub(super) fn integer(&self) -> Option<i64> {
        self.integer.get()
    }

    fn refuse<E: ser::Error>(&self, why: Refused) -> E {
        self.refused.set(self.refused.get().or(Some(why)));
        E::custom("refused")
    }

    #[inline]
    fn enter<E: ser::Error>(&self, levels: usize) -> Result<(), E> {
        self.depth.set(self.depth.get() + levels);
        if self.depth.get() > MAX_DEPTH { Err(self.refuse(Refused::TooDeep)) } else { Ok(()) }
    }

    #[inline]
    fn leave(&self, levels: usize) {
        self.depth.set(self.depth.get() - levels);
        self.is_null.set(false);
    }

    /// Something with one value in it that leaves no bytes of its own.
    #[inline]
    fn within<T, E: ser::Error>(&self, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.frames.set(self.frames.get() + 1);
        if self.frames.get() > MAX_FRAMES {
            return Err(self.refuse(Refused::TooDeep));
        }
        let res = write();
        self.frames.set(self.frames.get() - 1);
        res
    }

    #[inline]
    fn saw_integer(&self, it: Option<i64>) {
        if self.depth.get() == 0 {
            self.integer.set(it);
        }
    }

    #[inline]
    fn finite<E: ser::Error>(&self, is_finite: bool) -> Result<(), E> {
        if self.is_json && !is_finite { Err(self.refuse(Refused::NotFinite)) } else { Ok(()) }
    }
}

/// A serializer that looks at what passes.
struct Checked<'a, S> {
    to: S,
    seen: &'a Shape,
}

/// A nested value that is checked on its way to the serializer.
struct Within<'a, T: ?Sized> {
    value: &'a T,
    seen: &'a Shape,
}

/// A list, a map or a struct that is being written.
struct Compound<'a, C> {
    to: C,
    seen: &'a Shape,
    levels: usize,
}

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked { to, seen: self.seen })
    }
}

impl<'a, S: Serializer> Checked<'a, S> {
    fn compound<C>(
        self,
        levels: usize,
        begin: impl FnOnce(S) -> Result<C, S::Error>,
    ) -> Result<Compound<'a, C>, S::Error> {
        self.seen.enter::<S::Error>(levels)?;
        Ok(Compound { to: begin(self.to)?, seen: self.seen, levels })
    }
}

macro_rules! pass_on {
    ($($method:ident($type:ty)),+ $(,)?) => {
        $(#[inline]
        fn $method(self, it: $type) -> Result<S::Ok, S::Error> {
            self.to.$method(it)
        })+
    };
}

macro_rules! integers {
    ($($method:ident($type:ty)),+ $(,)?) => {
        $(#[inline]
        fn $method(self, it: $type) -> Result<S::Ok, S::Error> {
            self.seen.saw_integer(i64::try_from(it).ok());
            self.to.$method(it)
        })+
    };
}

impl<'a, S: Serializer> Serializer for Checked<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'a, S::SerializeSeq>;
    type SerializeTuple = Compound<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'a, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'a, S::SerializeMap>;
    type SerializeStruct = Compound<'a, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'a, S::SerializeStructVariant>;

    pass_on!(serialize_bool(bool), serialize_char(char), serialize_str(&str));

    integers!(
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
    );

    // MessagePack has nothing wider than 64 bits, and `incr` counts within `i64`.
    fn serialize_i128(self, it: i128) -> Result<S::Ok, S::Error> {
        match (i64::try_from(it), u64::try_from(it)) {
            (Ok(it), _) => self.serialize_i64(it),
            (_, Ok(it)) => self.serialize_u64(it),
            _ => self.to.serialize_i128(it),
        }
    }

    fn serialize_u128(self, it: u128) -> Result<S::Ok, S::Error> {
        match u64::try_from(it) {
            Ok(it) => self.serialize_u64(it),
            Err(_) => self.to.serialize_u128(it),
        }
    }

    #[inline]
    fn serialize_f32(self, it: f32) -> Result<S::Ok, S::Error> {
        self.seen.finite::<S::Error>(it.is_finite())?;
        self.to.serialize_f32(it)
    }

    #[inline]
    fn serialize_f64(self, it: f64) -> Result<S::Ok, S::Error> {
        self.seen.finite::<S::Error>(it.is_finite())?;
        self.to.serialize_f64(it)
    }

    fn serialize_bytes(self, it: &[u8]) -> Result<S::Ok, S::Error> {
        // A list, in JSON.
        self.seen.enter::<S::Error>(1)?;
        self.seen.leave(1);
        self.to.serialize_bytes(it)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.seen.is_null.set(true);
        self.to.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let Self { to, seen } = self;
        seen.is_null.set(false);
        let res = seen.within(|| to.serialize_some(&Within { value, seen }))?;
        if seen.is_null.get() { Err(seen.refuse(Refused::SomeNull)) } else { Ok(res) }
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.seen.is_null.set(true);
        self.to.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        // A list, in MessagePack.
        self.seen.enter::<S::Error>(1)?;
        self.seen.leave(1);
        self.seen.is_null.set(self.seen.is_json);
        self.to.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        n: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.to.serialize_unit_variant(name, n, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { to, seen } = self;
        seen.within(|| to.serialize_newtype_struct(name, &Within { value, seen }))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        n: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { to, seen } = self;
        seen.enter::<S::Error>(1)?;
        let res = to.serialize_newtype_variant(name, n, variant, &Within { value, seen })?;
        seen.leave(1);
        Ok(res)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.compound(1, |to| to.serialize_seq(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.compound(1, |to| to.serialize_tuple(len))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.compound(1, |to| to.serialize_tuple_struct(name, len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        n: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.compound(2, |to| to.serialize_tuple_variant(name, n, variant, len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.compound(1, |to| to.serialize_map(len))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.compound(1, |to| to.serialize_struct(name, len))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        n: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.compound(2, |to| to.serialize_struct_variant(name, n, variant, len))
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.to.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.to.is_human_readable()
    }
}

macro_rules! compounds {
    ($($trait:ident { $($method:ident($($name:ident: $type:ty)?)),+ $(; $skip:ident)? }),+ $(,)?) => {
        $(impl<C: $trait> $trait for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: $type,)?
                value: &T,
            ) -> Result<(), C::Error> {
                self.to.$method($($name,)? &Within { value, seen: self.seen })
            })+

            $(fn $skip(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.to.$skip(key)
            })?

            fn end(self) -> Result<C::Ok, C::Error> {
                self.seen.leave(self.levels);
                self.to.end()
            }
        })+
    };
}

compounds! {
    SerializeSeq { serialize_element() },
    SerializeTuple { serialize_element() },
    SerializeTupleStruct { serialize_field() },
    SerializeTupleVariant { serialize_field() },
    SerializeMap { serialize_key(), serialize_value() },
    SerializeStruct { serialize_field(key: &'static str); skip_field },
    SerializeStructVariant { serialize_field(key: &'static str); skip_field },
}
