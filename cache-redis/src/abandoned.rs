//! Connections that were given up, which the server may still read from.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use cache_core::{ErrorKind, Result};
use redis::{Pipeline, Value};

use crate::{address::Address, command::command, error};

/// Connections of this process to one server that were given up with calls under way. Their socket
/// was reset, but what the server's kernel, or a proxy on the way, had received by then may still
/// be done. So the server ends them before another connection is used: otherwise a write that its
/// caller has given up on could overwrite what was acknowledged later.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    clients: Mutex<Vec<Client>>,
    /// Whether there are some, for calls, which should not wait for a lock.
    any: AtomicBool,
}

/// A connection as the server knows it. An id alone could be another connection's after a restart
/// of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    id: String,
    address: String,
}

/// Those that were given up last. The server itself ends older ones.
const MOST: usize = 256;

impl Abandoned {
    /// Those of a server. All stores and runtimes of the process have the same, as they may share
    /// keys.
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
        if clients.len() >= MOST {
            clients.remove(0);
        }
        clients.push(client);
        self.any.store(true, Ordering::Release);
    }

    /// Whether there are some, which have to be ended before anything else is sent.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// What has the server end them, if there are some.
    pub(crate) fn kills(&self) -> Option<(Vec<Client>, Pipeline)> {
        let clients = self.lock().clone();
        let mut pipeline = Pipeline::with_capacity(clients.len());
        for it in &clients {
            let words = ["CLIENT", "KILL", "ID", &it.id, "ADDR", &it.address];
            pipeline.add_command(command(&words));
        }
        (!clients.is_empty()).then_some((clients, pipeline))
    }

    /// Notes the server's answers to that. Returns false if the server does not let this user do
    /// it: it may let another one.
    pub(crate) fn ended(&self, clients: &[Client], answers: &[Value]) -> Result<bool> {
        for it in answers {
            let Value::ServerError(it) = it else { continue };
            let error = error::from_reply(it);
            // One that is loading its data, say, may still do it later.
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
    /// Reads what `CLIENT INFO` says; nothing if no other connection could be told from it after a
    /// restart of the server.
    pub(crate) fn of(info: &str) -> Option<Self> {
        let field = |name: &str| {
            let words = info.split_ascii_whitespace();
            words.filter_map(|it| it.split_once('=')).find(|it| it.0 == name).map(|it| it.1)
        };
        let is_id = |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        // All clients over a unix socket have the same address, with the port 0, and ids begin anew
        // with the server: it could be another client.
        let is_own = |it: &&str| !it.starts_with('/') && !it.ends_with(":0");
        let (id, address) = (field("id").filter(is_id)?, field("addr").filter(is_own)?);
        Some(Self { id: id.into(), address: address.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_read_from_what_the_server_says_of_it() {
        let info = "id=7 addr=127.0.0.1:5 laddr=127.0.0.1:6379 fd=8 name=id=9 age=0\n";
        let client = Client { id: "7".into(), address: "127.0.0.1:5".into() };
        assert_eq!(Client::of(info), Some(client));
        for odd in [
            "",
            "id= addr=1",
            "id=x addr=1",
            "id=7",
            "name=id=7 addr=1",
            "id=7 addr=/run/redis.sock:0",
            "id=7 addr=?:0",
        ] {
            assert_eq!(Client::of(odd), None, "{odd}");
        }
    }

    #[test]
    fn stores_of_one_server_share_what_is_abandoned() {
        let address = |port| Address::Tcp { host: "abandoned.example".into(), port };
        let (one, other) = (Abandoned::at(&address(1)), Abandoned::at(&address(2)));
        assert!(Arc::ptr_eq(&one, &Abandoned::at(&address(1))));
        for id in 0..MOST + 5 {
            one.add(Client { id: id.to_string(), address: String::new() });
        }
        assert!(Abandoned::at(&address(1)).any() && !other.any());
        assert_eq!(one.lock().len(), MOST);
    }

    #[test]
    fn user_who_may_not_end_clients_leaves_them_to_another_user() {
        let address = Address::Tcp { host: "abandoned.example".into(), port: 3 };
        let abandoned = Abandoned::at(&address);
        abandoned.add(Client { id: "7".into(), address: "127.0.0.1:5".into() });
        let (clients, _) = abandoned.kills().unwrap();
        let refused = redis::parse_redis_value(b"-NOPERM no permissions\r\n").unwrap();
        assert!(!abandoned.ended(&clients, &[refused]).unwrap() && abandoned.any());
        assert!(abandoned.ended(&clients, &[Value::Int(1)]).unwrap() && !abandoned.any());
    }
}
