//! Connections that were abandoned although the server may still read from them.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use cache_core::{ErrorKind, Result};

use crate::{address::Address, encoder::Encoder, error, resp::Reply};

/// The connections of this process to one server that were abandoned while calls waited for
/// replies. Their sockets were reset, but the server may still execute what its kernel, or a proxy,
/// had received by then. Therefore, the server ends them before another connection is used:
/// otherwise an abandoned write could overwrite a write that was acknowledged later.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    clients: Mutex<Vec<Client>>,
    /// Whether there are any. Calls read this without a lock.
    any: AtomicBool,
}

/// A connection in the server's terms. After a restart of the server, another connection may have
/// the same number, but not the same address as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    id: String,
    address: String,
}

/// Only the last ones are kept. The server itself has ended older ones.
const MAX_CLIENTS: usize = 256;

impl Abandoned {
    /// Returns those of a server. All stores and runtimes of the process share them, because they
    /// may share keys.
    pub(crate) fn at(address: &Address) -> Arc<Self> {
        type All = Mutex<HashMap<Address, Weak<Abandoned>>>;
        static ALL: LazyLock<All> = LazyLock::new(All::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = all.get(address).and_then(Weak::upgrade) {
            return it;
        }
        all.retain(|_, it| it.strong_count() > 0);
        let res = Arc::new(Self::default());
        all.insert(address.clone(), Arc::downgrade(&res));
        res
    }

    pub(crate) fn add(&self, client: Client) {
        let mut clients = self.lock();
        if clients.len() >= MAX_CLIENTS {
            clients.remove(0);
        }
        clients.push(client);
        self.any.store(true, Ordering::Release);
    }

    /// Whether there are connections that the server must end before any other command.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        self.lock().clone()
    }

    /// Records the replies to the [kills](Client::kill). Returns false if the user lacks the
    /// permission: another user may have it.
    pub(crate) fn killed(&self, clients: &[Client], replies: &[Reply]) -> Result<bool> {
        for it in replies {
            let Reply::Error(it) = it else { continue };
            let error = error::from_reply(it);
            // The server may do it later, for example after it has loaded its data.
            if error.kind() == ErrorKind::Unavailable {
                return Err(error);
            }
            return Ok(false);
        }
        let mut left = self.lock();
        left.retain(|it| !clients.contains(it));
        self.any.store(!left.is_empty(), Ordering::Release);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Parses the reply to `CLIENT INFO`. Returns `None` if another connection could have the same
    /// name after a restart of the server.
    pub(crate) fn parse(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let words = info.split_ascii_whitespace();
            words.filter_map(|it| it.split_once('=')).find(|it| it.0 == name).map(|it| it.1)
        };
        let is_id = |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        // All clients of a unix socket have the same address, with port 0, and a restarted server
        // counts from 1 again.
        let is_own = |it: &&str| !it.starts_with('/') && !it.ends_with(":0");
        let (id, address) = (field("id").filter(is_id)?, field("addr").filter(is_own)?);
        Some(Self { id: id.into(), address: address.into() })
    }

    /// Encodes the command that ends the connection.
    pub(crate) fn kill(&self, out: &mut Encoder<'_>) {
        out.command(&["CLIENT", "KILL", "ID", &self.id, "ADDR", &self.address]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ErrorReply;

    #[test]
    fn client_is_parsed_from_client_info() {
        let info = "id=7 addr=127.0.0.1:5 laddr=127.0.0.1:6379 fd=8 name=id=9 age=0\n";
        let client = Client { id: "7".into(), address: "127.0.0.1:5".into() };
        assert_eq!(Client::parse(info), Some(client));
        for odd in [
            "",
            "id= addr=1",
            "id=x addr=1",
            "id=7",
            "name=id=7 addr=1",
            "id=7 addr=/run/redis.sock:0",
            "id=7 addr=?:0",
        ] {
            assert_eq!(Client::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn stores_of_one_server_share_what_is_abandoned() {
        let address = |port| Address::Tcp { host: "abandoned.example".into(), port };
        let (one, other) = (Abandoned::at(&address(1)), Abandoned::at(&address(2)));
        assert!(Arc::ptr_eq(&one, &Abandoned::at(&address(1))));
        for id in 0..MAX_CLIENTS + 5 {
            one.add(Client { id: id.to_string(), address: String::new() });
        }
        assert!(Abandoned::at(&address(1)).any() && !other.any());
        assert_eq!(one.lock().len(), MAX_CLIENTS);
    }

    #[test]
    fn user_who_may_not_end_clients_leaves_them_to_another_user() {
        let address = Address::Tcp { host: "abandoned.example".into(), port: 3 };
        let abandoned = Abandoned::at(&address);
        abandoned.add(Client { id: "7".into(), address: "127.0.0.1:5".into() });
        let clients = abandoned.clients();
        let refused = Reply::Error(ErrorReply::new(b"NOPERM no permissions"));
        assert!(!abandoned.killed(&clients, &[refused]).unwrap() && abandoned.any());
        assert!(abandoned.killed(&clients, &[Reply::Int(1)]).unwrap() && !abandoned.any());
    }
}
