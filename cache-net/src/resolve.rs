//! Name resolution: host name to addresses.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use cache_core::store::{PerProcess, Threads};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

/// Name resolution by the system blocks. tokio would use a thread of its pool, and panics if it
/// cannot start one.
static LOOKUPS: LazyLock<Lookups> = LazyLock::new(|| Lookups::new(8));

/// Returns the addresses of a host in the order of the system. An IP address needs no thread.
///
/// # Errors
/// The error of the system; also if no thread can be started.
///
/// # Cancel safety
/// The lookup continues on its thread.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let found = cache_net::resolve("127.0.0.1", 6379).await?;
/// assert_eq!(found, ["127.0.0.1:6379".parse().unwrap()]);
/// assert!(!cache_net::resolve("localhost", 6379).await?.is_empty());
/// # Ok(()) }
/// ```
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let resolve =
        |(host, port): &Name| (host.as_str(), *port).to_socket_addrs().map(Vec::from_iter);
    LOOKUPS.find(host, port, resolve).await.map_err(|(kind, what)| io::Error::new(kind, what))
}

/// The lookups in progress. Calls for the same name share one, so that a name whose DNS server does
/// not respond occupies one thread.
struct Lookups {
    threads: Arc<Threads>,
    in_progress: Arc<InProgress>,
}

#[derive(Default)]
struct InProgress(PerProcess<Mutex<HashMap<Name, Lookup>>>);

type Name = (String, u16);
type Lookup = Shared<BoxFuture<'static, Found>>;
type Found = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

/// Removes a lookup when its thread has finished it.
struct RemoveWhenDone<'a>(&'a InProgress, &'a Name);

impl Lookups {
    fn new(threads: usize) -> Self {
        Self { threads: Arc::new(Threads::new("resolver", threads)), in_progress: Arc::default() }
    }

    async fn find(
        &self,
        host: &str,
        port: u16,
        resolve: impl FnOnce(&Name) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> Found {
        let name = (host.to_owned(), port);
        let begin = || self.connect_in_background(name.clone(), resolve);
        let lookup = self.in_progress.lock().entry(name.clone()).or_insert_with(begin).clone();
        let found = lookup.clone().await;
        // If no thread could be started, the lookup was not removed.
        let mut in_progress = self.in_progress.lock();
        if in_progress.get(&name).is_some_and(|it| it.ptr_eq(&lookup)) {
            in_progress.remove(&name);
        }
        found
    }

    fn connect_in_background(
        &self,
        name: Name,
        resolve: impl FnOnce(&Name) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> Lookup {
        let (threads, in_progress) = (Arc::clone(&self.threads), Arc::clone(&self.in_progress));
        let lookup = async move {
            let found = threads.run(move || {
                let _guard = RemoveWhenDone(&in_progress, &name);
                resolve(&name).map_err(|it| (it.kind(), it.to_string()))
            });
            found.await.map_err(|it| (io::ErrorKind::Other, it.message().to_owned()))?
        };
        lookup.boxed().shared()
    }
}

impl InProgress {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Lookup>> {
        self.0.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RemoveWhenDone<'_> {
    fn drop(&mut self) {
        let done = self.0.lock().remove(self.1);
        // After the lock is released.
        drop(done);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        pin::pin,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test]
    async fn name_that_does_not_resolve_occupies_one_thread_for_all_callers() {
        let (lookups, begun) = (Lookups::new(2), Arc::new(AtomicUsize::new(0)));
        let mut senders = Vec::new();
        let found = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1))];
        for _ in 0..10 {
            let (send, receive) = mpsc::channel::<()>();
            let begun = Arc::clone(&begun);
            let hangs = move |_: &Name| {
                begun.fetch_add(1, Ordering::SeqCst);
                let _ = receive.recv();
                Ok(Vec::new())
            };
            let mut call = pin!(lookups.find("hangs.example", 1, hangs));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            senders.push(send);
            let other = found.clone();
            assert_eq!(lookups.find("other.example", 1, |_| Ok(other)).await, Ok(found.clone()));
        }
        let last = lookups.find("hangs.example", 1, |_| Ok(Vec::new()));
        drop(senders);
        assert!(last.await.unwrap().is_empty());
        assert!(lookups.in_progress.lock().is_empty());
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}
