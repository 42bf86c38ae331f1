//! The commands about one key.

use redis::{Cmd, Pipeline, Value};

/// Commands about one key, with one value as the result.
#[derive(Clone, Debug)]
pub(crate) enum Commands {
    One(Cmd),
    /// Commands between `MULTI` and `EXEC`. The result is an array, or the error that prevented the
    /// execution.
    Transaction(Vec<Cmd>),
}

/// The number of replies to the commands about one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replies(usize);

impl Commands {
    /// Creates a command from words and keys.
    pub(crate) fn of(words: &[&str]) -> Self {
        Self::One(command(words))
    }

    pub(crate) fn add_to(self, pipeline: &mut Pipeline) -> Replies {
        match self {
            Self::One(command) => {
                pipeline.add_command(command);
                Replies(1)
            }
            Self::Transaction(commands) => {
                let replies = Replies(commands.len() + 2);
                pipeline.cmd("MULTI");
                for it in commands {
                    pipeline.add_command(it);
                }
                pipeline.cmd("EXEC");
                replies
            }
        }
    }
}

impl Replies {
    /// Returns the result from the replies.
    pub(crate) fn value(self, replies: impl Iterator<Item = Value>) -> Value {
        let mut value = Value::Nil;
        // Takes all replies, because the following replies belong to other commands.
        for reply in replies.take(self.0) {
            // The server rejects `MULTI` and its commands one by one (`MOVED`). The error of `EXEC`
            // does not contain the reason.
            if !matches!(value, Value::ServerError(_)) {
                value = reply;
            }
        }
        value
    }
}

impl From<Cmd> for Commands {
    fn from(it: Cmd) -> Self {
        Self::One(it)
    }
}

/// Creates a command from words and keys.
pub(crate) fn command(words: &[&str]) -> Cmd {
    let mut res = Cmd::with_capacity(words.len(), words.iter().map(|it| it.len()).sum());
    for it in words {
        res.arg(*it);
    }
    res
}
