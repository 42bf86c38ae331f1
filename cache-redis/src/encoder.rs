//! From commands to the bytes of a connection.

use bytes::{BufMut as _, BytesMut};

use crate::resp::Reply;

/// Appends commands to the output of a connection, without a copy in between.
pub(crate) struct Encoder<'a> {
    output: &'a mut BytesMut,
    /// How many arguments of the current command are missing.
    missing: usize,
    longest: usize,
    in_transaction: bool,
    /// Whether the server has `DELIFEQ` and `SET … IFEQ`.
    pub(crate) has_compare: bool,
}

/// Commands with more bytes are encoded before they are passed to the connection.
const LARGE: u32 = 256 << 10;

/// Appends the same commands each time: a command that was redirected is encoded again.
pub(crate) type Encode<'a> = &'a (dyn Fn(&mut Encoder<'_>) + Send + Sync);

/// Commands about one key, with one reply as their result; or many commands for one connection.
#[derive(Clone, Copy)]
pub(crate) struct Commands<'a> {
    /// The number of replies.
    pub(crate) replies: usize,
    pub(crate) encode: Encode<'a>,
    /// Whether they are newer commands, where the server has them.
    pub(crate) newer: bool,
    /// Roughly how many bytes they have, if that may be many. 32 bits, because the futures of calls
    /// contain commands.
    pub(crate) size: u32,
    /// Whether they are a transaction of their own.
    pub(crate) is_transaction: bool,
    /// Whether they follow `ASKING`, because their key migrates to the server.
    pub(crate) asks: bool,
    pub(crate) change: &'a Change<'a>,
}

/// The keys that commands change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    None,
    /// The key of the call, or of each call of a batch.
    Key,
    Keys(&'a [&'a str]),
    /// Any keys of the namespace.
    Namespace,
    /// Any keys of the database.
    Database,
}

impl<'a> Change<'a> {
    /// The change of a batch, for one of its keys.
    pub(crate) fn of_one(self) -> &'static Change<'static> {
        if self == Self::None { &Change::None } else { &Change::Key }
    }

    /// The change of a batch, for some of its keys.
    pub(crate) fn of_many(self, keys: &'a [&'a str]) -> Self {
        if self == Self::Key { Self::Keys(keys) } else { self }
    }
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(output: &'a mut BytesMut) -> Self {
        Self { output, missing: 0, longest: 0, in_transaction: false, has_compare: false }
    }

    /// Appends a whole command.
    pub(crate) fn command<T: AsRef<[u8]>>(&mut self, words: &[T]) {
        self.begin(words.len());
        for it in words {
            self.arg(it);
        }
    }

    /// Appends commands between `MULTI` and `EXEC`, or as a part of the transaction around them.
    pub(crate) fn transaction(&mut self, commands: impl FnOnce(&mut Self)) {
        if self.in_transaction {
            return commands(self);
        }
        self.command(&["MULTI"]);
        commands(self);
        self.command(&["EXEC"]);
    }

    /// Appends commands that may be a transaction, as a part of another one.
    pub(crate) fn inside_transaction(&mut self, commands: Encode<'_>) {
        self.in_transaction = true;
        commands(self);
        self.in_transaction = false;
    }

    /// Begins a command of this many arguments, its name included.
    pub(crate) fn begin(&mut self, args: usize) -> &mut Self {
        debug_assert_eq!(self.missing, 0, "the last command is incomplete");
        self.missing = args;
        self.header(b'*', args);
        self
    }

    pub(crate) fn arg(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        let arg = arg.as_ref();
        debug_assert!(self.missing > 0, "more arguments than announced");
        self.missing = self.missing.saturating_sub(1);
        self.longest = self.longest.max(arg.len());
        self.header(b'$', arg.len());
        self.output.reserve(arg.len() + 2);
        self.output.put_slice(arg);
        self.output.put_slice(b"\r\n");
        self
    }

    pub(crate) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.arg(itoa::Buffer::new().format(number))
    }

    /// Returns how many bytes the longest argument has.
    pub(crate) fn longest_argument(encode: Encode<'_>) -> usize {
        let mut output = BytesMut::new();
        let mut encoder = Encoder::new(&mut output);
        encode(&mut encoder);
        encoder.longest
    }

    fn header(&mut self, kind: u8, len: usize) {
        self.output.put_u8(kind);
        self.output.put_slice(itoa::Buffer::new().format(len).as_bytes());
        self.output.put_slice(b"\r\n");
    }
}

impl<'a> Commands<'a> {
    /// A single command.
    pub(crate) fn one(encode: Encode<'a>) -> Self {
        Self::many(1, encode)
    }

    /// A [transaction](Encoder::transaction) of this many commands. The result is an array, or the
    /// error that prevented the execution.
    pub(crate) fn transaction(commands: usize, encode: Encode<'a>) -> Self {
        Self { is_transaction: true, ..Self::many(commands + 2, encode) }
    }

    /// Commands that have this many replies together.
    pub(crate) fn many(replies: usize, encode: Encode<'a>) -> Self {
        let change = &Change::None;
        Self { replies, encode, newer: false, size: 0, is_transaction: false, asks: false, change }
    }

    /// Sets how many bytes they have, roughly.
    pub(crate) fn of_size(self, size: usize) -> Self {
        Self { size: u32::try_from(size).unwrap_or(u32::MAX), ..self }
    }

    /// Says that they are [newer commands](crate::newer_commands) where the server has them.
    pub(crate) fn newer_if(self, newer: bool) -> Self {
        Self { newer, ..self }
    }

    /// Sends them after `ASKING`.
    pub(crate) fn asking(self) -> Self {
        Self { asks: true, ..self }
    }

    /// Says which keys they change.
    pub(crate) fn changing(self, change: &'a Change<'a>) -> Self {
        Self { change, ..self }
    }

    /// Returns the number of replies without those to `MULTI` and `EXEC`.
    pub(crate) fn replies_inside(&self) -> usize {
        if self.is_transaction { self.replies.saturating_sub(2) } else { self.replies }
    }

    /// Whether they are encoded before they are passed to the connection: other calls wait while
    /// the connection encodes.
    pub(crate) fn is_large(&self) -> bool {
        self.size > LARGE
    }
}

/// Takes the `count` replies to the commands about one key, and returns the result.
pub(crate) fn result(count: usize, replies: impl Iterator<Item = Reply>) -> Reply {
    let mut result = Reply::Nil;
    // Takes all replies, because the following replies belong to other commands.
    for reply in replies.take(count) {
        // The server rejects `MULTI` and its commands one by one (`MOVED`). The error of `EXEC`
        // does not contain the reason.
        if !matches!(result, Reply::Error(_)) {
            result = reply;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ErrorReply;

    fn encoded(encode: Encode<'_>) -> String {
        let mut output = BytesMut::from("before ");
        let mut encoder = Encoder::new(&mut output);
        encode(&mut encoder);
        assert_eq!(encoder.missing, 0);
        String::from_utf8(output.to_vec()).unwrap()
    }

    #[test]
    fn commands_are_appended_as_arrays_of_strings() {
        let text = encoded(&|out| out.command(&["GET", "a\r\nb"]));
        assert_eq!(text, "before *2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
        let text = encoded(&|out| out.transaction(|out| out.command(&[""])));
        assert_eq!(text, "before *1\r\n$5\r\nMULTI\r\n*1\r\n$0\r\n\r\n*1\r\n$4\r\nEXEC\r\n");
        let text = encoded(&|out| {
            out.begin(12);
            for _ in 0..12 {
                out.arg([0x31; 10]);
            }
        });
        assert_eq!(text, format!("before *12\r\n{}", "$10\r\n1111111111\r\n".repeat(12)));
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 100, u64::MAX] {
            let text = number.to_string();
            let expected = format!("before *1\r\n${}\r\n{text}\r\n", text.len());
            let encode = |out: &mut Encoder<'_>| {
                out.begin(1).number(number);
            };
            assert_eq!(encoded(&encode), expected);
        }
    }

    #[test]
    fn longest_argument_is_that_of_all_commands() {
        let encode = |out: &mut Encoder<'_>| {
            out.command(&["SET", "key", "a long value"]);
            out.command(&["GET", "key"]);
        };
        assert_eq!(Encoder::longest_argument(&encode), 12);
    }

    #[test]
    fn result_of_a_transaction_is_the_first_error_or_the_last_reply() {
        let error = |it: &str| Reply::Error(ErrorReply::new(it.as_bytes()));
        let mut replies =
            [Reply::Okay, Reply::Int(1), error("MOVED"), error("EXECABORT")].into_iter();
        assert_eq!(result(2, replies.by_ref()), Reply::Int(1));
        assert_eq!(result(5, replies.by_ref()), error("MOVED"));
    }
}
