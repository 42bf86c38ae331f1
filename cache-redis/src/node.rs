//! One server: its connections and its breaker.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cache_core::{
    ErrorKind, Result,
    layer::{Breaker, BreakerState},
};
use futures_util::future::join_all;
use redis::{Pipeline, Value};

use crate::{
    abandoned::Abandoned, address::Address, command::Commands, connect::Up, error, line::Line,
    reply, slot, stand_in::StandIn,
};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    lines: Vec<Line>,
    /// For each line.
    stand_ins: Vec<StandIn>,
    abandoned: Arc<Abandoned>,
    /// The server does not let this user end connections.
    may_not_end: AtomicBool,
    /// A single server is protected by the breaker of its store.
    breaker: Option<Arc<Breaker>>,
}

impl Node {
    pub(crate) fn new(address: Address, lines: Vec<Line>, breaker: Option<Arc<Breaker>>) -> Self {
        let stand_ins = (0..lines.len()).map(StandIn::new).collect();
        let abandoned = Abandoned::at(&address);
        let may_not_end = AtomicBool::new(false);
        Self { address, lines, stand_ins, abandoned, may_not_end, breaker }
    }

    /// Returns the connection for a key. It is always the same, so that commands about one key keep
    /// their order.
    pub(crate) fn connection_of(&self, key: &str) -> usize {
        slot::connection_index(key, self.lines.len())
    }

    /// Executes commands about one key.
    pub(crate) async fn execute(&self, key: &str, commands: &Commands) -> Result<Value> {
        self.past_breaker(async {
            let (line, up) = self.connected(self.connection_of(key)).await?;
            line.ask(&up, commands).await
        })
        .await
    }

    /// Executes commands about a key that migrates to this server, after `ASKING`.
    pub(crate) async fn execute_asking(&self, key: &str, commands: &Commands) -> Result<Value> {
        self.past_breaker(async {
            let (line, up) = self.connected(self.connection_of(key)).await?;
            line.ask_arriving(&up, commands).await
        })
        .await
    }

    /// Sends many commands on one connection. Returns a reply for each.
    pub(crate) async fn send(&self, line: usize, pipeline: &Pipeline) -> Result<Vec<Value>> {
        self.past_breaker(async {
            let (line, up) = self.connected(line).await?;
            line.send(&up, pipeline).await
        })
        .await
    }

    async fn past_breaker<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(breaker) = &self.breaker else { return pin!(call).await };
        pin!(breaker.run(call)).await.map_err(|it| error::at(it, &self.address))
    }

    /// The connection for the keys of a line. Nothing is sent on it before the server has ended
    /// those that were given up.
    async fn connected(&self, own: usize) -> Result<(&Line, Arc<Up>)> {
        let line = &self.lines[self.stand_ins[own].number()];
        let is_own = std::ptr::eq(line, &raw const self.lines[own]);
        match line.ready() {
            Some(up) if is_own && !self.has_to_end() => Ok((line, up)),
            _ => Box::pin(self.connect(own)).await,
        }
    }

    #[cold]
    async fn connect(&self, own: usize) -> Result<(&Line, Arc<Up>)> {
        let (line, up) = self.own_or_stand_in(own).await?;
        if self.has_to_end()
            && let Some((clients, pipeline)) = self.abandoned.kills()
        {
            let answers = line.send(&up, &pipeline).await?;
            let res = self.abandoned.ended(&clients, &answers);
            if !res.map_err(|it| error::at(it, &self.address))? {
                self.may_not_end.store(true, Ordering::Release);
            }
        }
        Ok((line, up))
    }

    /// Whether there are connections that this store may end, and has to before anything else is
    /// sent.
    fn has_to_end(&self) -> bool {
        self.abandoned.any() && !self.may_not_end.load(Ordering::Acquire)
    }

    /// A line, or another one that is there while the server does not let this one in: it may allow
    /// fewer connections. Keys go back to their own when the server has done what was sent about
    /// them on the other, so that it keeps its order.
    async fn own_or_stand_in(&self, own: usize) -> Result<(&Line, Arc<Up>)> {
        let (stand_in, own_line) = (&self.stand_ins[own], &self.lines[own]);
        loop {
            let number = stand_in.number();
            if number != own {
                let line = &self.lines[number];
                own_line.begin();
                match line.up_now() {
                    Some(up) if own_line.up_now().is_none() => {
                        return Ok((line, line.up().await.unwrap_or(up)));
                    }
                    up => self.leave(own, number, up).await?,
                }
                continue;
            }
            let error = match own_line.up().await {
                Ok(up) => return Ok((own_line, up)),
                Err(error) => error,
            };
            let mut others = self.lines.iter().enumerate().filter(|it| it.0 != own);
            match others.find_map(|(i, line)| Some((i, line, line.up_now()?))) {
                Some((i, line, up)) if stand_in.take(i) => return Ok((line, up)),
                Some(_) => {}
                None => return Err(error),
            }
        }
    }

    /// Has the keys of a line go back to it from this other one, once all is done that was sent
    /// about them there. Calls that were dropped count, too; those about other keys need not come
    /// to an end.
    async fn leave(&self, own: usize, number: usize, up: Option<Arc<Up>>) -> Result<()> {
        let (stand_in, line) = (&self.stand_ins[own], &self.lines[number]);
        let begin = || line.settled(up.as_ref());
        let Some((stay, settled)) = stand_in.settled(number, begin) else { return Ok(()) };
        let outcome = settled.outcome().await;
        let is_over = up.is_none_or(|it| it.is_over());
        if is_over {
            // It notes what was under way on the one that has ended.
            line.begin();
        }
        if is_over || outcome.is_ok() {
            stand_in.end(stay);
            return Ok(());
        }
        stand_in.stay(stay);
        outcome
    }

    /// Makes the next call connect again.
    pub(crate) fn reconnect(&self) {
        self.lines.iter().for_each(Line::renew);
    }

    /// Whether the breaker admits calls.
    pub(crate) fn is_available(&self) -> bool {
        self.breaker.as_ref().is_none_or(|it| it.state() != BreakerState::Open)
    }

    /// Sends a command about the server itself, without its breaker.
    pub(crate) async fn query(&self, words: &[&str]) -> Result<Value> {
        let (line, up) = self.connected(0).await?;
        self.checked(line.ask(&up, &Commands::of(words)).await?)
    }

    /// Checks that the server answers on each of its connections.
    pub(crate) async fn check(&self) -> Result<()> {
        let answers = join_all(self.lines.iter().map(|it| self.check_line(it))).await;
        let there = answers.iter().filter(|it| it.is_ok()).count();
        let failed = answers.into_iter().find_map(Result::err);
        match failed {
            Some(it) if there > 0 => {
                let count = format!("{there} of {}", self.lines.len());
                Err(it.with_context("connections", count))
            }
            Some(it) => Err(it),
            None => Ok(()),
        }
    }

    async fn check_line(&self, line: &Line) -> Result<Value> {
        let up = line.up().await?;
        self.checked(line.ask(&up, &Commands::of(&["PING"])).await?)
    }

    fn checked(&self, answer: Value) -> Result<Value> {
        match answer {
            Value::ServerError(it) => Err(error::at(error::from_reply(&it), &self.address)),
            value => Ok(value),
        }
    }

    /// Whether the server's `ROLE` is leader. If the ACL forbids the command, the answer is true.
    pub(crate) async fn is_leader(&self) -> Result<bool> {
        let role = match self.query(&["ROLE"]).await {
            Ok(role) => reply::list(role)?.into_iter().next().unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Backend => return Ok(true),
            Err(error) => return Err(error),
        };
        Ok(reply::text(role)?.as_deref() == Some("master"))
    }
}
