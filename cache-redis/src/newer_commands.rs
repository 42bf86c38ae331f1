//! Commands that not all supported servers have: which of them a connection may use.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{reply, resp::Reply};

/// Whether the server of a connection has the newer commands, and accepts them from this user.
#[derive(Debug, Default)]
pub(crate) struct NewerCommands {
    /// `DELIFEQ`, and with it `SET … IFEQ`: Valkey 9.0.
    compare: AtomicBool,
    /// `MSETEX`: Valkey 9.1.
    set_many: AtomicBool,
}

impl NewerCommands {
    /// The question whether the server has them.
    pub(crate) const QUESTION: &[&str] = &["COMMAND", "INFO", "DELIFEQ", "MSETEX"];

    /// Reads the answer. An ACL may forbid the question; then the store uses none of them.
    pub(crate) fn read(answer: Reply) -> Self {
        let answer = reply::list(answer).unwrap_or_default();
        let mut has = answer.iter().map(|it| matches!(it, Reply::Array(it) if !it.is_empty()));
        let compare = has.next() == Some(true);
        // Redis 8.4 has `MSETEX` and not `DELIFEQ`. The store was not tested with it.
        let set_many = compare && has.next() == Some(true);
        Self { compare: AtomicBool::new(compare), set_many: AtomicBool::new(set_many) }
    }

    /// Whether the server has `DELIFEQ` and `SET … IFEQ`.
    pub(crate) fn compare(&self) -> bool {
        self.compare.load(Ordering::Relaxed)
    }

    /// Whether the server has `MSETEX`.
    pub(crate) fn set_many(&self) -> bool {
        self.set_many.load(Ordering::Relaxed)
    }

    /// The commands of servers that have none of them.
    pub(crate) fn none() -> &'static Self {
        static NONE: NewerCommands =
            NewerCommands { compare: AtomicBool::new(false), set_many: AtomicBool::new(false) };
        &NONE
    }

    /// Uses none of them any more on this connection.
    pub(crate) fn give_up(&self) {
        self.compare.store(false, Ordering::Relaxed);
        self.set_many.store(false, Ordering::Relaxed);
    }

    /// Returns whether the reply to a newer command says that the server did not execute it, and
    /// may execute its older form: the user lacks the right, a proxy does not know the command, or
    /// the server belongs to a Cluster and the keys to several slots.
    pub(crate) fn is_refused(reply: &Reply) -> bool {
        let Reply::Error(error) = reply else { return false };
        match error.code() {
            "NOPERM" | "CROSSSLOT" => true,
            "ERR" => error.details().starts_with("unknown command"),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ErrorReply;

    #[test]
    fn command_that_was_not_executed_is_refused() {
        let error = |text: &str| Reply::Error(ErrorReply::new(text.as_bytes()));
        let refused = ["NOPERM no permissions", "CROSSSLOT Keys", "ERR unknown command 'MSETEX'"];
        assert!(refused.iter().all(|it| NewerCommands::is_refused(&error(it))));
        let other = ["OOM command not allowed", "ERR syntax error", "WRONGTYPE Operation"];
        assert!(!other.iter().any(|it| NewerCommands::is_refused(&error(it))));
        assert!(!NewerCommands::is_refused(&Reply::Int(1)));
    }

    #[test]
    fn only_known_commands_are_used() {
        let known = || Reply::Array(vec![Reply::Bulk("name".into())]);
        for (answer, compare, set_many) in [
            (Reply::Array(vec![known(), known()]), true, true),
            (Reply::Array(vec![known(), Reply::Nil]), true, false),
            // Redis 8.4.
            (Reply::Array(vec![Reply::Nil, known()]), false, false),
            (Reply::Array(vec![Reply::Nil, Reply::Array(Vec::new())]), false, false),
            (Reply::Error(ErrorReply::new(b"NOPERM no permissions")), false, false),
        ] {
            let newer = NewerCommands::read(answer.clone());
            assert_eq!((newer.compare(), newer.set_many()), (compare, set_many), "{answer:?}");
            newer.give_up();
            assert!(!newer.compare() && !newer.set_many());
        }
    }
}
