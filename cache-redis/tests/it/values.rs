//! The stored values: plain, so that other programs can read them; and values of other programs.

use std::time::Duration;

use cache_core::{
    ErrorKind, Timeout, Ttl, secs,
    store::{Expiry, SetMode, integer},
};
use serde::{Deserialize, Serialize};
use test_servers::{Redis, resp::Reply, slot_of};

use crate::support::{CLUSTER, CLUSTERED, OPTIONS, cache, store};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u8,
}

fn ada() -> User {
    User { name: "Ada".into(), age: 36 }
}

/// "Integers and JSON in their plain form: redis-cli shows what was stored."
#[tokio::test]
async fn server_holds_keys_as_django_does_and_plain_values() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], "key_prefix = \"shop\"").strict();
    cache.set("user", &ada(), secs(60)).await.unwrap();
    cache.set("hits", &41, Timeout::Never).await.unwrap();
    cache.incr("hits", 1).await.unwrap();
    cache.bytes().set("raw", &b"\x00\xff"[..], secs(60)).await.unwrap();
    let get = |key: &str| redis.command(&["GET", key]).unwrap().text();
    assert_eq!(get("shop:1:user"), r#"{"name":"Ada","age":36}"#);
    assert_eq!(get("shop:1:hits"), "42");
    assert_eq!(redis.command(&["STRLEN", "shop:1:raw"]).unwrap(), Reply::Int(2));
    assert_eq!(redis.command(&["PTTL", "shop:1:hits"]).unwrap(), Reply::Int(-1));
    let Reply::Int(left) = redis.command(&["PTTL", "shop:1:user"]).unwrap() else { panic!() };
    assert!((50_000..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn value_of_another_program_is_read() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], "").strict();
    redis.command(&["SET", ":1:user", r#"{"age": 36, "name": "Ada"}"#]).unwrap();
    redis.command(&["SET", ":1:hits", "41", "PX", "60000"]).unwrap();
    assert_eq!(cache.get::<User>("user").await.unwrap(), Some(ada()));
    assert_eq!(cache.incr("hits", 1).await.unwrap(), 42);
    assert_eq!(cache.get::<i64>("hits").await.unwrap(), Some(42));
}

/// A script counts, and its numbers have 53 bits.
#[tokio::test]
async fn counts_are_exact_where_the_numbers_of_scripts_are_not() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], "").strict();
    let exact = 1_i64 << 53;
    for (from, delta) in [(exact - 2, 1), (2 - exact, -1), (i64::MAX - 4, 1), (i64::MIN + 4, -1)] {
        cache.set("k", &from, Timeout::Never).await.unwrap();
        for i in 1..=4 {
            assert_eq!(cache.incr("k", delta).await.unwrap(), from + i * delta);
        }
    }
}

#[tokio::test]
async fn value_that_is_not_an_integer_has_the_error_of_all_stores() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], "").strict();
    let expected = integer::parse(b"x").unwrap_err();
    for odd in ["x", "007", "1.5", "9223372036854775808"] {
        redis.command(&["SET", ":1:k", odd]).unwrap();
        let plain = cache.incr("k", 1).await.unwrap_err();
        let made = cache.incr_or("k", 1, 0, secs(60)).await.unwrap_err();
        for error in [plain, made] {
            assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{odd}");
            assert_eq!(error.message(), expected.message(), "{odd}");
        }
    }
}

/// "Bytes that do not decode … are a miss that is counted, `Codec` in strict mode; `get_or_set`
/// reloads and overwrites."
#[tokio::test]
async fn value_that_is_not_json_is_a_miss() {
    let redis = Redis::start().unwrap();
    let cache = cache(&[redis.url()], "");
    redis.command(&["SET", ":1:k", "\u{80}pickle"]).unwrap();
    assert_eq!(cache.get::<User>("k").await.unwrap(), None);
    let error = cache.strict().get::<User>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert_eq!(cache.stats().undecodable, 2);
    assert_eq!(cache.get_or_set("k", secs(60), || async { ada() }).await.unwrap(), ada());
    assert_eq!(cache.get::<User>("k").await.unwrap(), Some(ada()));
}

/// A value of another type under the key is not a value of this library.
#[tokio::test]
async fn value_that_is_not_a_string_is_a_miss_and_can_be_replaced() {
    let redis = Redis::start().unwrap();
    let (cache, store) = (cache(&[redis.url()], ""), store(&[redis.url()], ""));
    let put = || {
        redis.command(&["DEL", ":1:k"]).unwrap();
        redis.command(&["RPUSH", ":1:k", "a", "b"]).unwrap();
    };
    put();
    assert_eq!(cache.get::<User>("k").await.unwrap(), None);
    assert_eq!(cache.bytes().get("k").await.unwrap(), None);
    assert_eq!(cache.pop::<User>("k").await.unwrap(), None);
    assert!(cache.get_many::<User, _>(["k"]).await.unwrap().is_empty());
    assert_eq!(cache.strict().get::<User>("k").await.unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(store.get_entry(":1:k").await.unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(cache.incr("k", 1).await.unwrap_err().kind(), ErrorKind::NotAnInteger);
    assert_eq!(cache.update("k", secs(60), |it: User| it).await.unwrap(), None);
    let seen = cache_core::store::Expected::value(b"");
    assert!(!store.compare_and_delete(":1:k", seen).await.unwrap());
    assert_eq!(redis.command(&["LLEN", ":1:k"]).unwrap(), Reply::Int(2), "it was left alone");

    assert!(cache.has_key("k").await.unwrap());
    assert!(!cache.add("k", &ada(), secs(60)).await.unwrap());
    assert_eq!(cache.get_or_set("k", secs(60), || async { ada() }).await.unwrap(), ada());
    assert_eq!(cache.get::<User>("k").await.unwrap(), Some(ada()));
    put();
    assert!(cache.replace("k", &ada(), secs(60)).await.unwrap());
    put();
    assert!(cache.delete("k").await.unwrap());
}

/// "Milliseconds", rounded up; "a lifetime too long for the store's type saturates to never".
#[tokio::test]
async fn lifetimes_are_never_shorter_and_never_rejected() {
    let redis = Redis::start().unwrap();
    let store = store(&[redis.url()], "");
    let set = async |life| store.set("k", "v".into(), Expiry::After(life), SetMode::Always).await;
    set(Duration::from_nanos(60_000_000_001)).await.unwrap();
    let Some(Ttl::Remaining(left)) = store.ttl("k").await.unwrap() else { panic!() };
    assert!(left > Duration::from_secs(59) && left <= Duration::from_millis(60_001), "{left:?}");
    for life in [Duration::MAX, Duration::from_secs(u64::MAX / 1000)] {
        set(life).await.unwrap();
        assert_eq!(store.ttl("k").await.unwrap(), Some(Ttl::Forever), "{life:?}");
        assert!(store.touch("k", Expiry::After(life)).await.unwrap());
    }
    let thousand_years = Duration::from_secs(1000 * 365 * 86_400);
    set(thousand_years).await.unwrap();
    assert!(matches!(store.ttl("k").await.unwrap(), Some(Ttl::Remaining(_))));
    let entry = store.get_entry("k").await.unwrap().unwrap();
    assert!(
        store.compare_and_delete("k", cache_core::store::Expected::entry(&entry)).await.unwrap()
    );
}

/// Another program may set an expiry beyond the exact range of Lua's numbers. Such an entry still
/// moves between slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry_with_an_expiry_beyond_lua_moves_between_slots() {
    let store = store(
        &CLUSTER.urls(),
        &format!("deadline = \"20s\"\nconnect_deadline = \"20s\"\n{OPTIONS}{CLUSTERED}"),
    );
    let (from, to) = ("odd:1:k", "odd:2:k");
    assert_ne!(slot_of(from), slot_of(to));
    let at = CLUSTER.master_of(slot_of(from)).unwrap();
    at.command(&["SET", from, "1", "PXAT", "9007199254740995"]).unwrap();
    let moving = store.rename(from, to);
    // A comparison that never matches would repeat without end.
    let res = tokio::time::timeout(Duration::from_secs(60), moving).await;
    assert!(matches!(res, Ok(Ok(true))), "{res:?}");
    assert_eq!(store.get(from).await.unwrap(), None);
    assert_eq!(store.get(to).await.unwrap().unwrap(), "1");
    assert!(store.delete(to).await.unwrap());
}

/// A rename within a server takes one step, a rename between servers several. Of two concurrent
/// renames, one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renames_within_and_between_servers_have_one_winner() {
    let store = store(
        &CLUSTER.urls(),
        &format!("deadline = \"20s\"\nconnect_deadline = \"20s\"\n{OPTIONS}{CLUSTERED}"),
    );
    for round in 0..100 {
        let from = format!("{{one}}:1:{round}");
        let targets = [format!("{{one}}:2:{round}"), format!("{{another}}:3:{round}")];
        assert_eq!(slot_of(&from), slot_of(&targets[0]));
        assert_ne!(slot_of(&from), slot_of(&targets[1]));
        store.set(&from, "v".into(), Expiry::Never, SetMode::Always).await.unwrap();
        let within = async {
            // sleeps: the other rename's first step comes before, and its last step may come after
            tokio::time::sleep(Duration::from_micros(round % 25 * 100)).await;
            store.rename(&from, &targets[0]).await
        };
        let (within, between) = tokio::join!(within, store.rename(&from, &targets[1]));
        let moved = [within.unwrap(), between.unwrap()];
        let mut found = [false; 2];
        for (found, target) in found.iter_mut().zip(&targets) {
            *found = store.delete(target).await.unwrap();
        }
        assert_eq!(found, moved, "an entry is where it was moved to, and nowhere else");
        assert_ne!(moved[0], moved[1], "one of them moved it");
    }
}

/// "Glob characters in a prefix are escaped, the backslash too"; foreign keys survive.
#[tokio::test]
async fn clear_removes_only_its_own_keys_for_any_prefix() {
    let redis = Redis::start().unwrap();
    for prefix in ["s*p", "sh?p", "sh[oa]p", r"sh\op", "sh^p-x", "shop:eu", ""] {
        redis.command(&["FLUSHALL"]).unwrap();
        let ours = cache(&[redis.url()], &format!("key_prefix = '{prefix}'")).strict();
        let foreign =
            ["shop:1:k", "shoop:1:k", "shap:1:k", "s:1:k", "other", "shop", "shop:eu:x:k"];
        let foreign: Vec<_> =
            foreign.iter().filter(|it| !it.starts_with(&format!("{prefix}:1"))).collect();
        for key in &foreign {
            redis.command(&["SET", key, "1"]).unwrap();
        }
        redis.command(&["RPUSH", &format!("{prefix}:7:list"), "1"]).unwrap();
        for i in 0..3000 {
            ours.at_version(i % 3).set(&format!("k{i}"), &i, secs(60)).await.unwrap();
        }
        ours.clear().await.unwrap();
        for key in &foreign {
            assert_eq!(redis.command(&["EXISTS", key]).unwrap(), Reply::Int(1), "{prefix} {key}");
        }
        let left = i64::try_from(foreign.len()).unwrap();
        assert_eq!(redis.command(&["DBSIZE"]).unwrap(), Reply::Int(left), "{prefix}");
    }
}
