//! Writes that publish their keys, for the near tiers of other processes, where the server does not
//! report changes by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use cache_core::{CacheSettings, NearInvalidation, store::Invalidation};

use crate::{
    encoder::{self, Change, Commands, Encode, Encoder},
    resp::Reply,
};

/// The channels of the writes to one namespace, if they may have to be published.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Carries the keys of the namespace.
    namespace: String,
    /// Carries changes of all keys of the database.
    database: String,
    /// Whether the settings want it: `invalidation = "pubsub"`. Otherwise it depends on the server.
    always: bool,
    /// Whether the near tier of this process listens to them, because its server refuses tracking.
    in_use: AtomicBool,
}

/// The beginnings of the names, with the version of the messages. The server has one set of
/// channels for all databases.
const PREFIX: &str = "cache-near:1";

/// The message that says nothing: it tells whether the server lets the user publish.
const PROBE: &str = "probe";
const ALL: &str = "all";
/// The first line of a message, before the keys.
const KEYS: &str = "keys";

impl Channels {
    /// Returns the channels, if the settings have a near tier that may need them.
    pub(crate) fn of(settings: &CacheSettings, database: i64) -> Option<Self> {
        let always = match settings.near.as_ref()?.invalidation {
            NearInvalidation::PubSub => true,
            NearInvalidation::Auto => false,
            _ => return None,
        };
        Some(Self::new(&settings.key_prefix, database, always))
    }

    pub(crate) fn new(prefix: &str, database: i64, always: bool) -> Self {
        Self {
            namespace: format!("{PREFIX}:{database}:{prefix}"),
            database: format!("{PREFIX}:{database}"),
            always,
            in_use: AtomicBool::new(false),
        }
    }

    /// Whether all writes publish. Otherwise those do whose connection may not use tracking.
    pub(crate) fn always(&self) -> bool {
        self.always || self.in_use.load(Ordering::Acquire)
    }

    /// Notes whether the near tier of this process listens to the channels.
    pub(crate) fn set_in_use(&self, in_use: bool) {
        self.in_use.store(in_use, Ordering::Release);
    }

    /// Returns the command that tells whether the server lets the user publish.
    pub(crate) fn probe(&self) -> [&str; 3] {
        ["PUBLISH", &self.namespace, PROBE]
    }

    pub(crate) fn subscribe(&self) -> [&str; 3] {
        ["SUBSCRIBE", &self.namespace, &self.database]
    }

    /// Appends commands and the message about their change, as one transaction.
    pub(crate) fn encode(&self, out: &mut Encoder<'_>, commands: &Commands<'_>, key: &str) {
        out.transaction(|out| {
            out.inside_transaction(commands.encode);
            let (channel, message) = self.publication(commands.change, key);
            out.command(&["PUBLISH", channel, &message]);
        });
    }

    /// Returns the channel and the message for a change.
    pub(crate) fn publication(&self, change: &Change<'_>, key: &str) -> (&str, String) {
        let channel = match change {
            Change::Database => &self.database,
            _ => &self.namespace,
        };
        (channel, message(*change, key))
    }
}

/// Returns the commands as [`Channels::encode`] sends them.
pub(crate) fn published<'a>(commands: &Commands<'_>, encode: Encode<'a>) -> Commands<'a> {
    const MULTI_PUBLISH_EXEC: usize = 3;
    let replies = commands.replies_inside() + MULTI_PUBLISH_EXEC;
    let size = usize::try_from(commands.size).unwrap_or(usize::MAX);
    let published = Commands::many(replies, encode).of_size(size);
    if commands.asks { published.asking() } else { published }
}

/// Returns the array of the replies to commands that were [published], or the reason why nothing
/// was executed.
pub(crate) fn result(published: &Commands<'_>, replies: Vec<Reply>) -> Reply {
    match encoder::result(published.replies, replies.into_iter()) {
        Reply::Array(mut replies) => {
            // That to `PUBLISH`.
            replies.pop();
            Reply::Array(replies)
        }
        other => other,
    }
}

fn message(change: Change<'_>, key: &str) -> String {
    let keys = match change {
        Change::Namespace | Change::Database => return ALL.into(),
        Change::Key | Change::None => &[key],
        Change::Keys(keys) => keys,
    };
    let mut res = KEYS.to_owned();
    for it in keys {
        res.push('\n');
        res.push_str(it);
    }
    res
}

/// Reports a message. One that cannot be read may be about any key.
pub(crate) fn report(message: Option<&str>, receiver: &dyn Fn(Invalidation<'_>)) {
    match message.map(|it| it.split_once('\n').unwrap_or((it, ""))) {
        Some((KEYS, keys)) if !keys.is_empty() => {
            keys.split('\n').for_each(|it| receiver(Invalidation::Key(it)));
        }
        Some((PROBE, "")) => {}
        _ => receiver(Invalidation::All),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn reported(message: Option<&str>) -> String {
        let all = RefCell::new(Vec::new());
        report(message, &|it| all.borrow_mut().push(format!("{it:?}")));
        all.into_inner().join(" ")
    }

    #[test]
    fn message_that_cannot_be_read_is_a_change_of_all_keys() {
        for (message, expected) in [
            (Some("keys\na:1:k"), "Key(\"a:1:k\")"),
            (Some("keys\na:1:k\na:1:ä"), "Key(\"a:1:k\") Key(\"a:1:ä\")"),
            (Some("probe"), ""),
            (Some("all"), "All"),
            (Some("keys"), "All"),
            (Some("keys\n"), "All"),
            (Some("probe\nx"), "All"),
            (Some("newer\na:1:k"), "All"),
            (Some(""), "All"),
            (None, "All"),
        ] {
            assert_eq!(reported(message), expected, "{message:?}");
        }
    }

    #[test]
    fn message_names_all_keys_of_a_change() {
        let message = |change| reported(Some(&message(change, "k")));
        assert_eq!(message(Change::Key), "Key(\"k\")");
        assert_eq!(message(Change::Keys(&["a", "b"])), "Key(\"a\") Key(\"b\")");
        assert_eq!(message(Change::Namespace), "All");
        assert_eq!(message(Change::Database), "All");
    }

    #[test]
    fn channels_name_database_and_prefix() {
        let channels = Channels::new("shop", 3, true);
        assert_eq!(channels.subscribe(), ["SUBSCRIBE", "cache-near:1:3:shop", "cache-near:1:3"]);
        let other = Channels::new("", 3, true);
        assert_ne!(other.namespace, other.database);
    }
}
