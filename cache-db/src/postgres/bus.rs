//! Messages between processes, by `NOTIFY` and `LISTEN`. No table is used.
//!
//! A notification is a number, a colon and the text in PostgreSQL's format `escape`, or a number
//! and `!` for a text that is too long.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Error, Result,
    store::{Bus, BusMessage, BusReceiver, PerRuntime, current_runtime},
};

use super::{
    connector::Connector,
    detached::{self, Caller},
    error,
    health::Health,
    listener::{Channel, listen},
    notification::unescape,
    param::Param,
    slot::Slot,
    statements::Statement,
};

/// The bus of a server.
pub(crate) struct ServerBus {
    connector: Arc<Connector>,
    /// The connections that publish. The store closes them.
    slots: Arc<PerRuntime<Slot>>,
}

/// The begin of a channel's name, with the version of the messages; a hash follows, because a name
/// of PostgreSQL has at most 63 bytes.
const CHANNEL: &str = "cache_bus_1_";
/// Messages of one statement.
const MESSAGES: usize = 500;

impl ServerBus {
    pub(crate) fn new(connector: &Connector, slots: Arc<PerRuntime<Slot>>) -> Self {
        Self { connector: Arc::new(connector.without_table()), slots }
    }

    fn slot(&self) -> Result<Arc<Slot>> {
        self.slots.here(|runtime| {
            let connector = Arc::clone(&self.connector);
            let health = Arc::new(Health::new(connector.clock.clone()));
            // All commits that notify take one lock of the database. Shorter than the deadline, so
            // that the server reports a lock before the call times out.
            let lock_wait = connector.plan.plan.deadline / 4 * 3;
            Arc::new(Slot::new(connector, health, runtime.clone(), lock_wait))
        })
    }
}

#[async_trait]
impl Bus for ServerBus {
    async fn publish(&self, channel: &str, messages: &[&str]) -> Result<()> {
        let name = name(channel);
        for chunk in messages.chunks(MESSAGES) {
            let list = chunk.iter().map(|it| Bytes::copy_from_slice(it.as_bytes())).collect();
            let params = [Param::Text(name.clone()), Param::List(list)];
            let (slot, connector) = (self.slot()?, Arc::clone(&self.connector));
            let call = |caller: Arc<Caller>| async move {
                let connection = slot.connected().await?;
                let statement = Statement::Publish;
                let sent = slot.execute(connection, None, statement, &params, &caller).await?;
                sent.ok_or_else(|| error::locked(statement, &connector.address))
            };
            detached::run(&current_runtime()?, call).await?;
        }
        Ok(())
    }

    async fn listen(&self, channel: &str, receiver: BusReceiver) -> Error {
        let name = name(channel);
        let channel = Channel { name: "$1::text", condition: "true", params: &[&name] };
        let receive = Arc::clone(&receiver);
        let report = move |payload: &str| match text(payload) {
            Some(text) => receive(BusMessage::Text(&text)),
            None => receive(BusMessage::Lost),
        };
        let ready = || receiver(BusMessage::Ready);
        let heartbeat = |it| receiver(BusMessage::Heartbeat(it));
        listen(&self.connector, &channel, ready, heartbeat, Arc::new(report)).await
    }
}

/// Returns the text of a notification; `None` if it was too long or cannot be read.
fn text(payload: &str) -> Option<String> {
    let (number, text) = payload.split_once(':')?;
    number.parse::<u64>().ok()?;
    let mut all = unescape(text)?;
    let text = all.pop().filter(|_| all.is_empty())?;
    String::from_utf8(text).ok()
}

/// Returns the name of a channel at the server, which is the same in all programs: FNV-1a.
fn name(channel: &str) -> String {
    let hash =
        channel.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
        });
    format!("{CHANNEL}{hash:032x}")
}

impl fmt::Debug for ServerBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBus").field("server", &self.connector.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_read_or_lost() {
        for (payload, expected) in [
            ("1:hello: world", Some("hello: world")),
            ("23:", Some("")),
            ("1:a\\\\,\\303\\274", Some("a\\,ü")),
            ("1!", None),
            ("", None),
            ("hello", None),
            ("x:hello", None),
            ("1:a\\,b", None),
            ("1:\\377", None),
        ] {
            assert_eq!(text(payload).as_deref(), expected, "{payload}");
        }
    }

    /// Programs that were built by different compilers must agree on it. The expected hashes are
    /// those of the authors of FNV.
    #[test]
    fn channel_has_one_name_in_all_programs() {
        assert_eq!(name(""), "cache_bus_1_6c62272e07bb014262b821756295c58d");
        assert_eq!(name("a"), "cache_bus_1_d228cb696f1a8caf78912b704e4a8964");
    }
}
