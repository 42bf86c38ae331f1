use super::*;

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
