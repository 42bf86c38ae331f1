//! Changes that need no memory, of a server that has reached `maxmemory`, with the messages about
//! them.
//!
//! The server rejects every command of a transaction then, but in a script only the commands that
//! need memory. The message comes first in a script, because a user who may not publish must change
//! nothing. The server serves no other client before the script has ended, so no reader of the
//! message finds the old value.

use bytes::{Bytes, BytesMut};
use cache_net::{Decode as _, Decoded};

use crate::{
    decoder::Decoder,
    encoder::{Commands, Encode, Encoder},
    publishing::Channels,
    resp::Reply,
};

/// The commands of the store that need no memory, and whether a key follows the name.
const COMMANDS: [(&str, bool); 4] =
    [("UNLINK", true), ("GETDEL", true), ("PEXPIRE", true), ("FLUSHDB", false)];

/// Publishes, and executes commands: KEYS their keys; ARGV the channel, the message, then for each
/// command the number of its words, and the words. Returns the replies.
const SCRIPT: &str = r#"redis.call("PUBLISH", ARGV[1], ARGV[2])
local replies, at = {}, 3
while ARGV[at] do
    local last = at + ARGV[at]
    replies[#replies + 1] = redis.call(unpack(ARGV, at + 1, last))
    at = last + 1
end
return replies"#;

/// Returns the code of a script that publishes: its last ARGV are the channel and the message.
pub(crate) fn publishing(code: &str) -> String {
    format!(
        "local message, channel = table.remove(ARGV), table.remove(ARGV)\n\
         redis.call(\"PUBLISH\", channel, message)\n{code}"
    )
}

/// Whether the server rejected a transaction, or one of its commands, because of its memory limit.
/// It has executed nothing.
pub(crate) fn is_rejected(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(it) if matches!(it.code(), "OOM" | "EXECABORT"))
}

/// Returns the script for commands that [`Channels::encode`] sends as a transaction, if they need
/// no memory. The reply to it is the array of their replies, or an error.
pub(crate) fn script(
    channels: &Channels,
    commands: &Commands<'_>,
    key: &str,
) -> Option<Vec<Bytes>> {
    // Only commands with a value are counted.
    if commands.size > 0 {
        return None;
    }
    let (mut keys, mut args) = (Vec::new(), Vec::new());
    for words in words(commands.encode)? {
        let name = words.first()?;
        let (_, has_key) = COMMANDS.iter().find(|it| name == it.0)?;
        if *has_key {
            keys.push(words.get(1)?.clone());
        }
        args.push(number(words.len()));
        args.extend(words);
    }
    let (channel, message) = channels.publication(commands.change, key);
    let mut res = vec![Bytes::from_static(b"EVAL"), Bytes::from_static(SCRIPT.as_bytes())];
    res.push(number(keys.len()));
    res.append(&mut keys);
    res.extend([Bytes::copy_from_slice(channel.as_bytes()), message.into()]);
    res.append(&mut args);
    Some(res)
}

/// Returns the words of each command, without `MULTI` and `EXEC`. The server gets commands in the
/// form of replies.
fn words(encode: Encode<'_>) -> Option<Vec<Vec<Bytes>>> {
    let mut encoded = BytesMut::new();
    Encoder::new(&mut encoded).inside_transaction(encode);
    let (mut decoder, mut res) = (Decoder::default(), Vec::new());
    while !encoded.is_empty() {
        let Ok(Decoded::Reply(Reply::Array(words))) = decoder.decode(&mut encoded) else {
            return None;
        };
        let word = |it| if let Reply::Bulk(it) = it { Some(it) } else { None };
        res.push(words.into_iter().map(word).collect::<Option<Vec<_>>>()?);
    }
    Some(res)
}

fn number(number: usize) -> Bytes {
    number.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Change;

    fn sent(commands: &Commands<'_>) -> Option<Vec<String>> {
        let words = script(&Channels::new("shop", 0, true), commands, "k")?;
        // Without the code.
        let words = words.iter().enumerate().filter(|(i, _)| *i != 1);
        Some(words.map(|(_, it)| String::from_utf8(it.to_vec()).unwrap()).collect())
    }

    #[test]
    fn script_has_the_commands_and_their_keys() {
        let keys = ["a", "b"];
        let unlink =
            |out: &mut Encoder<'_>| keys.iter().for_each(|it| out.command(&["UNLINK", it]));
        let change = Change::Keys(&keys);
        let unlink = Commands::many(2, &unlink).changing(&change);
        let head = ["EVAL", "2", "a", "b", "cache-near:1:0:shop", "keys\na\nb"];
        let expected = [&head[..], &["2", "UNLINK", "a", "2", "UNLINK", "b"]].concat();
        assert_eq!(sent(&unlink).unwrap(), expected);

        let flush = |out: &mut Encoder<'_>| out.command(&["FLUSHDB", "ASYNC"]);
        let flush = Commands::one(&flush).changing(&Change::Database);
        let expected = ["EVAL", "0", "cache-near:1:0", "all", "2", "FLUSHDB", "ASYNC"];
        assert_eq!(sent(&flush).unwrap(), expected);
    }

    #[test]
    fn command_that_may_need_memory_is_not_in_a_script() {
        let both = |out: &mut Encoder<'_>| {
            out.command(&["UNLINK", "k"]);
            out.command(&["SET", "k", ""]);
        };
        assert_eq!(sent(&Commands::many(2, &both).changing(&Change::Key)), None);
        let unlink = |out: &mut Encoder<'_>| out.command(&["UNLINK", "k"]);
        assert_eq!(sent(&Commands::one(&unlink).of_size(1)), None);
    }
}
