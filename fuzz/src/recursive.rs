//! The targets for values of recursive types, read and written by each codec.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use cache_core::{
    BlockingCache, Cache, Codec, Compression, ErrorKind, Timeout,
    config::ByteSize,
    store::{Backend, Expiry, Inline, SetMode, SyncBackend},
};
use cache_memory::Memory;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::value_header::{self, FORMAT, HEADER_LEN, LEN};

const KEY: &str = "k";
const MSGPACK: u8 = 1;
const POSTCARD: u8 = 2;

/// A float that is compared by its bits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Bits(f64);

/// A type that contains itself in every way that serde knows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Number(i128),
    Float(Bits),
    New(Box<Tree>),
    Tuple(Box<Tree>, u8),
    Struct { it: Box<Tree> },
    List(Vec<Tree>),
    Maybe(Option<Box<Tree>>),
    Map(BTreeMap<u8, Tree>),
    Adjacent(Adjacent),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Leaf,
    New(Box<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Internal {
    Leaf,
    Struct { it: Box<Internal> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    List(Vec<Untagged>),
    Map(BTreeMap<String, Untagged>),
}

/// Reads any bytes as a stored value of each codec and recursive type, then again with a repeated
/// part.
///
/// # Panics
/// If a value that was read is accepted by `set` and does not read back equal.
pub fn value_read(bytes: &[u8]) {
    STORES.with(|stores| {
        stores.read(bytes);
        if let Some(repeated) = repeated(bytes) {
            stores.read(&repeated);
        }
    });
}

/// Writes and reads a value, possibly very deep, that the bytes describe step by step.
///
/// # Panics
/// If `set` accepts the value and it does not read back equal.
pub fn value_written(bytes: &[u8]) {
    STORES.with(|stores| {
        let mut tree = grow(bytes);
        for cache in &stores.caches {
            round_trip(cache, &tree);
        }
        // Dropping a deep value in one go would overflow the stack.
        while let Some(inner) = tree.into_inner() {
            tree = inner;
        }
    });
}

thread_local! {
    static STORES: Stores = Stores::new();
}

struct Stores {
    /// One for each codec.
    caches: Vec<BlockingCache>,
    bytes: Arc<dyn SyncBackend>,
}

impl Stores {
    fn new() -> Self {
        let memory = Arc::new(Inline::new(Memory::new()));
        let cache = |(codec, compression)| {
            let cache = Cache::builder(Arc::clone(&memory)).codec(codec).compression(compression);
            let cache = if compression == Compression::None {
                cache
            } else {
                cache.compress_from(ByteSize::new(0))
            };
            cache.build("fuzz").unwrap().strict().blocking()
        };
        let settings = [
            (Codec::Json, Compression::None),
            (Codec::MsgPack, Compression::Lz4),
            (Codec::Postcard, Compression::Zstd),
        ];
        let caches = settings.map(cache).into();
        Self { caches, bytes: memory.views().sync.unwrap() }
    }

    fn read(&self, bytes: &[u8]) {
        for stored in [bytes.to_vec(), with_format(MSGPACK, bytes), with_format(POSTCARD, bytes)] {
            self.read_as::<Tree>(&stored);
            self.read_as::<Internal>(&stored);
            self.read_as::<Untagged>(&stored);
            self.read_as::<Value>(&stored);
            self.put(&stored);
            drop(self.caches[0].get::<IgnoredAny>(KEY));
        }
    }

    fn put(&self, stored: &[u8]) {
        self.bytes.set(":1:k", stored.to_vec().into(), Expiry::Never, SetMode::Always).unwrap();
    }

    fn read_as<T: Serialize + DeserializeOwned + PartialEq + Debug>(&self, stored: &[u8]) {
        self.put(stored);
        match self.caches[0].get::<T>(KEY) {
            Ok(value) => {
                let value = value.expect("the value was stored");
                self.caches.iter().for_each(|cache| round_trip(cache, &value));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Codec, "{error}"),
        }
    }
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    cache: &BlockingCache,
    value: &T,
) {
    match cache.set(KEY, value, Timeout::Never) {
        Ok(()) => match cache.get::<T>(KEY) {
            Ok(read) => assert_eq!(read.as_ref(), Some(value)),
            // postcard cannot read `tag`, `untagged` and `Value`.
            Err(error) => assert!(error.to_string().contains("describes its values"), "{error}"),
        },
        Err(error) => assert_eq!(error.kind(), ErrorKind::Codec, "{error}"),
    }
}

/// Returns the payload behind a header that says this format.
fn with_format(format: u8, payload: &[u8]) -> Vec<u8> {
    let mut stored = vec![0; usize::from(LEN)];
    stored[HEADER_LEN] = LEN;
    stored[FORMAT] = format;
    stored.extend(payload);
    value_header::mended(&stored).unwrap()
}

/// Repeats a part of the bytes: two bytes give the number of times and one the length of the part.
/// The rest follows once.
fn repeated(bytes: &[u8]) -> Option<Vec<u8>> {
    let [a, b, len, rest @ ..] = bytes else { return None };
    let (pattern, rest) = rest.split_at_checked(usize::from(*len))?;
    let times = usize::from(u16::from_be_bytes([*a, *b]));
    // More than the store accepts.
    if pattern.len() * times > 1 << 20 {
        return None;
    }
    let mut res = pattern.repeat(times);
    res.extend(rest);
    Some(res)
}

/// Builds a tree from steps of three bytes: the kind of the step, and how often it is applied.
fn grow(bytes: &[u8]) -> Tree {
    let mut steps = bytes.chunks_exact(3);
    let leaf = match steps.next() {
        Some([0, a, b]) => Tree::Number(i128::from_be_bytes([*a; 16]) >> (b % 128)),
        Some([1, a, b]) => Tree::Float(Bits(f64::from_be_bytes([*a, *b, 0, 0, 0, 0, 0, 1]))),
        _ => Tree::Leaf,
    };
    steps.fold(leaf, |tree, step| {
        let times = u16::from_be_bytes([step[1], step[2]]);
        (0..times).fold(tree, |it, _| around(it, step[0]))
    })
}

fn around(it: Tree, step: u8) -> Tree {
    match step % 7 {
        0 => Tree::New(Box::new(it)),
        1 => Tree::Tuple(Box::new(it), step),
        2 => Tree::Struct { it: Box::new(it) },
        3 => Tree::List(vec![it]),
        4 => Tree::Maybe(Some(Box::new(it))),
        5 => Tree::Map([(step, it)].into()),
        _ => Tree::Adjacent(Adjacent::New(Box::new(it))),
    }
}

impl Tree {
    fn into_inner(self) -> Option<Self> {
        match self {
            Self::New(it)
            | Self::Tuple(it, _)
            | Self::Struct { it }
            | Self::Adjacent(Adjacent::New(it)) => Some(*it),
            Self::List(it) => it.into_iter().next(),
            Self::Maybe(it) => it.map(|it| *it),
            Self::Map(it) => it.into_values().next(),
            _ => None,
        }
    }
}

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
