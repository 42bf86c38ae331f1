//! The bytes of arguments, as they go into the digest.

use std::{any::type_name, fmt};

use serde::{Serialize, ser};
use sha2::{Digest, Sha256};

/// The digest of arguments, while they are added.
#[derive(Clone, Debug, Default)]
pub(in crate::cached_fn) struct Arguments(Sha256);

impl Arguments {
    pub(in crate::cached_fn) fn new() -> Self {
        let mut res = Self::default();
        // No text of a key begins with this byte, so a digest of arguments is never that of a text.
        res.tag(Tag::Arguments);
        res
    }

    /// Adds an argument with its type.
    pub(in crate::cached_fn) fn add<T: Serialize + ?Sized>(
        &mut self,
        argument: &T,
    ) -> Result<(), Unfit> {
        self.add_type::<T>();
        argument.serialize(self)
    }

    /// Adds a type.
    pub(in crate::cached_fn) fn add_type<T: ?Sized>(&mut self) {
        self.tag(Tag::Type);
        self.text(type_name::<T>());
    }

    pub(in crate::cached_fn) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub(in crate::cached_fn) fn tag(&mut self, tag: Tag) {
        self.0.update([tag as u8]);
    }

    pub(in crate::cached_fn) fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }

    pub(in crate::cached_fn) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(in crate::cached_fn) fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text.as_bytes());
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the methods of a `Serializer`")]
    pub(in crate::cached_fn) fn fixed(&mut self, tag: Tag, bytes: &[u8]) -> Result<(), Unfit> {
        self.tag(tag);
        self.0.update(bytes);
        Ok(())
    }

    pub(in crate::cached_fn) fn variant(&mut self, tag: Tag, index: u32, name: &str) {
        self.tag(tag);
        self.0.update(index.to_le_bytes());
        self.text(name);
    }
}

/// The first byte of each part. A change of a number changes the keys of all callers.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(in crate::cached_fn) enum Tag {
    Arguments = 1,
    Type = 2,
    End = 3,
    Bool = 4,
    I8 = 5,
    I16 = 6,
    I32 = 7,
    I64 = 8,
    I128 = 9,
    U8 = 10,
    U16 = 11,
    U32 = 12,
    U64 = 13,
    U128 = 14,
    F32 = 15,
    F64 = 16,
    Char = 17,
    Str = 18,
    Bytes = 19,
    None = 20,
    Some = 21,
    Unit = 22,
    UnitStruct = 23,
    UnitVariant = 24,
    NewtypeStruct = 25,
    NewtypeVariant = 26,
    Seq = 27,
    Tuple = 28,
    TupleStruct = 29,
    TupleVariant = 30,
    Map = 31,
    Struct = 32,
    StructVariant = 33,
    Field = 34,
}

/// The error of an argument that cannot be serialized.
#[derive(Debug)]
pub(in crate::cached_fn) struct Unfit(pub(super) String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl ser::Error for Unfit {
    /// The message may quote a value, so it is not kept.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("its `Serialize` returned an error".to_owned())
    }
}
