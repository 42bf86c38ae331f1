//! Types of each serde shape, and strategies for their values.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use proptest::{collection::vec, option, prelude::*};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A float that is equal if its bits are equal.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Bits(pub(super) f64);

/// An `f32` that is equal if its bits are equal.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SmallBits(pub(super) f32);

/// Bytes that serialise as bytes, not as a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raw(pub(super) Vec<u8>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Empty;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Id(pub(super) u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair(pub(super) i16, pub(super) char);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Color {
    Red,
    Green,
}

/// A number in binary formats, a text in others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamp(pub(super) u32);

/// Each part of serde's data model, in variants of all four kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Any {
    Unit,
    Flag(bool),
    Small(i8, u8, i16, u16, i32, u32),
    Long(i64, u64),
    Wide(i128),
    WideUnsigned(u128),
    Float(Bits),
    SmallFloat(SmallBits),
    Letter(char),
    Text(String),
    Bytes(Raw),
    List(Vec<Any>),
    Boxed(Box<Any>),
    Tuple(Box<Any>, Pair),
    Struct {
        id: Id,
        next: Option<Box<Any>>,
        empty: Empty,
        nothing: (),
    },
    #[expect(clippy::option_option, reason = "it must be refused, or come back")]
    Twice(Option<Option<u8>>),
    MaybeNothing(Option<()>),
    MaybeEmpty(Option<Empty>),
    MaybeFloat(Option<Bits>),
    ByText(BTreeMap<String, Any>),
    ByNumber(BTreeMap<i64, Any>),
    ByWide(BTreeMap<u128, bool>),
    ById(BTreeMap<Id, String>),
    ByColor(BTreeMap<Color, u8>),
    ByFlag(BTreeMap<bool, Any>),
    ByLetter(BTreeMap<char, u8>),
    ByPair(BTreeMap<(u8, u8), u8>),
    ByMaybe(BTreeMap<Option<u8>, u8>),
    Result(Result<(), Box<Any>>),
    Stamp(Stamp),
    Address(IpAddr),
    Internal(Internal),
    Adjacent(Adjacent),
    Untagged(Untagged),
    Flat(Flat),
}

/// An enum without `i128` and without maps whose keys are numbers: serde's buffer for such enums
/// supports neither.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Internal {
    Unit,
    New(Named),
    Struct { rate: Bits, next: Option<Box<Internal>>, list: Vec<Internal> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Named {
    address: IpAddr,
    stamp: Stamp,
    bytes: Raw,
    colors: BTreeMap<Color, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
pub(super) enum Adjacent {
    Unit,
    New(Box<Any>),
    Tuple(u8, String),
    Struct { a: Option<Color> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    Nothing,
    Number(i64),
    Text(String),
    List(Vec<Untagged>),
    Struct { stamp: Option<Stamp>, inner: Box<Untagged> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Flat {
    id: u64,
    #[serde(flatten)]
    named: Named,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl PartialEq for SmallBits {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, it: &[u8]) -> Result<Raw, E> {
                Ok(Raw(it.to_vec()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut res = Vec::new();
                while let Some(it) = seq.next_element()? {
                    res.push(it);
                }
                Ok(Raw(res))
            }
        }
        from.deserialize_byte_buf(Visitor)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(&self.0) } else { to.serialize_u32(self.0) }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return u32::deserialize(from).map(Self);
        }
        String::deserialize(from)?.parse().map(Self).map_err(de::Error::custom)
    }
}

pub(super) fn bits() -> impl Strategy<Value = Bits> {
    any::<u64>().prop_map(|it| Bits(f64::from_bits(it)))
}

fn small_bits() -> impl Strategy<Value = SmallBits> {
    any::<u32>().prop_map(|it| SmallBits(f32::from_bits(it)))
}

fn address() -> impl Strategy<Value = IpAddr> {
    any::<u32>().prop_map(|it| IpAddr::V4(Ipv4Addr::from_bits(it)))
}

fn color() -> impl Strategy<Value = Color> {
    prop_oneof![Just(Color::Red), Just(Color::Green)]
}

fn map<K: Ord + fmt::Debug, V: fmt::Debug>(
    key: impl Strategy<Value = K>,
    value: impl Strategy<Value = V>,
) -> impl Strategy<Value = BTreeMap<K, V>> {
    proptest::collection::btree_map(key, value, 0..3)
}

fn raw() -> impl Strategy<Value = Raw> {
    vec(any::<u8>(), 0..20).prop_map(Raw)
}

fn named() -> impl Strategy<Value = Named> {
    (address(), any::<u32>(), raw(), map(color(), any::<u64>())).prop_map(
        |(address, stamp, bytes, colors)| Named { address, stamp: Stamp(stamp), bytes, colors },
    )
}

fn internal() -> impl Strategy<Value = Internal> {
    let leaf = prop_oneof![Just(Internal::Unit), named().prop_map(Internal::New)];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let next = option::of(inner.clone().prop_map(Box::new));
        (bits(), next, vec(inner, 0..2)).prop_map(|(rate, next, list)| Internal::Struct {
            rate,
            next,
            list,
        })
    })
}

fn adjacent(inner: impl Strategy<Value = Any>) -> impl Strategy<Value = Adjacent> {
    prop_oneof![
        Just(Adjacent::Unit),
        inner.prop_map(|it| Adjacent::New(Box::new(it))),
        (any::<u8>(), any::<String>()).prop_map(|(a, b)| Adjacent::Tuple(a, b)),
        option::of(color()).prop_map(|a| Adjacent::Struct { a }),
    ]
}

fn untagged() -> impl Strategy<Value = Untagged> {
    let leaf = prop_oneof![
        Just(Untagged::Nothing),
        any::<i64>().prop_map(Untagged::Number),
        any::<String>().prop_map(Untagged::Text),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            vec(inner, 0..3).prop_map(Untagged::List),
            (option::of(any::<u32>().prop_map(Stamp)), boxed)
                .prop_map(|(stamp, inner)| Untagged::Struct { stamp, inner }),
        ]
    })
}

fn flat() -> impl Strategy<Value = Flat> {
    // These keys differ from the names of the fields.
    let rest = map("[A-Z]{1,3}", any::<u8>());
    (any::<u64>(), named(), rest).prop_map(|(id, named, rest)| Flat { id, named, rest })
}

fn leaf() -> impl Strategy<Value = Any> {
    let numbers = prop_oneof![
        any::<(i8, u8, i16, u16, i32, u32)>()
            .prop_map(|(a, b, c, d, e, f)| Any::Small(a, b, c, d, e, f)),
        any::<(i64, u64)>().prop_map(|(a, b)| Any::Long(a, b)),
        any::<i128>().prop_map(Any::Wide),
        any::<u128>().prop_map(Any::WideUnsigned),
        bits().prop_map(Any::Float),
        small_bits().prop_map(Any::SmallFloat),
        option::of(option::of(any::<u8>())).prop_map(Any::Twice),
        option::of(Just(())).prop_map(Any::MaybeNothing),
        option::of(Just(Empty)).prop_map(Any::MaybeEmpty),
        option::of(bits()).prop_map(Any::MaybeFloat),
    ];
    let maps = prop_oneof![
        map(any::<u128>(), any::<bool>()).prop_map(Any::ByWide),
        map(any::<u32>().prop_map(Id), any::<String>()).prop_map(Any::ById),
        map(color(), any::<u8>()).prop_map(Any::ByColor),
        map(any::<char>(), any::<u8>()).prop_map(Any::ByLetter),
        map(any::<(u8, u8)>(), any::<u8>()).prop_map(Any::ByPair),
        map(option::of(any::<u8>()), any::<u8>()).prop_map(Any::ByMaybe),
    ];
    let others = prop_oneof![
        Just(Any::Unit),
        any::<bool>().prop_map(Any::Flag),
        any::<char>().prop_map(Any::Letter),
        any::<String>().prop_map(Any::Text),
        raw().prop_map(Any::Bytes),
        any::<u32>().prop_map(|it| Any::Stamp(Stamp(it))),
        address().prop_map(Any::Address),
    ];
    prop_oneof![numbers, maps, others]
}

/// Returns a strategy for values of types that need a format that describes its values.
fn buffered() -> impl Strategy<Value = Any> {
    prop_oneof![
        internal().prop_map(Any::Internal),
        untagged().prop_map(Any::Untagged),
        flat().prop_map(Any::Flat),
    ]
}

/// Returns a strategy for values of any shape.
pub(super) fn value() -> impl Strategy<Value = Any> {
    nested(prop_oneof![3 => leaf(), 1 => buffered()], true)
}

/// Returns a strategy for values of any shape that each format can read.
pub(super) fn plain_value() -> impl Strategy<Value = Any> {
    nested(leaf(), false)
}

fn nested(
    leaf: impl Strategy<Value = Any> + 'static,
    with_adjacent: bool,
) -> impl Strategy<Value = Any> {
    leaf.prop_recursive(4, 16, 3, move |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let plain = prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Any::List),
            boxed().prop_map(Any::Boxed),
            (boxed(), any::<i16>(), any::<char>())
                .prop_map(|(it, a, b)| Any::Tuple(it, Pair(a, b))),
            (any::<u32>(), option::of(boxed())).prop_map(|(id, next)| Any::Struct {
                id: Id(id),
                next,
                empty: Empty,
                nothing: ()
            }),
            map(any::<String>(), inner.clone()).prop_map(Any::ByText),
            map(any::<i64>(), inner.clone()).prop_map(Any::ByNumber),
            map(any::<bool>(), inner.clone()).prop_map(Any::ByFlag),
            prop_oneof![Just(Ok(())), boxed().prop_map(Err)].prop_map(Any::Result),
        ];
        if !with_adjacent {
            return plain.boxed();
        }
        prop_oneof![8 => plain, 1 => adjacent(inner.clone()).prop_map(Any::Adjacent)].boxed()
    })
}
