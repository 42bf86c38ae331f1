use super::{marker::NamespacePath, *};

fn full(key: &str, long_keys: LongKeys) -> Result<FullKey> {
    let head = KeyHead::new(&Namespace::new("p").unwrap(), 1);
    let mut full = FullKey::new();
    head.key(&KeyRules { long_keys, function: None }, key, &mut full).map(|()| full)
}

#[test]
fn stored_key_has_the_form_of_django() {
    assert_eq!(full("a:b", LongKeys::Error).unwrap().as_str(), "p:1:a:b");
    let head = KeyHead::new(&Namespace::new("").unwrap(), i64::MIN);
    assert_eq!(&*head.0, ":-9223372036854775808:");
}

#[test]
fn error_names_the_broken_rule() {
    for (key, rule) in [
        ("", "is empty"),
        ("a b", "0x20 at 1"),
        ("a\r\nflush_all", "0x0d at 1"),
        ("\u{7f}", "0x7f at 0"),
        ("\0", "0x00 at 0"),
    ] {
        let error = full(key, LongKeys::Error).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert!(error.to_string().contains(rule), "{error}");
    }
    assert!(full("schlüssel", LongKeys::Error).is_ok());
}

#[test]
fn forbidden_byte_is_found_at_every_place() {
    for len in 1..40 {
        let key = "k".repeat(len);
        assert!(check_key(&key).is_ok());
        for at in 0..len {
            let odd = [&key[..at], "\n", &key[at + 1..]].concat();
            let error = check_key(&odd).unwrap_err();
            assert!(error.to_string().contains(&format!("0x0a at {at};")), "{error}");
        }
    }
}

#[test]
fn length_limit_includes_the_head() {
    assert!(full(&"k".repeat(MAX_KEY_LEN - 4), LongKeys::Error).is_ok());
    let error = full(&"k".repeat(MAX_KEY_LEN - 3), LongKeys::Error).unwrap_err();
    assert!(error.to_string().contains("231 bytes"), "{error}");
}

#[test]
#[cfg(feature = "long-keys")]
fn only_invalid_keys_are_hashed() {
    assert_eq!(full("good", LongKeys::Hash).unwrap().as_str(), "p:1:good");
    let long = full(&"x".repeat(1000), LongKeys::Hash).unwrap();
    assert!(long.starts_with("p:1:xxx") && long.len() <= MAX_KEY_LEN, "{long}");
    let spaced = full("a b", LongKeys::Hash).unwrap();
    assert!(spaced.starts_with("p:1:ab~"), "{spaced}");
    assert_ne!(spaced, full("a  b", LongKeys::Hash).unwrap());
    assert!(full("", LongKeys::Hash).is_err());
}

#[test]
#[cfg(feature = "long-keys")]
fn key_written_like_a_hashed_key_is_hashed_again() {
    let victim = full("secret key", LongKeys::Hash).unwrap();
    let forged = victim.strip_prefix("p:1:").unwrap();
    assert_ne!(full(forged, LongKeys::Hash).unwrap(), victim);
}

#[test]
fn ambiguous_prefix_is_refused() {
    for bad in ["a:2", "a:-7", "a:0", "a:tag", "a:lock:b", ":1", "a b", "a\n"] {
        assert_eq!(Namespace::new(bad).unwrap_err().kind(), ErrorKind::InvalidKey, "{bad:?}");
    }
    for good in ["", "2", "a", "a:b", "a:v2", "a:02", "a:+1", "tag", "a:", "a:-0"] {
        assert!(Namespace::new(good).is_ok(), "{good:?}");
    }
}

#[test]
fn namespace_contains_only_its_own_keys() {
    let empty = Namespace::new("").unwrap();
    assert!(empty.contains(":1:a") && empty.contains(":lock:a"));
    assert!(!empty.contains("shop:1:a") && !empty.contains(":a:1") && !empty.contains(":1"));
    let shop = Namespace::new("shop").unwrap();
    assert!(!shop.contains("shop:01:a") && !shop.contains("shop:1"));
}

#[test]
fn marker_of_a_tag_obeys_the_rules_for_keys() {
    let shop = Namespace::new("shop").unwrap();
    let tag = |name: &str| KeyHead::tag(&shop, name);
    assert_eq!(tag("user:7").unwrap().as_str(), "shop:tag:user:7");
    assert!(shop.contains(&tag("1").unwrap()));
    assert!(tag(&"t".repeat(MAX_KEY_LEN - 9)).is_ok());
    let error = tag(&"t".repeat(MAX_KEY_LEN - 8)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(error.to_string().contains("231 bytes with `shop:tag:`"), "{error}");
    for bad in ["", "a b", "a\n"] {
        assert_eq!(tag(bad).unwrap_err().kind(), ErrorKind::InvalidKey, "{bad:?}");
    }
}

fn within(path: &NamespacePath, key: &str, generation: &str) -> FullKey {
    let head = KeyHead::within(&Namespace::new("shop").unwrap(), path, 1);
    let mut full = FullKey::new();
    head.key(&KeyRules::default(), key, &mut full).unwrap();
    head.put_generation(generation, &mut full);
    assert_eq!(head.generation(&full), generation);
    full
}

fn path(names: &[&str]) -> Result<NamespacePath> {
    let keys = Namespace::new("shop").unwrap();
    let (last, outer) = names.split_last().unwrap();
    let outer = (!outer.is_empty()).then(|| path(outer).unwrap());
    NamespacePath::new(&keys, outer.as_ref(), last)
}

#[test]
fn keys_of_namespaces_are_separate() {
    let shop = Namespace::new("shop").unwrap();
    let generation = "0123456789abc";
    let key = within(&path(&["users"]).unwrap(), "7", generation);
    assert_eq!(key.as_str(), "shop:ns:1:users~0123456789abc:7");
    let nested = within(&path(&["users", "eu"]).unwrap(), "7", generation);
    assert_eq!(nested.as_str(), "shop:ns:1:users~~eu~0123456789abc:7");
    assert!(shop.contains(&key) && shop.contains(&nested));
    assert_eq!(Namespace::prefix_of(&key), Some("shop"));
    let marker = path(&["users", "eu"]).unwrap().marker(&shop).unwrap();
    assert_eq!(marker.as_str(), "shop:ns:tag:users~~eu");
    assert!(shop.contains(&marker));
    let lock = |path: Option<&NamespacePath>, name: &str| {
        let mut full = FullKey::new();
        let head = KeyHead::of_locks(&shop, path, 1);
        head.key(&KeyRules::default(), name, &mut full).map(|()| full).unwrap()
    };
    let own = lock(path(&["users"]).ok().as_ref(), "job");
    assert_eq!(own.as_str(), "shop:lock:own:ns:1:users~:job");
    assert_eq!(lock(None, "job").as_str(), "shop:lock:own:1:job");
}

#[test]
fn name_of_a_namespace_obeys_its_rules() {
    for (name, rule) in [("", "is empty"), ("a b", "0x20 at 1"), ("a~b", "contains `~`")] {
        let error = path(&[name]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert!(error.to_string().contains(rule), "{error}");
    }
    // 125 bytes less the prefix.
    assert!(path(&[&"n".repeat(121)]).is_ok());
    let error = path(&[&"n".repeat(122)]).err().unwrap();
    assert!(error.to_string().contains("122 bytes, of at most 121"), "{error}");
    assert!(path(&[&"n".repeat(59), &"m".repeat(60)]).is_ok());
    assert!(path(&[&"n".repeat(60), &"m".repeat(60)]).is_err());
    for good in ["1", "tag", "a:b", "a/b", "ü"] {
        assert!(path(&[good]).is_ok(), "{good}");
    }
}

#[test]
#[cfg(feature = "long-keys")]
fn longest_name_leaves_room_for_a_hashed_key() {
    let keys = Namespace::new(&"p".repeat(100)).unwrap();
    let path = NamespacePath::new(&keys, None, &"n".repeat(25)).unwrap();
    let head = KeyHead::within(&keys, &path, i64::MIN);
    let rules = KeyRules { long_keys: LongKeys::Hash, function: None };
    let mut full = FullKey::new();
    head.key(&rules, &"k".repeat(1000), &mut full).unwrap();
    assert_eq!(full.len(), MAX_KEY_LEN);
}
