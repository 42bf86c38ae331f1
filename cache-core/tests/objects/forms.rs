//! Types, codecs and bytes that do not decode.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{ErrorKind, Keyspace};
use serde::Deserialize;

use crate::{HOUR, User, cache, get, kept, user};

#[tokio::test]
async fn each_type_gets_its_own_answer() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        name: String,
    }
    let (cache, _) = cache();
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    let first = kept(&cache).await.unwrap();
    for _ in 0..2 {
        let named = cache.get_arc::<Named>("k").await.unwrap().unwrap();
        assert_eq!(named.name, "Ada");
        let json = cache.get_arc::<serde_json::Value>("k").await.unwrap().unwrap();
        assert_eq!(json["name"], "Ada");
        assert_eq!(cache.get_arc::<u8>("k").await.unwrap(), None, "not a number");
        let bytes = cache.bytes().get_arc::<Bytes>("k").await.unwrap().unwrap();
        assert_eq!(*bytes, r#"{"name":"Ada"}"#);
    }
    assert!(Arc::ptr_eq(&first, &kept(&cache).await.unwrap()), "the first type is kept");
}

/// `Typed` reads a sequence of numbers as `Bytes`, and the form of bytes the text itself.
#[tokio::test]
async fn form_of_the_handle_is_a_part_of_the_type() {
    let (cache, _) = cache();
    cache.set("k", &[49_u8, 50], HOUR).await.unwrap();
    let text = cache.bytes();
    for _ in 0..2 {
        let typed = cache.get_arc::<Vec<u8>>("k").await.unwrap().unwrap();
        assert_eq!(*typed, b"12");
        assert_eq!(*text.get_arc::<Bytes>("k").await.unwrap().unwrap(), "[49,50]");
    }
}

#[tokio::test]
async fn stored_none_is_a_value() {
    let (cache, _) = cache();
    cache.set("k", &None::<u8>, HOUR).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cache.get_arc::<Option<u8>>("k").await.unwrap(), Some(Arc::new(None)));
    }
}

#[tokio::test]
async fn bytes_that_do_not_decode_are_a_miss_each_time() {
    let (cache, _) = cache();
    cache.bytes().set("k", "{", HOUR).await.unwrap();
    for round in [1, 3] {
        assert_eq!(get(&cache).await, None);
        assert_eq!(cache.stats().undecodable, round);
        let error = cache.strict().get_arc::<User>("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec);
        assert!(error.to_string().contains("User"), "{error}");
    }
    cache.set("k", &user("Ada"), HOUR).await.unwrap();
    assert!(kept(&cache).await.is_some());
}

/// An alias that does not read a codec does not get the value of one that does.
#[cfg(feature = "msgpack")]
#[tokio::test]
async fn another_alias_decodes_by_its_own_settings() {
    use cache_core::{Cache, Codec, store::Inline};
    use cache_memory::Memory;

    let store = Arc::new(Memory::new());
    let cache = |codecs: &[Codec]| {
        let store = Inline::from_arc(Arc::clone(&store)).with_objects();
        let builder = Cache::builder(Arc::new(store)).codec(codecs[0]);
        builder.read(codecs.iter().copied()).build("test").unwrap()
    };
    let (both, json) = (cache(&[Codec::MsgPack, Codec::Json]), cache(&[Codec::Json]));
    both.set("k", &user("Ada"), HOUR).await.unwrap();
    assert!(kept(&both).await.is_some());
    assert_eq!(get(&json).await, None);
    assert_eq!(json.get::<User>("k").await.unwrap(), None);
    assert!(kept(&both).await.is_some());
}

#[tokio::test]
async fn keyspace_shares_values_and_counts_reads() {
    static USERS: Keyspace<u64, User> = Keyspace::new("user");
    let (cache, _) = cache();
    assert_eq!(USERS.get_arc(&cache, &1).await.unwrap(), None);
    USERS.set(&cache, &1, &user("Ada")).await.unwrap();
    let first = USERS.get_arc(&cache, &1).await.unwrap().unwrap();
    let second = USERS.get_arc(&cache, &1).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let counted = cache.stats().keyspaces["user"];
    assert_eq!((counted.hits, counted.misses), (2, 1));
}

#[cfg(all(feature = "lz4", feature = "postcard"))]
#[tokio::test]
async fn compressed_value_of_another_codec_is_shared() {
    use cache_core::{Codec, Compression, secs};

    use crate::cache_with;

    let (cache, _) =
        cache_with(|it| it.codec(Codec::Postcard).compression(Compression::Lz4).tags(true));
    let long = user(&"Ada".repeat(1000));
    cache.with_tags(["t"]).set("k", &long, secs(60)).await.unwrap();
    assert_eq!(*kept(&cache).await.unwrap(), long);
}
