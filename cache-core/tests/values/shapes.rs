use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use cache_core::{Cache, Codec, ErrorKind, Timeout, secs, store::Inline};
use cache_memory::Memory;
use proptest::prelude::*;

use super::{
    Caches, Fate,
    types::{self, Any, Bits, Empty, Pair, Raw, SmallBits, Stamp},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn accepted_value_of_any_shape_reads_back_equal(value in types::value()) {
        Caches::describing().fates(&value);
    }

    #[test]
    fn accepted_value_that_needs_no_description_reads_back_equal(value in types::plain_value()) {
        Caches::new().fates(&value);
    }

    #[test]
    fn finite_floats_read_back_to_the_bit(value in types::bits(), small in any::<u32>()) {
        let caches = Caches::new();
        let small = SmallBits(f32::from_bits(small));
        let fate = |is_finite| if is_finite { Fate::Kept } else { Fate::Refused };
        prop_assert_eq!(caches.fates(&value), [fate(value.0.is_finite()), Fate::Kept, Fate::Kept]);
        prop_assert_eq!(caches.fates(&small), [fate(small.0.is_finite()), Fate::Kept, Fate::Kept]);
    }

    #[test]
    fn integers_of_each_width_read_back(
        signed in any::<i128>(),
        unsigned in any::<u128>(),
        shift in 0..128_u32,
    ) {
        let caches = Caches::new();
        let (signed, unsigned) = (signed >> shift, unsigned >> shift);
        caches.kept(&signed);
        caches.kept(&unsigned);
        caches.kept(&Some(signed));
        caches.kept(&(signed, unsigned));
        caches.kept(&HashMap::from([(signed, unsigned)]));
    }
}

#[test]
fn ordinary_values_are_accepted() {
    let caches = Caches::new();
    caches.kept(&());
    caches.kept(&None::<u8>);
    caches.kept(&Some(vec![Some(1), None]));
    caches.kept(&Empty);
    caches.kept(&Pair(-1, 'ß'));
    caches.kept(&Raw(vec![0, 255]));
    caches.kept(&Stamp(7));
    caches.kept(&IpAddr::from([127, 0, 0, 1]));
    Caches::describing().kept(&serde_json::json!({"a": [1, 2.5, null, {"b": true}]}));
    caches.kept(&BTreeMap::from([(1, "one".to_owned())]));
    caches.kept(&Any::Boxed(Box::new(Any::Result(Ok(())))));
    caches.kept(&Ok::<(), String>(()));
    caches.kept(&i64::MIN);
    caches.kept(&u64::MAX);
}

#[test]
fn value_that_reads_back_as_another_is_refused() {
    let caches = Caches::new();
    assert_eq!(caches.fates(&Some(None::<u8>)), [Fate::Refused, Fate::Refused, Fate::Kept]);
    caches.kept(&None::<Option<u8>>);
    assert_eq!(caches.fates(&vec![Some(())]), [Fate::Refused, Fate::Refused, Fate::Kept]);
    Caches::describing().all(Fate::Refused, &Some(serde_json::Value::Null));
    assert_eq!(caches.fates(&Some(Empty)), [Fate::Refused, Fate::Kept, Fate::Kept]);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(caches.fates(&vec![Any::MaybeFloat(Some(Bits(odd)))])[0], Fate::Refused);
    }
    let by_pair = Any::ByPair([((1, 2), 3)].into());
    assert_eq!(caches.fates(&by_pair), [Fate::Refused, Fate::Kept, Fate::Kept]);
}

#[tokio::test]
async fn refused_value_does_not_change_the_entry() {
    let cache = Cache::new("values", Memory::new());
    cache.set("k", &1, secs(60)).await.unwrap();
    let error = cache.set("k", &f64::NAN, secs(60)).await.unwrap_err();
    assert_eq!((error.kind(), error.context("type")), (ErrorKind::Codec, Some("f64")));
    assert_eq!(cache.get("k").await.unwrap(), Some(1));
    let many = cache.set_many([("k", Some(None)), ("other", Some(Some(2)))], secs(60)).await;
    assert_eq!(many.unwrap_err().kind(), ErrorKind::Codec);
    assert!(!cache.has_key("other").await.unwrap(), "all values are checked first");
    let updated = cache.update("k", Timeout::Default, |_: f64| f64::INFINITY).await;
    assert_eq!(updated.unwrap_err().kind(), ErrorKind::Codec);
    let error = cache.get_or_set("new", Timeout::Default, async || f64::NAN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
}

#[tokio::test]
async fn wide_integer_within_i64_counts_in_each_codec() {
    for codec in [Codec::Json, Codec::MsgPack, Codec::Postcard] {
        let store = std::sync::Arc::new(Inline::new(Memory::new()));
        let cache = Cache::builder(store).codec(codec).build("values").unwrap();
        cache.set("signed", &-5_i128, Timeout::Default).await.unwrap();
        cache.set("unsigned", &Some(5_u128), Timeout::Default).await.unwrap();
        assert_eq!(cache.incr("signed", 1).await.unwrap(), -4);
        assert_eq!(cache.incr("unsigned", 1).await.unwrap(), 6);
        assert_eq!(cache.get::<i128>("signed").await.unwrap(), Some(-4));
        cache.set("beyond", &(i128::from(i64::MAX) + 1), Timeout::Default).await.unwrap();
        let error = cache.incr("beyond", 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAnInteger);
    }
}
