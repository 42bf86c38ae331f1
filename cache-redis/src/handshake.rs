//! The first commands on a connection, in one round trip.

use cache_core::Result;
use cache_net::Wire;

use crate::{
    abandoned::Client,
    connection::Greeting,
    connector::Connector,
    decoder::Decoder,
    encoder::Encoder,
    error,
    newer_commands::NewerCommands,
    reply,
    resp::{ErrorReply, Reply},
    tracking,
};

/// Ends the tracking that has begun to learn whether it may.
const TRACKING_OFF: &[&str] = &["CLIENT", "TRACKING", "OFF"];

/// A connection is useless after an error reply to one of these commands.
type Required<'a> = Vec<Vec<&'a str>>;

const SETTINGS: &[&str] = &["CONFIG", "GET", "proto-max-bulk-len", "client-query-buffer-limit"];
const ABOUT_US: [&[&str]; 2] = [
    &["CLIENT", "SETINFO", "LIB-NAME", env!("CARGO_PKG_NAME")],
    &["CLIENT", "SETINFO", "LIB-VER", env!("CARGO_PKG_VERSION")],
];

impl Connector {
    /// Logs in, and reads the server's limits.
    pub(crate) async fn log_in(&self, wire: &Wire<Decoder>) -> Result<Greeting> {
        let mut res = self.log_in_with(wire, self.resp.unwrap_or(3)).await?;
        if let Err(error) = &res
            && self.resp.is_none()
            && lacks_resp3(error)
        {
            res = self.log_in_with(wire, 2).await?;
        }
        res.map_err(|it| error::from_reply(&it))
    }

    async fn log_in_with(
        &self,
        wire: &Wire<Decoder>,
        resp: u8,
    ) -> Result<Result<Greeting, ErrorReply>> {
        let database = self.login.database.to_string();
        let required = self.required(resp, &database);
        // The server may know nothing of these, or an ACL may forbid them.
        let mut optional = vec![&["CLIENT", "INFO"][..]];
        optional.extend(self.limit.iter().flat_map(|_| [SETTINGS, NewerCommands::QUESTION]));
        optional.extend(self.leader_only.then_some(&["ROLE"][..]));
        optional.extend(ABOUT_US);
        // Strict settings publish whatever the server supports.
        let must_know = self.channels.as_ref().is_some_and(|it| !it.always());
        // As a near tier of another process: a server may know tracking, but not this kind.
        let tracking_on = tracking::command(&self.tracked);
        let asks = must_know && resp == 3;
        optional.extend([&tracking_on[..], TRACKING_OFF].into_iter().filter(|_| asks));
        let replies = wire.call_many(required.len() + optional.len(), |out| {
            let mut out = Encoder::new(out);
            for it in &required {
                out.command(it);
            }
            for it in optional.iter().copied() {
                out.command(it);
            }
        });
        let replies = replies.await.map_err(|it| error::connecting(it.error))?;
        let mut replies = replies.into_iter();
        for reply in replies.by_ref().take(required.len()) {
            if let Reply::Error(error) = reply {
                return Ok(Err(error));
            }
        }
        let info = replies.next().and_then(|it| reply::text(it).ok().flatten());
        let client = info.as_deref().and_then(Client::parse);
        let mut newer = NewerCommands::default();
        if let Some(limit) = &self.limit {
            limit.learn(replies.next().unwrap_or_default());
            newer = NewerCommands::read(replies.next().unwrap_or_default());
        }
        if self.leader_only && reply::is_replica(&replies.next().unwrap_or_default()) {
            return Err(error::demoted());
        }
        // Where tracking works, the server reports the writes to all processes like this one.
        let may_track = asks && replies.nth(ABOUT_US.len()) == Some(Reply::Okay);
        let must_publish = must_know && !may_track && self.may_publish(wire).await?;
        Ok(Ok(Greeting { resp, client, newer, must_publish }))
    }

    /// Whether the server lets this user publish.
    async fn may_publish(&self, wire: &Wire<Decoder>) -> Result<bool> {
        let Some(channels) = &self.channels else { return Ok(false) };
        let probe = wire.call(|out| Encoder::new(out).command(&channels.probe()));
        let reply = probe.await.map_err(|it| error::connecting(it.error))?;
        Ok(!matches!(reply, Reply::Error(_)))
    }

    fn required<'a>(&'a self, resp: u8, database: &'a str) -> Required<'a> {
        let mut res = Vec::new();
        // A user may have no password.
        let (user, password) = (self.login.user.as_deref(), self.login.password.as_deref());
        let password = password.or(user.map(|_| ""));
        match (resp, password) {
            (3, None) => res.push(vec!["HELLO", "3"]),
            (3, Some(it)) => res.push(vec!["HELLO", "3", "AUTH", user.unwrap_or("default"), it]),
            (_, None) => {}
            (_, Some(it)) => res.push(["AUTH"].into_iter().chain(user).chain([it]).collect()),
        }
        if self.login.database != 0 {
            res.push(vec!["SELECT", database]);
        }
        res.extend(self.client_name.as_deref().map(|it| vec!["CLIENT", "SETNAME", it]));
        res.extend(self.read_only.then(|| vec!["READONLY"]));
        res
    }
}

/// Whether the server does not know `HELLO`, or does not support version 3.
fn lacks_resp3(error: &ErrorReply) -> bool {
    error.code() == "NOPROTO" || error.details().starts_with("unknown command")
}
