//! The digest of arguments: their types and values in one unambiguous sequence of bytes.
//!
//! Each value begins with a tag of its type. Integers have their full width, texts and bytes their
//! length before them, and sequences an end. So no two lists of values have the same bytes.

mod bytes;
mod compound;

use serde::{Serialize, Serializer};

pub(super) use self::bytes::Arguments;
use self::{
    bytes::{Tag, Unfit},
    compound::{Compound, Entries},
};

macro_rules! fixed {
    ($($method:ident $type:ty, $tag:ident;)*) => {
        $(fn $method(self, it: $type) -> Result<(), Unfit> {
            self.fixed(Tag::$tag, &it.to_le_bytes())
        })*
    };
}

impl<'a> Serializer for &'a mut Arguments {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    fixed! {
        serialize_i8 i8, I8;
        serialize_i16 i16, I16;
        serialize_i32 i32, I32;
        serialize_i64 i64, I64;
        serialize_i128 i128, I128;
        serialize_u8 u8, U8;
        serialize_u16 u16, U16;
        serialize_u32 u32, U32;
        serialize_u64 u64, U64;
        serialize_u128 u128, U128;
        serialize_f32 f32, F32;
        serialize_f64 f64, F64;
    }

    fn serialize_bool(self, it: bool) -> Result<(), Unfit> {
        self.fixed(Tag::Bool, &[it.into()])
    }

    fn serialize_char(self, it: char) -> Result<(), Unfit> {
        self.fixed(Tag::Char, &u32::from(it).to_le_bytes())
    }

    fn serialize_str(self, it: &str) -> Result<(), Unfit> {
        self.tag(Tag::Str);
        self.text(it);
        Ok(())
    }

    fn serialize_bytes(self, it: &[u8]) -> Result<(), Unfit> {
        self.tag(Tag::Bytes);
        self.number(it.len());
        self.bytes(it);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unfit> {
        self.fixed(Tag::None, &[])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, it: &T) -> Result<(), Unfit> {
        self.tag(Tag::Some);
        it.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unfit> {
        self.fixed(Tag::Unit, &[])
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unfit> {
        self.tag(Tag::UnitStruct);
        self.text(name);
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), Unfit> {
        self.variant(Tag::UnitVariant, index, variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        it: &T,
    ) -> Result<(), Unfit> {
        self.tag(Tag::NewtypeStruct);
        self.text(name);
        it.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        it: &T,
    ) -> Result<(), Unfit> {
        self.variant(Tag::NewtypeVariant, index, variant);
        it.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, Unfit> {
        self.tag(Tag::Seq);
        Ok(Compound(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, Unfit> {
        self.tag(Tag::Tuple);
        Ok(Compound(self))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Compound<'a>, Unfit> {
        self.tag(Tag::TupleStruct);
        self.text(name);
        Ok(Compound(self))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Unfit> {
        self.variant(Tag::TupleVariant, index, variant);
        Ok(Compound(self))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, Unfit> {
        self.tag(Tag::Map);
        Ok(Entries::of(self))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'a>, Unfit> {
        self.tag(Tag::Struct);
        self.text(name);
        Ok(Compound(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Unfit> {
        self.variant(Tag::StructVariant, index, variant);
        Ok(Compound(self))
    }
}
