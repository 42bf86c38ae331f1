//! Writes that have an effect only if the key still has the expected entry: by a command if the
//! server has one, otherwise by a script.

use cache_core::{
    ErrorKind, Result,
    store::{Expected, Stamp, TtlUpdate},
};

use super::commands::millis;
use crate::{
    encoder::{Encode, Encoder},
    reply,
    resp::Reply,
    script::{self, Args, ScriptCall},
};

/// A write with its condition. It encodes the arguments itself: as strings, they would enlarge the
/// future of the call.
pub(super) struct Compare<'a> {
    key: [&'a str; 1],
    seen: Expected<'a>,
    write: Write<'a>,
}

enum Write<'a> {
    Delete,
    /// The value with its lifetime in milliseconds, if it ends.
    Set(&'a [u8], Option<u64>),
    /// The value. The lifetime remains.
    SetKeepingTtl(&'a [u8]),
}

impl<'a> Compare<'a> {
    pub(super) fn and_delete(key: &'a str, seen: Expected<'a>) -> Self {
        Self { key: [key], seen, write: Write::Delete }
    }

    pub(super) fn and_set(
        key: &'a str,
        seen: Expected<'a>,
        value: &'a [u8],
        lifetime: TtlUpdate,
    ) -> Self {
        let write = match lifetime {
            TtlUpdate::Keep => Write::SetKeepingTtl(value),
            TtlUpdate::New(expiry) => Write::Set(value, millis(expiry)),
        };
        Self { key: [key], seen, write }
    }

    /// Returns the call of the script, or of [`command`](Self::command), which must be given, if it
    /// can be used: no command compares the expiry.
    pub(super) fn call<'b>(&'b self, command: Encode<'b>) -> ScriptCall<'b> {
        let script = match self.write {
            Write::Delete => &script::COMPARE_AND_DELETE,
            Write::Set(..) | Write::SetKeepingTtl(_) => &script::COMPARE_AND_SET,
        };
        let command = self.seen.stamp.is_none().then_some(command);
        ScriptCall::new(script, &self.key, self).or_command(command)
    }

    pub(super) fn command(&self, out: &mut Encoder<'_>) {
        let ([key], seen) = (self.key, self.seen.value);
        match self.write {
            Write::Delete => {
                out.begin(3).arg("DELIFEQ").arg(key).arg(seen);
            }
            Write::SetKeepingTtl(value) => {
                out.begin(6).arg("SET").arg(key).arg(value).arg("IFEQ").arg(seen).arg("KEEPTTL");
            }
            Write::Set(value, millis) => {
                let options = 2 * usize::from(millis.is_some());
                out.begin(5 + options).arg("SET").arg(key).arg(value).arg("IFEQ").arg(seen);
                if let Some(millis) = millis {
                    out.arg("PX").number(millis);
                }
            }
        }
    }
}

impl Args for Compare<'_> {
    fn count(&self) -> usize {
        match self.write {
            Write::Delete => 2,
            Write::Set(..) | Write::SetKeepingTtl(_) => 4,
        }
    }

    fn size(&self) -> usize {
        let value = match self.write {
            Write::Delete => 0,
            Write::Set(value, _) | Write::SetKeepingTtl(value) => value.len(),
        };
        self.seen.value.len() + value
    }

    fn encode(&self, out: &mut Encoder<'_>) {
        out.arg(self.seen.value).arg(stamp(self.seen));
        match self.write {
            Write::Delete => out,
            Write::SetKeepingTtl(value) => out.arg(value).arg("keep"),
            Write::Set(value, None) => out.arg(value).arg(""),
            Write::Set(value, Some(millis)) => out.arg(value).number(millis),
        };
    }
}

/// Returns whether the entry was as expected.
pub(super) fn was_as_expected(answer: Result<Reply>) -> Result<bool> {
    match answer {
        Ok(Reply::Okay) => Ok(true),
        Ok(Reply::Nil) => Ok(false),
        Ok(answer) => reply::flag(&answer),
        // The reply to the commands. A value that is not a string never matches.
        Err(error) if error.kind() == ErrorKind::WrongType => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the absolute expiry to compare, or an empty string to ignore the expiry.
fn stamp(seen: Expected<'_>) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "as Lua's numbers do: both sides are rounded alike"
    )]
    let rounded = |it: Stamp| format!("{:.0}", it.0 as f64);
    seen.stamp.map(rounded).unwrap_or_default()
}
