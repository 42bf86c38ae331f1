//! The keys of calls.

use std::{collections::HashMap, time::Duration};

use cache_core::{Ttl, cache, cached, secs};
use serde::Serialize;

use crate::{MEMORY, Runs, with};

#[cached(key = "user:{id}:{name}")]
async fn named(id: u32, name: &str) -> u32 {
    id + u32::try_from(name.len()).unwrap()
}

#[cached(name = "sum", skip(log))]
fn sum(a: u8, b: &str, log: &dyn Fn()) -> u32 {
    log();
    u32::from(a) + u32::try_from(b.len()).unwrap()
}

#[cached(name = "pair")]
fn pair(a: &str, b: &str) -> usize {
    a.len() + b.len()
}

#[cached(name = "any")]
fn any<T: Serialize>(value: T) -> bool {
    drop(value);
    true
}

#[test]
fn keys_stay_the_same() {
    assert_eq!(named::key(7, "Ada").unwrap(), "user:7:Ada");
    assert_eq!(sum::key(1, "b").unwrap(), "sum#dd17302b62e30968127e9664b884fe225df70630");
    assert_eq!(pair::key("ab", "c").unwrap(), "pair#636dfa54c65c488ea98815ab0baa150d0c1078c8");
    assert_eq!(empty::key().unwrap(), "cached::keys::empty");
}

#[cached]
fn empty() -> u32 {
    1
}

#[test]
fn different_arguments_have_different_keys() {
    let mut keys = vec![
        pair::key("a", "bc").unwrap(),
        pair::key("ab", "c").unwrap(),
        pair::key("abc", "").unwrap(),
        any::key(1_u8).unwrap(),
        any::key(1_u64).unwrap(),
        any::key(1_i64).unwrap(),
        any::key("1").unwrap(),
        any::key("1".to_owned()).unwrap(),
        any::key(Some("1")).unwrap(),
        any::key(None::<&str>).unwrap(),
        any::key(()).unwrap(),
        any::key(vec![vec![1], vec![]]).unwrap(),
        any::key(vec![vec![], vec![1]]).unwrap(),
        any::key(vec![vec![1]]).unwrap(),
        any::key(("a", "bc")).unwrap(),
        any::key(("ab", "c")).unwrap(),
        any::key([1, 2]).unwrap(),
        any::key((1, 2)).unwrap(),
        any::key(HashMap::from([("a", 1), ("b", 2)])).unwrap(),
        any::key(HashMap::from([("a", 2), ("b", 1)])).unwrap(),
    ];
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn values_in_the_text_cannot_end_it() {
    let keys = [
        named::key(1, "a:b").unwrap(),
        named::key(1, "a%3Ab").unwrap(),
        named::key(1, "a b\n").unwrap(),
        named::key(1, "ä#~{}").unwrap(),
    ];
    assert_eq!(
        keys,
        ["user:1:a%3Ab", "user:1:a%253Ab", "user:1:a%20b%0A", "user:1:%C3%A4%23%7E%7B%7D"]
    );
}

#[test]
fn equal_maps_have_one_key_whatever_their_order() {
    let numbers = 0..100;
    let one: HashMap<_, _> = numbers.clone().map(|it| (it, it)).collect();
    let other: HashMap<_, _> = numbers.rev().map(|it| (it, it)).collect();
    assert_eq!(any::key(one).unwrap(), any::key(other).unwrap());
}

#[test]
fn argument_is_not_readable_in_the_key() {
    assert!(!pair::key("s3cret", "x").unwrap().contains("s3cret"));
}

#[test]
fn long_text_ends_in_a_digest() {
    let (a, b) = ("x".repeat(500), "x".repeat(501));
    let (a, b) = (named::key(1, &a).unwrap(), named::key(1, &b).unwrap());
    assert_ne!(a, b);
    assert!(a.len() <= 100 && a.starts_with("user:1:xxx"), "{a}");
}

#[tokio::test]
async fn skipped_argument_is_not_part_of_the_key() {
    static RUNS: Runs = Runs::new();
    #[cached(key = "login:{name}", skip(password))]
    async fn login(name: &str, password: &str) -> String {
        RUNS.next();
        format!("{name}{}", password.len())
    }
    with(MEMORY, async {
        assert_eq!(login("ada", "one").await, login("ada", "other").await);
        assert_eq!(RUNS.count(), 1);
        assert!(login::invalidate("ada").await.unwrap());
        assert_eq!(login("ada", "other").await, "ada5");
    })
    .await;
}

#[tokio::test]
async fn skipped_argument_is_an_argument_of_prime_if_a_tag_or_a_rule_names_it() {
    #[cached(
        key = "report:{id}",
        skip(org, days, log),
        tags = ["org:{org}"],
        ttl = secs(days * 86400),
    )]
    async fn report(id: u32, org: u32, days: u64, log: &str) -> String {
        format!("{id} {org} {days} {log}")
    }
    with("caches.default = { backend = 'memory', tags = true }", async {
        assert_eq!(report::key(7).unwrap(), "report:7");
        report::prime(7, 3, 1, &"primed".to_owned()).await.unwrap();
        assert_eq!(report(7, 4, 1, "log").await, "primed");
        let left = cache().ttl("report:7").await.unwrap();
        let day = Duration::from_secs(86400);
        // The alias prolongs lifetimes at random.
        assert!(
            matches!(left, Some(Ttl::Remaining(it)) if it > day / 2 && it < day * 2),
            "{left:?}"
        );
        cache().invalidate_tags(["org:3"]).await.unwrap();
        assert_eq!(report(7, 4, 1, "log").await, "7 4 1 log");
        assert!(report::invalidate(7).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn argument_beside_the_text_is_in_the_digest() {
    #[cached(key = "page:{id}")]
    async fn page(id: u32, language: String) -> String {
        format!("{id}{language}")
    }
    with(MEMORY, async {
        assert_eq!(page(1, "en".to_owned()).await, "1en");
        assert_eq!(page(1, "de".to_owned()).await, "1de");
        let key = page::key(1, "de".to_owned()).unwrap();
        assert!(key.starts_with("page:1#"), "{key}");
        assert_eq!(cache().get::<String>(&key).await.unwrap().as_deref(), Some("1de"));
    })
    .await;
}

#[test]
fn fields_and_formats_are_part_of_the_text() {
    struct User {
        id: u32,
        org: (String, u8),
    }
    #[cached(key = "{user.org.0}/{user.id:04}/{{}}")]
    fn card(user: &User) -> String {
        format!("{}{}", user.id, user.org.1)
    }
    let user = User { id: 7, org: ("acme".to_owned(), 1) };
    assert_eq!(card::key(&user).unwrap(), "acme/0007/{}");
    assert_eq!(card::uncached(&user), "71");
}
