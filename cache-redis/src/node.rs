//! One server: its connections, and the breaker that spares it and its callers.

use std::{pin::pin, sync::Arc};

use cache_core::{
    ErrorKind, Result,
    layers::{Breaker, BreakerState},
};
use redis::{Pipeline, Value};

use crate::{address::Address, command::Commands, error, line::Line, reply, slot};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    lines: Vec<Line>,
    /// A single server has the one that is around the whole store.
    breaker: Option<Arc<Breaker>>,
}

impl Node {
    pub(crate) fn new(address: Address, lines: Vec<Line>, breaker: Option<Arc<Breaker>>) -> Self {
        Self { address, lines, breaker }
    }

    /// Which connection a key takes: always the same one, so that what is sent about it keeps its order.
    pub(crate) fn line_of(&self, key: &str) -> usize {
        slot::line(key, self.lines.len())
    }

    /// Asks about one key.
    pub(crate) async fn ask(&self, key: &str, commands: &Commands) -> Result<Value> {
        self.past_breaker(self.lines[self.line_of(key)].ask(commands)).await
    }

    /// Asks about a key that is on its way here.
    pub(crate) async fn ask_arriving(&self, key: &str, commands: &Commands) -> Result<Value> {
        self.past_breaker(self.lines[self.line_of(key)].ask_arriving(commands)).await
    }

    /// Sends many commands on one connection; a reply for each.
    pub(crate) async fn send(&self, line: usize, pipeline: &Pipeline) -> Result<Vec<Value>> {
        self.past_breaker(self.lines[line].send(pipeline)).await
    }

    async fn past_breaker<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(breaker) = &self.breaker else { return pin!(call).await };
        pin!(breaker.run(call)).await.map_err(|it| error::at(it, &self.address))
    }

    /// See [`Line::renew`].
    pub(crate) fn renew(&self) {
        self.lines.iter().for_each(Line::renew);
    }

    /// Whether it is worth a try.
    pub(crate) fn is_tried(&self) -> bool {
        self.breaker.as_ref().is_none_or(|it| it.state() != BreakerState::Open)
    }

    /// Asks the server about itself, whatever its breaker says.
    pub(crate) async fn ask_itself(&self, words: &[&str]) -> Result<Value> {
        match self.lines[0].ask(&Commands::of(words)).await? {
            Value::ServerError(it) => Err(error::at(error::refused(&it), &self.address)),
            value => Ok(value),
        }
    }

    /// Whether it says itself that it takes writes. One that may not be asked, by its ACL, is believed.
    pub(crate) async fn is_leader(&self) -> Result<bool> {
        let role = match self.ask_itself(&["ROLE"]).await {
            Ok(role) => reply::list(role)?.into_iter().next().unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Backend => return Ok(true),
            Err(error) => return Err(error),
        };
        Ok(reply::text(role)?.as_deref() == Some("master"))
    }
}
