//! Operations without a Redis command, as Lua scripts. A script runs atomically.

use std::sync::{Arc, LazyLock};

use cache_core::{Error, ErrorKind, Result};

use crate::{
    encoder::{Change, Commands, Encode, Encoder},
    error, full_server,
    pool::Pool,
    resp::Reply,
    route::{NO_SCRIPT, ReadTarget},
};

/// A script, and its SHA1 digest for `EVALSHA`.
pub(crate) struct Script {
    code: String,
    digest: String,
    /// Whether a server that has reached `maxmemory` may reject it.
    needs_memory: bool,
}

impl Script {
    fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        let digest = redis::Script::new(&code).get_hash().to_owned();
        Self { code, digest, needs_memory: true }
    }

    fn without_memory(code: impl Into<String>) -> Self {
        Self { needs_memory: false, ..Self::new(code) }
    }
}

/// Adds to a counter, or creates the counter: KEYS key; ARGV delta, then, if an absent counter is
/// created, its value (or "overflow"), then, if it expires, its lifetime in ms. Each argument costs
/// the server about 0.15 µs, so a plain increment sends only the first.
///
/// The reply is text if Lua's numbers, which have 53 bits, may not hold the count. `INCRBY` rejects
/// every value that is not a canonical integer.
pub(crate) static INCR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r#"if redis.call("EXISTS", KEYS[1]) == 1 then
            local count = redis.call("INCRBY", KEYS[1], ARGV[1])
            if math.abs(count) < 9007199254740992 then return count end
            return redis.call("GET", KEYS[1])
        end
        if not ARGV[2] then return false end
        if ARGV[2] == "overflow" then return redis.error_reply("ERR increment would overflow") end
        if ARGV[3] then
            redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
        else
            redis.call("SET", KEYS[1], ARGV[2])
        end
        return ARGV[2]"#,
    )
});

/// Removes the expected entry: KEYS key; ARGV the value, its absolute expiry in ms or "".
pub(crate) static COMPARE_AND_DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::without_memory(format!("{CHECK_SEEN} return redis.call(\"UNLINK\", KEYS[1])"))
});

/// Replaces the expected entry: KEYS key; ARGV the expected value, its absolute expiry in ms or "",
/// the new value, "keep" or the new lifetime in ms or "".
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

/// Ends the script with 0 unless the first key still has the expected entry. A value that is not a
/// string never matches.
const CHECK_SEEN: &str = r#"local value = redis.pcall("GET", KEYS[1])
        if value ~= ARGV[1] then return 0 end
        if ARGV[2] ~= "" then
            local till = redis.call("PEXPIRETIME", KEYS[1])
            if till < 0 then till = 0 end
            if string.format("%.0f", till) ~= ARGV[2] then return 0 end
        end"#;

/// Returns the same as a transaction of `GET`, `PEXPIRETIME` and `PTTL`: KEYS key. A server that
/// has reached `maxmemory` rejects every command of a transaction, but in a script only the
/// commands that need memory.
pub(crate) static ENTRY: LazyLock<Script> = LazyLock::new(|| {
    Script::without_memory(
        r#"local value = redis.call("GET", KEYS[1])
        return { value, redis.call("PEXPIRETIME", KEYS[1]), redis.call("PTTL", KEYS[1]) }"#,
    )
});

/// Removes the expiry, and returns whether the key exists: KEYS key. `PERSIST` returns 0 for an
/// absent key and also for a key without an expiry.
pub(crate) static PERSIST: LazyLock<Script> = LazyLock::new(|| {
    Script::without_memory(
        r#"redis.call("PERSIST", KEYS[1])
        return redis.call("EXISTS", KEYS[1])"#,
    )
});

/// Renames a key and keeps its lifetime: KEYS from, to.
pub(crate) static RENAME: LazyLock<Script> = LazyLock::new(|| {
    Script::without_memory(
        r#"if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
        redis.call("RENAME", KEYS[1], KEYS[2])
        return 1"#,
    )
});

/// A script with its keys and arguments. The futures of a call borrow it, because each of them
/// would have a copy.
pub(crate) struct ScriptCall<'a> {
    script: &'a Script,
    comparing: Option<Encode<'a>>,
    /// The first one chooses the server.
    keys: &'a [&'a str],
    args: &'a dyn Args,
    change: &'a Change<'a>,
}

/// The arguments of a script.
pub(crate) trait Args: Send + Sync {
    fn count(&self) -> usize;
    /// Returns how many bytes they have, if that may be many.
    fn size(&self) -> usize;
    fn encode(&self, out: &mut Encoder<'_>);
}

impl<const N: usize> Args for [&[u8]; N] {
    fn count(&self) -> usize {
        N
    }

    fn size(&self) -> usize {
        self.iter().map(|it| it.len()).sum()
    }

    fn encode(&self, out: &mut Encoder<'_>) {
        for it in self {
            out.arg(it);
        }
    }
}

impl Pool {
    /// Runs a script on the leader of its first key: first by its digest, then, if the server does
    /// not know the digest, by its source.
    pub(crate) async fn run_script(self: &Arc<Self>, call: &ScriptCall<'_>) -> Result<Reply> {
        let known = |out: &mut Encoder<'_>| match call.comparing {
            Some(encode) if out.has_compare => encode(out),
            _ => call.encode(out, ["EVALSHA", &call.script.digest], &[]),
        };
        let known = call.commands(&known).newer_if(call.comparing.is_some());
        let again = {
            let answer = self.execute(call.key()?, ReadTarget::Leader, &known).await;
            if matches!(&answer, Ok(it) if !matches!(it, Reply::Error(_))) {
                return answer;
            }
            // Boxed with the answer, which ends here: both would enlarge the future of the call.
            Box::pin(self.run_again(call, answer))
        };
        again.await
    }

    /// Runs a script that was not executed, or returns the reason.
    #[cold]
    async fn run_again(
        self: &Arc<Self>,
        call: &ScriptCall<'_>,
        answer: Result<Reply>,
    ) -> Result<Reply> {
        match answer {
            // `NOSCRIPT`: the server restarted or was promoted, and has executed nothing.
            Ok(Reply::Error(it)) if it.code() == NO_SCRIPT => self.run_source(call).await,
            Ok(Reply::Error(it)) => Err(error::from_reply(&it)),
            Ok(answer) => Ok(answer),
            Err(error) => self.run_publishing(call, error).await,
        }
    }

    async fn run_source(self: &Arc<Self>, call: &ScriptCall<'_>) -> Result<Reply> {
        let whole = |out: &mut Encoder<'_>| call.encode(out, ["EVAL", &call.script.code], &[]);
        self.execute(call.key()?, ReadTarget::Leader, &call.commands(&whole)).await
    }

    /// Runs a script after this error: if a server has rejected it as a part of a transaction,
    /// because of its memory limit, the script itself publishes.
    async fn run_publishing(
        self: &Arc<Self>,
        call: &ScriptCall<'_>,
        error: Error,
    ) -> Result<Reply> {
        let channels = self.common.channels.as_ref();
        let channels = channels.filter(|_| error::is_out_of_memory(&error));
        let Some(channels) = channels.filter(|_| !call.script.needs_memory) else {
            return Err(error);
        };
        let key = call.key()?;
        let code = full_server::publishing(&call.script.code);
        let (channel, message) = channels.publication(call.change, key);
        let whole = |out: &mut Encoder<'_>| call.encode(out, ["EVAL", &code], &[channel, &message]);
        let whole = Commands::one(&whole).of_size(call.args.size());
        self.execute(key, ReadTarget::Leader, &whole).await
    }
}

impl<'a> ScriptCall<'a> {
    pub(crate) fn new(script: &'a Script, keys: &'a [&'a str], args: &'a dyn Args) -> Self {
        Self { script, comparing: None, keys, args, change: &Change::Key }
    }

    /// Says which keys it changes, if it is not the first one.
    pub(crate) fn changing(self, change: &'a Change<'a>) -> Self {
        Self { change, ..self }
    }

    /// Executes this command instead of the script, if there is one and the server has it.
    pub(crate) fn or_command(self, comparing: Option<Encode<'a>>) -> Self {
        Self { comparing, ..self }
    }

    fn key(&self) -> Result<&str> {
        let key = self.keys.first().copied();
        key.ok_or_else(|| Error::new(ErrorKind::Backend, "the script has no key"))
    }

    fn commands<'b>(&'b self, encode: Encode<'b>) -> Commands<'b> {
        Commands::one(encode).of_size(self.args.size()).changing(self.change)
    }

    fn encode(&self, out: &mut Encoder<'_>, script: [&str; 2], last: &[&str]) {
        out.begin(3 + self.keys.len() + self.args.count() + last.len());
        for it in script {
            out.arg(it);
        }
        out.number(self.keys.len() as u64);
        for it in self.keys {
            out.arg(it);
        }
        self.args.encode(out);
        for it in last {
            out.arg(it);
        }
    }
}
