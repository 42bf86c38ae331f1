//! Checks values while they are written, and refuses those that would not read back: nesting that
//! the decoders refuse, and what a format cannot hold. The state is in `checks`.

use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::checks::{Checks, Refused};

/// Writes a value, unless it would not read back.
pub(super) fn write<T: Serialize + ?Sized, S: Serializer>(
    value: &T,
    to: S,
    checks: &Checks,
) -> Result<S::Ok, Option<Refused>> {
    let res = value.serialize(Checked { to, checks });
    match (res, checks.refused()) {
        (Ok(it), None) => Ok(it),
        (_, refused) => Err(refused),
    }
}

/// A serializer that checks values on their way to another one.
struct Checked<'a, S> {
    to: S,
    checks: &'a Checks,
}

/// A nested value that is checked while it is serialised.
struct Within<'a, T: ?Sized> {
    value: &'a T,
    checks: &'a Checks,
}

/// A list, map or struct that is being written.
struct Compound<'a, C> {
    to: C,
    checks: &'a Checks,
    levels: usize,
}

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked { to, checks: self.checks })
    }
}

impl<'a, S: Serializer> Checked<'a, S> {
    fn compound<C>(
        self,
        levels: usize,
        begin: impl FnOnce(S) -> Result<C, S::Error>,
    ) -> Result<Compound<'a, C>, S::Error> {
        self.checks.enter::<S::Error>(levels)?;
        Ok(Compound { to: begin(self.to)?, checks: self.checks, levels })
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
            self.checks.saw_integer(i64::try_from(it).ok());
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

    // MessagePack has no integers over 64 bits, `incr` counts within `i64`, and postcard writes
    // each width in its own way.
    fn serialize_i128(self, it: i128) -> Result<S::Ok, S::Error> {
        self.checks.saw_integer(i64::try_from(it).ok());
        match (i64::try_from(it), u64::try_from(it)) {
            _ if self.checks.is_postcard() => self.to.serialize_i128(it),
            (Ok(it), _) => self.to.serialize_i64(it),
            (_, Ok(it)) => self.to.serialize_u64(it),
            _ => self.to.serialize_i128(it),
        }
    }

    fn serialize_u128(self, it: u128) -> Result<S::Ok, S::Error> {
        self.checks.saw_integer(i64::try_from(it).ok());
        match u64::try_from(it) {
            Ok(it) if !self.checks.is_postcard() => self.to.serialize_u64(it),
            _ => self.to.serialize_u128(it),
        }
    }

    #[inline]
    fn serialize_f32(self, it: f32) -> Result<S::Ok, S::Error> {
        self.checks.finite::<S::Error>(it.is_finite())?;
        self.to.serialize_f32(it)
    }

    #[inline]
    fn serialize_f64(self, it: f64) -> Result<S::Ok, S::Error> {
        self.checks.finite::<S::Error>(it.is_finite())?;
        self.to.serialize_f64(it)
    }

    fn serialize_bytes(self, it: &[u8]) -> Result<S::Ok, S::Error> {
        // JSON writes a list.
        self.checks.enter::<S::Error>(1)?;
        self.checks.leave(1);
        self.to.serialize_bytes(it)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.checks.saw_null(true);
        self.to.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let Self { to, checks } = self;
        checks.saw_null(false);
        let res = checks.within(|| to.serialize_some(&Within { value, checks }))?;
        if checks.is_null() { Err(checks.refuse(Refused::SomeNull)) } else { Ok(res) }
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.checks.saw_null(true);
        self.to.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        // MessagePack writes a list.
        self.checks.enter::<S::Error>(1)?;
        self.checks.leave(1);
        self.checks.saw_null(self.checks.is_json());
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
        let Self { to, checks } = self;
        checks.within(|| to.serialize_newtype_struct(name, &Within { value, checks }))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        n: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { to, checks } = self;
        checks.enter::<S::Error>(1)?;
        let res = to.serialize_newtype_variant(name, n, variant, &Within { value, checks })?;
        checks.leave(1);
        Ok(res)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.checks.begin_list::<S::Error>(len)?;
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
        self.checks.begin_list::<S::Error>(len)?;
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
        self.checks.note_form_asked();
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
                self.to.$method($($name,)? &Within { value, checks: self.checks })
            })+

            $(fn $skip(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.checks.skip_field::<C::Error>()?;
                self.to.$skip(key)
            })?

            fn end(self) -> Result<C::Ok, C::Error> {
                self.checks.leave(self.levels);
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
