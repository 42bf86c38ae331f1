//! Operations without a Redis command, as Lua scripts. A script runs atomically.

use std::sync::{Arc, LazyLock};

use cache_core::{Error, ErrorKind, Result};

use crate::{
    encoder::{Commands, Encode, Encoder},
    error,
    pool::Pool,
    resp::Reply,
    route::{NO_SCRIPT, ReadTarget},
};

/// A script, and its SHA1 digest for `EVALSHA`.
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

/// Adds to a counter, or creates the counter: KEYS key; ARGV delta, the value to create (or "" or
/// "overflow"), its lifetime in ms or "".
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

/// Removes the expected entry: KEYS key; ARGV the value, its absolute expiry in ms or "".
pub(crate) static COMPARE_AND_DELETE: LazyLock<Script> =
    LazyLock::new(|| Script::new(format!("{CHECK_SEEN} return redis.call(\"UNLINK\", KEYS[1])")));

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
    Script::new(
        r#"local value = redis.call("GET", KEYS[1])
        return { value, redis.call("PEXPIRETIME", KEYS[1]), redis.call("PTTL", KEYS[1]) }"#,
    )
});

/// Renames a key and keeps its lifetime: KEYS from, to.
pub(crate) static RENAME: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
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
            _ => call.encode(out, ["EVALSHA", &call.script.digest]),
        };
        let known = call.commands(&known).newer_if(call.comparing.is_some());
        match self.execute(call.key()?, ReadTarget::Leader, &known).await? {
            // `NOSCRIPT`: the server restarted or was promoted, and has executed nothing.
            Reply::Error(it) if it.code() == NO_SCRIPT => Box::pin(self.run_source(call)).await,
            Reply::Error(it) => Err(error::from_reply(&it)),
            answer => Ok(answer),
        }
    }

    #[cold]
    async fn run_source(self: &Arc<Self>, call: &ScriptCall<'_>) -> Result<Reply> {
        let whole = |out: &mut Encoder<'_>| call.encode(out, ["EVAL", &call.script.code]);
        self.execute(call.key()?, ReadTarget::Leader, &call.commands(&whole)).await
    }
}

impl<'a> ScriptCall<'a> {
    pub(crate) fn new(script: &'a Script, keys: &'a [&'a str], args: &'a dyn Args) -> Self {
        Self { script, comparing: None, keys, args }
    }

    /// Executes this command instead of the script, if there is one and the server has it.
    pub(crate) fn or_command(self, comparing: Option<Encode<'a>>) -> Self {
        Self { comparing, ..self }
    }

    fn key(&self) -> Result<&str> {
        let key = self.keys.first().copied();
        key.ok_or_else(|| Error::new(ErrorKind::Backend, "the script has no key"))
    }

    fn commands<'b>(&self, encode: Encode<'b>) -> Commands<'b> {
        Commands::one(encode).of_size(self.args.size())
    }

    fn encode(&self, out: &mut Encoder<'_>, script: [&str; 2]) {
        out.begin(3 + self.keys.len() + self.args.count());
        for it in script {
            out.arg(it);
        }
        out.number(self.keys.len() as u64);
        for it in self.keys {
            out.arg(it);
        }
        self.args.encode(out);
    }
}
