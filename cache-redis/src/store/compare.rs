//! Writes that have an effect only if the key still has the expected entry: by a command if the
//! server has one, otherwise by a script.

use cache_core::{
    ErrorKind, Result,
    store::{Expected, Stamp, TtlUpdate},
};

use super::{Redis, commands::millis};
use crate::{
    encoder::{Encode, Encoder},
    reply,
    resp::Reply,
    script::{self, ScriptCall},
};

impl Redis {
    pub(super) async fn delete_if_seen(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let command = |out: &mut Encoder<'_>| {
            out.begin(3).arg("DELIFEQ").arg(key).arg(seen.value);
        };
        let stamp = stamp(seen);
        let (keys, args) = ([key], [seen.value, stamp.as_bytes()]);
        let call = ScriptCall::new(&script::COMPARE_AND_DELETE, &keys, &args);
        self.compare(&call.or_command(comparing(seen, &command))).await
    }

    pub(super) async fn set_if_seen(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: &[u8],
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let (keeps, millis) = match lifetime {
            TtlUpdate::Keep => (true, None),
            TtlUpdate::New(expiry) => (false, millis(expiry)),
        };
        let command = |out: &mut Encoder<'_>| {
            let options = usize::from(keeps) + 2 * usize::from(millis.is_some());
            out.begin(5 + options).arg("SET").arg(key).arg(value).arg("IFEQ").arg(seen.value);
            if keeps {
                out.arg("KEEPTTL");
            }
            if let Some(millis) = millis {
                out.arg("PX").number(millis);
            }
        };
        let lifetime = match millis {
            _ if keeps => "keep".to_owned(),
            millis => millis.map(|it| it.to_string()).unwrap_or_default(),
        };
        let stamp = stamp(seen);
        let args = [seen.value, stamp.as_bytes(), value, lifetime.as_bytes()];
        let keys = [key];
        let call = ScriptCall::new(&script::COMPARE_AND_SET, &keys, &args);
        let res = self.compare(&call.or_command(comparing(seen, &command))).await;
        self.limit().record_reply(value.len(), &res);
        res
    }

    async fn compare(&self, call: &ScriptCall<'_>) -> Result<bool> {
        match self.pool()?.run_script(call).await {
            Ok(Reply::Okay) => Ok(true),
            Ok(Reply::Nil) => Ok(false),
            Ok(answer) => reply::flag(&answer),
            // The reply to the commands. A value that is not a string never matches.
            Err(error) if error.kind() == ErrorKind::WrongType => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Returns the command if it can be used: no command compares the expiry.
fn comparing<'a>(seen: Expected<'_>, command: Encode<'a>) -> Option<Encode<'a>> {
    seen.stamp.is_none().then_some(command)
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
