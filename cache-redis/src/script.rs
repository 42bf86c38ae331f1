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

impl Pool {
    /// Runs a script on the leader of its first key: first by its digest, then, if the server does
    /// not know the digest, by its source. If a comparing command is given and the server has it,
    /// the command is executed instead.
    pub(crate) async fn run_script(
        self: &Arc<Self>,
        script: &Script,
        comparing: Option<Encode<'_>>,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Reply> {
        let key =
            *keys.first().ok_or_else(|| Error::new(ErrorKind::Backend, "the script has no key"))?;
        let known = |out: &mut Encoder<'_>| match comparing {
            Some(encode) if out.has_compare => encode(out),
            _ => call(out, ["EVALSHA", &script.digest], keys, args),
        };
        let size = args.iter().map(|it| it.len()).sum();
        let known = Commands::one(&known).of_size(size).newer_if(comparing.is_some());
        let answer = self.execute(key, ReadTarget::Leader, &known).await?;
        match answer {
            // `NOSCRIPT`: the server restarted or was promoted, and has executed nothing.
            Reply::Error(it) if it.code() == NO_SCRIPT => {
                let whole = |out: &mut Encoder<'_>| call(out, ["EVAL", &script.code], keys, args);
                let whole = Commands::one(&whole).of_size(size);
                Box::pin(self.execute(key, ReadTarget::Leader, &whole)).await
            }
            Reply::Error(it) => Err(error::from_reply(&it)),
            answer => Ok(answer),
        }
    }
}

fn call(out: &mut Encoder<'_>, script: [&str; 2], keys: &[&str], args: &[&[u8]]) {
    out.begin(3 + keys.len() + args.len());
    for it in script {
        out.arg(it);
    }
    out.number(keys.len() as u64);
    for it in keys {
        out.arg(it);
    }
    for it in args {
        out.arg(it);
    }
}
