//! Counting, compared with the same rules in Rust: SQLite reads numbers differently.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    ErrorKind, Result, Ttl,
    store::{Backend, CounterInit, Expiry, SetMode, integer},
};
use proptest::prelude::*;

use crate::support::{PATIENT, store};

const KEY: &str = ":1:n";
const LIFE: Expiry = Expiry::After(std::time::Duration::from_secs(3600));

/// Bytes that often look like numbers.
fn stored() -> impl Strategy<Value = Vec<u8>> {
    let odd = [
        "",
        "12abc",
        "\"41\"",
        "007",
        "+5",
        "-0",
        "0",
        "00",
        "-",
        " 1",
        "1 ",
        "1\n",
        "1.0",
        "1e3",
        "0x10",
        "1_000",
        "inf",
        "nan",
        "null",
        "true",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "12\0",
        "\x001",
        "1\x002",
        "\u{661}",
        "١٢",
        "-1",
        "--1",
        "1-",
        "\u{feff}1",
        "18446744073709551616",
        "-00",
        "0.0",
        "-9223372036854775808 ",
    ];
    prop_oneof![
        proptest::sample::select(odd.to_vec()).prop_map(|it| it.as_bytes().to_vec()),
        any::<i64>().prop_map(|it| it.to_string().into_bytes()),
        "[-+0-9. eE\\x00]{0,22}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..30),
    ]
}

fn deltas() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -3..3_i64,
        proptest::sample::select(&[i64::MIN, i64::MIN + 1, i64::MAX, 0][..]),
    ]
}

fn kind<T: PartialEq + std::fmt::Debug>(it: Result<T>) -> std::result::Result<T, ErrorKind> {
    it.map_err(|it| it.kind())
}

fn expected(stored: &[u8], delta: i64) -> Result<i64> {
    integer::add(integer::parse(stored)?, delta)
}

async fn put(store: &Arc<dyn Backend>, bytes: &[u8]) {
    store.set(KEY, Bytes::copy_from_slice(bytes), LIFE, SetMode::Always).await.unwrap();
}

/// Returns the value after counting. Its lifetime must be unchanged.
async fn left(store: &Arc<dyn Backend>) -> Bytes {
    let entry = store.get_entry(KEY).await.unwrap().unwrap();
    assert!(matches!(entry.ttl, Ttl::Remaining(it) if it.as_secs() > 3000));
    entry.value
}

async fn counts_as_rust_does(store: &Arc<dyn Backend>, bytes: &[u8], delta: i64, initial: i64) {
    let expected = kind(expected(bytes, delta));
    let rest = match &expected {
        Ok(sum) => Bytes::from(sum.to_string()),
        Err(_) => Bytes::copy_from_slice(bytes),
    };
    for create in [None, Some(CounterInit::new(initial, Expiry::Never))] {
        put(store, bytes).await;
        let sum = kind(store.incr(KEY, delta, create).await);
        assert_eq!(sum, expected.map(Some), "{bytes:?} + {delta}");
        assert_eq!(left(store).await, rest, "{bytes:?} + {delta}");
    }
    store.delete(KEY).await.unwrap();
    assert_eq!(store.incr(KEY, delta, None).await.unwrap(), None);
    let sum = store.incr(KEY, delta, Some(CounterInit::new(initial, LIFE))).await;
    let expected = kind(integer::add(initial, delta));
    assert_eq!(kind(sum), expected.map(Some));
    match expected {
        Ok(sum) => assert_eq!(left(store).await, sum.to_string()),
        Err(_) => assert!(!store.has(KEY).await.unwrap(), "nothing was made"),
    }
}

#[test]
fn counting_follows_the_rules_of_cache_core() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = store(":memory:", PATIENT);
    proptest!(ProptestConfig::with_cases(1000), |(bytes in stored(), delta in deltas(), initial in deltas())| {
        runtime.block_on(counts_as_rust_does(&store, &bytes, delta, initial));
    });
}
