//! Bounds the nesting and the number of items while a value is decoded. postcard describes no
//! types, so its bytes cannot be checked before they are decoded.

use std::{cell::Cell, fmt};

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::checks::{MAX_DEPTH, MAX_EMPTY_ITEMS, MAX_FRAMES};

/// The state of the checks while a value is decoded.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The number of further items of lists and maps.
    items: Cell<usize>,
    /// The limit that was exceeded.
    exceeded: Cell<Option<&'static str>>,
}

impl Bounds {
    /// Creates the state for a value of `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        Self { items: Cell::new(len.saturating_add(MAX_EMPTY_ITEMS)), exceeded: Cell::new(None) }
    }

    /// Returns a deserializer that checks values on their way from another one.
    pub(super) fn around<D>(&self, from: D) -> Bounded<'_, D> {
        Bounded { from, place: Place { levels: 0, frames: 0, counts: false, bounds: self } }
    }

    /// Returns the limit that was exceeded.
    pub(super) fn exceeded(&self) -> Option<&'static str> {
        self.exceeded.get()
    }

    fn stop<E: de::Error>(&self, why: &'static str) -> E {
        self.exceeded.set(Some(why));
        E::custom(why)
    }
}

/// A place in a value: its nesting, counted as `Checks` counts it.
#[derive(Clone, Copy)]
struct Place<'a> {
    levels: usize,
    frames: usize,
    /// Whether the items at this place are those of a list or map.
    counts: bool,
    bounds: &'a Bounds,
}

impl Place<'_> {
    /// Returns the place within lists, maps, structs and variants.
    fn deeper<E: de::Error>(self, levels: usize) -> Result<Self, E> {
        let levels = self.levels + levels;
        if levels > MAX_DEPTH {
            return Err(self.bounds.stop("nested too deep"));
        }
        Ok(Self { levels, counts: false, ..self })
    }

    /// Returns the place within a list or map, whose items are counted.
    fn list<E: de::Error>(self) -> Result<Self, E> {
        Ok(Self { counts: true, ..self.deeper(1)? })
    }

    /// Returns the place within a `Some` or a newtype.
    fn within<E: de::Error>(self) -> Result<Self, E> {
        let frames = self.frames + 1;
        if frames > MAX_FRAMES {
            return Err(self.bounds.stop("nested too deep"));
        }
        Ok(Self { frames, counts: false, ..self })
    }

    /// Counts an item of a list or map.
    fn item<T, E: de::Error>(self, item: Option<T>) -> Result<Option<T>, E> {
        if self.counts && item.is_some() {
            let left = self.bounds.items.get().checked_sub(1);
            self.bounds.items.set(left.ok_or_else(|| self.bounds.stop("a list without an end"))?);
        }
        Ok(item)
    }
}

/// A deserializer that checks values on their way from another one.
pub(super) struct Bounded<'a, D> {
    from: D,
    place: Place<'a>,
}

/// A visitor, seed or access whose nested values are checked.
struct Nested<'a, T> {
    inner: T,
    place: Place<'a>,
}

/// Forwards values without nested values.
macro_rules! pass_on {
    ($($method:ident),+ $(,)?) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.from.$method(visitor)
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    pass_on!(
        deserialize_any,
        deserialize_bool,
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_i128,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64,
        deserialize_u128,
        deserialize_f32,
        deserialize_f64,
        deserialize_char,
        deserialize_str,
        deserialize_string,
        deserialize_bytes,
        deserialize_byte_buf,
        deserialize_unit,
        deserialize_identifier,
        deserialize_ignored_any,
    );

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.from.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, inner: V) -> Result<V::Value, D::Error> {
        let place = self.place.within()?;
        self.from.deserialize_option(Nested { inner, place })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        inner: V,
    ) -> Result<V::Value, D::Error> {
        let place = self.place.within()?;
        self.from.deserialize_newtype_struct(name, Nested { inner, place })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, inner: V) -> Result<V::Value, D::Error> {
        let place = self.place.list()?;
        self.from.deserialize_seq(Nested { inner, place })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        inner: V,
    ) -> Result<V::Value, D::Error> {
        let place = self.place.deeper(1)?;
        self.from.deserialize_tuple(len, Nested { inner, place })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        inner: V,
    ) -> Result<V::Value, D::Error> {
        let place = self.place.deeper(1)?;
        self.from.deserialize_tuple_struct(name, len, Nested { inner, place })
    }

    fn deserialize_map<V: Visitor<'de>>(self, inner: V) -> Result<V::Value, D::Error> {
        let place = self.place.list()?;
        self.from.deserialize_map(Nested { inner, place })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, D::Error> {
        let place = self.place.deeper(1)?;
        self.from.deserialize_struct(name, fields, Nested { inner, place })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, D::Error> {
        // A variant without content adds no level.
        self.from.deserialize_enum(name, variants, Nested { inner, place: self.place })
    }

    fn is_human_readable(&self) -> bool {
        self.from.is_human_readable()
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Nested<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Bounded { from, place: self.place })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Bounded { from, place: self.place })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Nested { inner, place: self.place })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Nested { inner, place: self.place })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Nested { inner, place: self.place })
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Nested<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(Bounded { from, place: self.place })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Nested<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        inner: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let item = self.inner.next_element_seed(Nested { inner, place: self.place })?;
        self.place.item(item)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Nested<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        inner: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let key = self.inner.next_key_seed(Nested { inner, place: self.place })?;
        self.place.item(key)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, inner: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(Nested { inner, place: self.place })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Nested<'a, A> {
    type Error = A::Error;
    type Variant = Nested<'a, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Nested { inner, place: self.place }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Nested<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, inner: T) -> Result<T::Value, A::Error> {
        let place = self.place.deeper(1)?;
        self.inner.newtype_variant_seed(Nested { inner, place })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, inner: V) -> Result<V::Value, A::Error> {
        let place = self.place.deeper(2)?;
        self.inner.tuple_variant(len, Nested { inner, place })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        inner: V,
    ) -> Result<V::Value, A::Error> {
        let place = self.place.deeper(2)?;
        self.inner.struct_variant(fields, Nested { inner, place })
    }
}
