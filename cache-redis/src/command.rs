//! What is sent about one key.

use redis::{Cmd, Pipeline, Value};

/// The commands about one key, which are answered with one value.
#[derive(Clone, Debug)]
pub(crate) enum Commands {
    One(Cmd),
    /// Between `MULTI` and `EXEC`: answered with an array, or with the error that kept it from being done.
    Transaction(Vec<Cmd>),
}

/// How many replies the commands about one key have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replies(usize);

impl Commands {
    /// A command of words and keys.
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
    /// One value of all of them.
    pub(crate) fn value(self, replies: impl Iterator<Item = Value>) -> Value {
        let mut value = Value::Nil;
        // All are taken: the next are those of other commands.
        for reply in replies.take(self.0) {
            // `MULTI` and the commands behind it are refused one by one (`MOVED`); `EXEC` says only that they were.
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

/// A command of words and keys.
pub(crate) fn command(words: &[&str]) -> Cmd {
    let mut res = Cmd::with_capacity(words.len(), words.iter().map(|it| it.len()).sum());
    for it in words {
        res.arg(*it);
    }
    res
}
