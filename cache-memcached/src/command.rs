//! Commands of the meta protocol, and their encoding.

use bytes::BytesMut;
use cache_core::store::Stamp;

use crate::key::Key;

/// A command about one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command<'a> {
    key: Key<'a>,
    action: Action<'a>,
    /// The CAS number that the entry must have.
    compare: Option<Stamp>,
    /// Whether the reply contains the new CAS number.
    returns_stamp: bool,
}

#[derive(Clone, Copy, Debug)]
enum Action<'a> {
    /// Returns the parts of the entry that these flags name.
    Get(&'static str),
    Touch(u64),
    Set {
        value: &'a [u8],
        mode: Mode,
        /// The lifetime, unless the command keeps the old one.
        seconds: Option<u64>,
    },
    Delete,
    Add(i64),
}

/// When a value is written, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Always,
    IfAbsent,
    IfPresent,
    /// Behind the old value.
    Append,
}

/// Reads a value.
pub(crate) fn get(key: Key<'_>) -> Command<'_> {
    Command::new(key, Action::Get(" v"))
}

/// Reads a value, its remaining lifetime, and its CAS number.
pub(crate) fn get_entry(key: Key<'_>) -> Command<'_> {
    Command::new(key, Action::Get(" v t c"))
}

/// Checks whether an entry exists.
pub(crate) fn has(key: Key<'_>) -> Command<'_> {
    Command::new(key, Action::Get(""))
}

/// Reads the remaining lifetime of an entry.
pub(crate) fn ttl(key: Key<'_>) -> Command<'_> {
    Command::new(key, Action::Get(" t"))
}

/// Sets a new lifetime. This does not change the CAS number of an entry, but appending an empty
/// value does. Therefore, callers that have read the entry before notice the change.
pub(crate) fn touch(key: Key<'_>, seconds: u64) -> [Command<'_>; 2] {
    let append = Action::Set { value: b"", mode: Mode::Append, seconds: None };
    [Command::new(key, append), Command::new(key, Action::Touch(seconds))]
}

/// Writes a value.
pub(crate) fn set<'a>(key: Key<'a>, value: &'a [u8], mode: Mode, seconds: u64) -> Command<'a> {
    Command::new(key, Action::Set { value, mode, seconds: Some(seconds) })
}

/// Deletes an entry.
pub(crate) fn delete(key: Key<'_>) -> Command<'_> {
    Command::new(key, Action::Delete)
}

/// Adds to a counter, which the server stores as an unsigned number of 64 bits. Reads its new CAS
/// number.
pub(crate) fn add(key: Key<'_>, delta: i64) -> Command<'_> {
    Command::new(key, Action::Add(delta)).with_stamp()
}

impl<'a> Command<'a> {
    fn new(key: Key<'a>, action: Action<'a>) -> Self {
        Self { key, action, compare: None, returns_stamp: false }
    }

    /// Makes the server execute the command only if the entry still has this CAS number.
    pub(crate) fn if_unchanged(self, stamp: Stamp) -> Self {
        Self { compare: Some(stamp), ..self }
    }

    /// Makes the server return the new CAS number of the entry that the command writes.
    pub(crate) fn with_stamp(self) -> Self {
        Self { returns_stamp: true, ..self }
    }

    /// Returns whether the command can be sent.
    pub(crate) fn is_valid(&self) -> bool {
        self.key.is_valid()
    }

    /// Appends the command. The server returns the number with its reply.
    pub(crate) fn encode(&self, number: u32, out: &mut BytesMut) {
        let value = match self.action {
            Action::Set { value, .. } => Some(value),
            _ => None,
        };
        out.reserve(value.map_or(0, <[u8]>::len) + 384);
        out.extend_from_slice(match self.action {
            Action::Get(_) | Action::Touch(_) => b"mg ",
            Action::Set { .. } => b"ms ",
            Action::Delete => b"md ",
            Action::Add(_) => b"ma ",
        });
        let is_base64 = self.key.encode(out);
        match self.action {
            Action::Get(flags) => out.extend_from_slice(flags.as_bytes()),
            Action::Touch(seconds) => flag(out, b" T", seconds),
            Action::Set { value, mode, seconds } => {
                flag(out, b" ", value.len() as u64);
                out.extend_from_slice(match mode {
                    Mode::Always => b"",
                    Mode::IfAbsent => b" ME",
                    Mode::IfPresent => b" MR",
                    Mode::Append => b" MA",
                });
                if let Some(seconds) = seconds {
                    flag(out, b" T", seconds);
                }
            }
            Action::Delete => {}
            Action::Add(delta) => {
                out.extend_from_slice(if delta < 0 { b" MD" } else { b" MI" });
                flag(out, b" D", delta.unsigned_abs());
            }
        }
        if self.returns_stamp {
            out.extend_from_slice(b" c");
        }
        if let Some(stamp) = self.compare {
            flag(out, b" C", stamp.0);
        }
        if is_base64 {
            out.extend_from_slice(b" b");
        }
        flag(out, b" O", number.into());
        out.extend_from_slice(b"\r\n");
        if let Some(value) = value {
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a name and a number.
fn flag(out: &mut BytesMut, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Generation;

    const KEY: Key<'_> = Key::new("-:", "k");

    fn encoded(command: Command<'_>) -> String {
        let mut out = BytesMut::from("before ");
        command.encode(u32::MAX, &mut out);
        String::from_utf8(out.split_off(7).to_vec()).unwrap()
    }

    #[test]
    fn commands_are_encoded_as_the_protocol_describes() {
        let generation = Generation::parse(b"0123456789abcdef").unwrap();
        let named = Key::of_generation(generation, b':', "shop:1:k");
        let set = |mode| set(KEY, b"a\r\nb", mode, 60);
        let [append, touch] = touch(KEY, 0);
        for (command, expected) in [
            (get(KEY), "mg -:k v O4294967295\r\n"),
            (get_entry(named), "mg 0123456789abcdef:shop:1:k v t c O4294967295\r\n"),
            (has(KEY), "mg -:k O4294967295\r\n"),
            (ttl(KEY), "mg -:k t O4294967295\r\n"),
            (append, "ms -:k 0 MA O4294967295\r\n\r\n"),
            (touch, "mg -:k T0 O4294967295\r\n"),
            (set(Mode::Always), "ms -:k 4 T60 O4294967295\r\na\r\nb\r\n"),
            (set(Mode::IfAbsent), "ms -:k 4 ME T60 O4294967295\r\na\r\nb\r\n"),
            (set(Mode::IfAbsent).with_stamp(), "ms -:k 4 ME T60 c O4294967295\r\na\r\nb\r\n"),
            (set(Mode::IfPresent), "ms -:k 4 MR T60 O4294967295\r\na\r\nb\r\n"),
            (delete(KEY), "md -:k O4294967295\r\n"),
            (add(KEY, 7), "ma -:k MI D7 c O4294967295\r\n"),
            (add(KEY, i64::MIN), "ma -:k MD D9223372036854775808 c O4294967295\r\n"),
            (delete(Key::new("-:", "a b")), "md LTphIGI= b O4294967295\r\n"),
            (
                delete(KEY).if_unchanged(Stamp(u64::MAX)),
                "md -:k C18446744073709551615 O4294967295\r\n",
            ),
        ] {
            assert_eq!(encoded(command), expected);
        }
    }
}
