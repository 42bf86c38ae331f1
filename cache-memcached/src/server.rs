//! One server: what all runtimes know of it, and one runtime's way to it.

use std::{pin::pin, sync::Arc};

use async_trait::async_trait;
use cache_core::{Error, ErrorKind, Result, layers::Breaker};
use memcache::exp::{MetaCommand, MetaResponse};

use crate::{
    address::Address,
    error,
    generation::{Generations, Names},
    transport::Transport,
};

/// What key and bookkeeping take of an item, at the most.
pub(crate) const ITEM_OVERHEAD: u64 = 512;

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) generations: Arc<Generations>,
    /// Of one of several. Open, the server is ejected: nobody asks it but a probe now and then.
    pub(crate) breaker: Option<Arc<Breaker>>,
}

/// The way of one runtime to it, past its breaker.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) server: Arc<Server>,
    transport: Box<dyn Transport>,
}

impl Member {
    pub(crate) fn new(server: Arc<Server>, transport: impl Transport) -> Self {
        Self { server, transport: Box::new(transport) }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.server.address
    }

    /// Whether it would be asked.
    pub(crate) fn is_up(&self) -> bool {
        self.server.breaker.as_ref().is_none_or(|it| it.admits())
    }

    /// Under which names things are kept there.
    pub(crate) async fn names(&self, key: &str) -> Result<Names> {
        let generations = &self.server.generations;
        if !self.transport.is_whole() {
            // Before the call that would find it out: what it writes under a generation that is lost would be lost with it.
            generations.doubt();
        }
        match generations.remembered_names(key) {
            Some(names) => Ok(names),
            // It is seldom, and its future is large.
            None => Box::pin(generations.names(key, self, self.address())).await,
        }
    }

    /// Asks whether it serves, and takes values of this length, whatever its breaker says.
    pub(crate) async fn check(&self, max_value_len: usize) -> Result<()> {
        self.transport.ask(crate::command::has("-:check")).await?;
        let largest = self.transport.item_size().await?;
        if max_value_len as u64 + ITEM_OVERHEAD <= largest {
            return Ok(());
        }
        // Of a value that only the server finds too large, it removes the old one whatever was asked of it.
        let what = format!(
            "the server takes items of {largest} bytes (its option -I), key and all; options.max_value_bytes allows values of {max_value_len}"
        );
        Err(error::at(Error::new(ErrorKind::Backend, what), self.address()))
    }

    async fn past_breaker<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(breaker) = &self.server.breaker else { return pin!(call).await };
        pin!(breaker.run(call)).await.map_err(|it| error::at(it, self.address()))
    }
}

#[async_trait]
impl Transport for Member {
    async fn ask(&self, command: MetaCommand) -> Result<MetaResponse> {
        self.past_breaker(self.transport.ask(command)).await
    }

    async fn ask_all(&self, commands: Vec<MetaCommand>) -> Result<Vec<MetaResponse>> {
        self.past_breaker(self.transport.ask_all(commands)).await
    }

    fn is_whole(&self) -> bool {
        self.transport.is_whole()
    }

    async fn item_size(&self) -> Result<u64> {
        self.transport.item_size().await
    }

    async fn flush_all(&self) -> Result<()> {
        self.past_breaker(self.transport.flush_all()).await
    }
}
