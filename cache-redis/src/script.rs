//! What Redis has no command for, as scripts of one key each: they are run whole, with nothing in between.

use std::sync::{Arc, LazyLock};

use cache_core::{Error, ErrorKind, Result};
use redis::{Cmd, ServerErrorKind, Value};

use crate::{command::Commands, error, pool::Pool, route::ReadTarget};

/// A script, and the digest by which a server that has seen it knows it.
pub(crate) struct Script {
    code: String,
    digest: String,
}

impl Script {
    fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        let digest = redis::Script::new(&code).get_hash().to_owned();
        Self { code, digest }
    }
}

/// Adds to what is there, or makes it: KEYS key; ARGV delta, the value to make (or "", or "overflow"), its lifetime in ms or "".
///
/// The answer is text: a number of Lua's cannot hold 64 bits. INCRBY itself refuses all that is no canonical integer.
pub(crate) static INCR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"if redis.call("EXISTS", KEYS[1]) == 1 then
            redis.call("INCRBY", KEYS[1], ARGV[1])
            return redis.call("GET", KEYS[1])
        end
        if ARGV[2] == "" then return false end
        if ARGV[2] == "overflow" then return redis.error_reply("ERR increment would overflow") end
        if ARGV[3] == "" then
            redis.call("SET", KEYS[1], ARGV[2])
        else
            redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
        end
        return ARGV[2]"#,
    )
});

/// Removes what was seen: KEYS key; ARGV the value, its absolute expiry in ms or "".
pub(crate) static COMPARE_AND_DELETE: LazyLock<Script> =
    LazyLock::new(|| Script::new(format!("{CHECK_SEEN} return redis.call(\"UNLINK\", KEYS[1])")));

/// Replaces what was seen: KEYS key; ARGV the value seen, its absolute expiry in ms or "", the new value, "keep" or the lifetime
/// in ms or "".
pub(crate) static COMPARE_AND_SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(format!(
        r#"{CHECK_SEEN}
        if ARGV[4] == "keep" then
            redis.call("SET", KEYS[1], ARGV[3], "KEEPTTL")
        elseif ARGV[4] == "" then
            redis.call("SET", KEYS[1], ARGV[3])
        else
            redis.call("SET", KEYS[1], ARGV[3], "PX", ARGV[4])
        end
        return 1"#
    ))
});

/// Ends with 0 unless the first key still is what was seen. What is no string never is.
const CHECK_SEEN: &str = r#"local value = redis.pcall("GET", KEYS[1])
        if value ~= ARGV[1] then return 0 end
        if ARGV[2] ~= "" then
            local till = redis.call("PEXPIRETIME", KEYS[1])
            if till < 0 then till = 0 end
            if string.format("%.0f", till) ~= ARGV[2] then return 0 end
        end"#;

/// What a transaction of GET, PEXPIRETIME and PTTL answers: KEYS key. A server without memory refuses all commands of a transaction,
/// and of a script only those that need some.
pub(crate) static ENTRY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"local value = redis.call("GET", KEYS[1])
        return { value, redis.call("PEXPIRETIME", KEYS[1]), redis.call("PTTL", KEYS[1]) }"#,
    )
});

/// Moves a key with its lifetime: KEYS from, to.
pub(crate) static RENAME: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
        redis.call("RENAME", KEYS[1], KEYS[2])
        return 1"#,
    )
});

impl Pool {
    /// Runs a script on the leader of its first key. The server knows it by its digest once it has seen it.
    pub(crate) async fn run_script(
        self: &Arc<Self>,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value> {
        let key = *keys
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Backend, "a script without a key"))?;
        let known = call("EVALSHA", &script.digest, keys, args);
        let answer = self.execute_or_noscript(key, ReadTarget::Leader, &known).await?;
        match answer {
            // A server that was started anew, or promoted, has not: it has run nothing.
            Value::ServerError(it) if it.kind() == Some(ServerErrorKind::NoScript) => {
                let whole = call("EVAL", &script.code, keys, args);
                self.execute(key, ReadTarget::Leader, &whole).await
            }
            Value::ServerError(it) => Err(error::from_reply(&it)),
            answer => Ok(answer),
        }
    }
}

fn call(word: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> Commands {
    let size = script.len() + args.iter().map(|it| it.len()).sum::<usize>();
    let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), size);
    command.arg(word).arg(script).arg(keys.len());
    for it in keys {
        command.arg(*it);
    }
    for it in args {
        command.arg(*it);
    }
    command.into()
}
