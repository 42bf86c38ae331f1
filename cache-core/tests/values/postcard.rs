//! Types that postcard cannot hold: it writes neither names nor types.

use std::{collections::BTreeMap, fmt::Debug};

use cache_core::{BlockingCache, Cache, Codec, ErrorKind, Timeout, store::Inline};
use cache_memory::Memory;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    User { id: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
enum Adjacent {
    User(u32),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<u8>,
}

fn cache() -> BlockingCache {
    let store = std::sync::Arc::new(Inline::new(Memory::new()));
    Cache::builder(store).codec(Codec::Postcard).build("values").unwrap().blocking()
}

#[track_caller]
fn refused(value: &impl Serialize, why: &str) {
    let error = cache().set("k", value, Timeout::Never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains(why), "{error}");
}

#[track_caller]
fn missed<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let cache = cache();
    cache.set("k", value, Timeout::Never).unwrap();
    assert_eq!(cache.get::<T>("k").unwrap(), None);
    let error = cache.strict().get::<T>("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains("needs a codec that describes its values"), "{error}");
    assert!(error.context("type").is_some(), "{error}");
}

#[test]
fn value_whose_reader_needs_names_is_a_miss_with_the_reason() {
    missed(&Untagged::Text("a".into()));
    missed(&vec![Untagged::Number(1)]);
    missed(&Tagged::User { id: 1 });
    missed(&Adjacent::User(1));
    missed(&serde_json::json!({"a": [1, null]}));
}

#[test]
fn struct_with_flatten_is_refused() {
    refused(&Flat { id: 1, rest: [("a".into(), 2)].into() }, "`flatten`");
    refused(&[Flat { id: 1, rest: BTreeMap::new() }], "`flatten`");
}

#[test]
fn struct_with_a_skipped_field_is_refused_and_a_whole_one_is_kept() {
    let cache = cache();
    let whole = Sparse { name: "Ada".into(), age: Some(36) };
    cache.set("k", &whole, Timeout::Never).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(whole));
    refused(&Sparse { age: Some(36), ..Sparse::default() }, "`skip_serializing_if`");
    refused(&[Sparse { name: "Ada".into(), age: None }], "`skip_serializing_if`");
    refused(&Sparse::default(), "`skip_serializing_if`");
}

#[test]
fn value_of_another_type_is_a_miss() {
    let cache = cache();
    cache.set("k", &("Ada", 36), Timeout::Never).unwrap();
    assert_eq!(cache.get::<String>("k").unwrap(), None);
    assert_eq!(cache.get::<Vec<String>>("k").unwrap(), None);
    assert_eq!(cache.get::<u64>("k").unwrap(), None);
    let error = cache.strict().get::<u64>("k").unwrap_err();
    assert!(error.to_string().contains("postcard, data of another type"), "{error}");
    assert_eq!(error.context("type"), Some("u64"));
}

#[test]
fn value_in_its_binary_form_is_smaller_than_json() {
    let address = std::net::IpAddr::from([255, 254, 253, 252]);
    let len = |codec| {
        let cache = Cache::builder(Memory::new()).codec(codec).build("values").unwrap();
        cache.blocking().set("k", &[address; 10], Timeout::Never).unwrap();
        let store = std::sync::Arc::clone(cache.backend()).views().sync.unwrap();
        cache_core::store::payload_len(&store.get(":1:k").unwrap().unwrap())
    };
    // A byte for the kind of the address, and its four bytes.
    assert_eq!(len(Codec::Postcard), 50);
    assert!(len(Codec::Json) > 150);
}
