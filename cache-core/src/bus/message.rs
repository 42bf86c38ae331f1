//! The text of messages: `SENDER WORD KEY KEY …`. Stored keys contain no spaces.

use crate::key::Namespace;

/// The version of the format is a part of the name of the channel.
pub(super) fn channel(keys: &Namespace) -> String {
    format!("cache-core:bus:1:{}", keys.prefix())
}

/// A change of memory that other processes repeat.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// The keys were removed. A marker of a tag or a namespace is removed when it is replaced: its
    /// entries are invalid without it.
    Removed(&'a [&'a str]),
    /// The tag with this marker was expired.
    Expired(&'a str),
    /// All keys of a namespace were removed.
    Cleared(&'a Namespace),
    /// Everything was removed.
    StoreCleared,
}

/// A message of another process.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<'a> {
    Removed(Vec<&'a str>),
    Expired(&'a str),
    Cleared(Namespace),
    StoreCleared,
}

/// The longest list of keys in one message: PostgreSQL passes on fewer than 8,000 bytes.
const MAX_KEYS: usize = 4_000;

impl Change<'_> {
    /// Returns the messages of this change.
    pub(super) fn messages(&self, sender: u64) -> Vec<String> {
        let message = |word: &str, rest: &str| format!("{sender:016x} {word} {rest}");
        match self {
            Self::Removed(keys) => {
                let mut lists: Vec<String> = Vec::new();
                for key in *keys {
                    match lists.last_mut().filter(|it| it.len() + key.len() < MAX_KEYS) {
                        Some(list) => list.extend([" ", *key]),
                        None => lists.push((*key).to_owned()),
                    }
                }
                lists.iter().map(|it| message(REMOVED, it)).collect()
            }
            Self::Expired(key) => vec![message(EXPIRED, key)],
            Self::Cleared(keys) => vec![message(CLEARED, keys.prefix())],
            Self::StoreCleared => vec![message(STORE_CLEARED, "")],
        }
    }
}

/// Returns the sender of a message, and its change. `None` if the text has another form.
pub(super) fn parse(text: &str) -> Option<(u64, Received<'_>)> {
    let mut parts = text.splitn(3, ' ');
    let sender = u64::from_str_radix(parts.next().filter(|it| it.len() == 16)?, 16).ok()?;
    let (word, rest) = (parts.next()?, parts.next()?);
    let received = match word {
        REMOVED => {
            let keys: Vec<_> = rest.split(' ').collect();
            (!keys.contains(&"")).then_some(Received::Removed(keys))?
        }
        EXPIRED if !rest.is_empty() && !rest.contains(' ') => Received::Expired(rest),
        CLEARED => Received::Cleared(Namespace::new(rest).ok()?),
        STORE_CLEARED if rest.is_empty() => Received::StoreCleared,
        _ => return None,
    };
    Some((sender, received))
}

const REMOVED: &str = "removed";
const EXPIRED: &str = "expired";
const CLEARED: &str = "cleared";
const STORE_CLEARED: &str = "store-cleared";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_read_as_it_was_written() {
        let shop = Namespace::new("shop").unwrap();
        for (change, expected) in [
            (Change::Removed(&["shop:1:a"]), Received::Removed(vec!["shop:1:a"])),
            (Change::Removed(&[":1:a", ":1:é"]), Received::Removed(vec![":1:a", ":1:é"])),
            (Change::Expired("shop:tag:7"), Received::Expired("shop:tag:7")),
            (Change::Cleared(&shop), Received::Cleared(shop.clone())),
            (Change::Cleared(&Namespace::unprefixed()), Received::Cleared(Namespace::unprefixed())),
            (Change::StoreCleared, Received::StoreCleared),
        ] {
            let texts = change.messages(7);
            assert_eq!(texts.len(), 1);
            assert_eq!(parse(&texts[0]), Some((7, expected)), "{texts:?}");
        }
    }

    #[test]
    fn many_keys_are_several_messages() {
        let keys: Vec<_> = (0..1000).map(|n| format!(":1:{}{n}", "k".repeat(220))).collect();
        let refs: Vec<_> = keys.iter().map(String::as_str).collect();
        let texts = Change::Removed(&refs).messages(u64::MAX);
        assert!(texts.len() > 1 && texts.iter().all(|it| it.len() < 8_000));
        let read: Vec<_> = texts
            .iter()
            .flat_map(|it| match parse(it).unwrap() {
                (u64::MAX, Received::Removed(keys)) => keys,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(read, refs);
        assert!(Change::Removed(&[]).messages(7).is_empty());
    }

    #[test]
    fn text_of_another_form_is_not_read() {
        for text in [
            "",
            "7 removed :1:a",
            "0000000000000007",
            "0000000000000007 removed",
            "0000000000000007 removed ",
            "0000000000000007 removed a  b",
            "0000000000000007 expired ",
            "0000000000000007 expired a b",
            "0000000000000007 cleared a:2",
            "0000000000000007 store-cleared now",
            "0000000000000007 renamed a",
            "000000000000000g removed a",
            "000000000000000é removed a",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
