//! The events between the load of a role and its delete.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{process::Process, server::Server, table::is_revoked};

/// The processes, and what they share.
pub(crate) struct World<'a> {
    /// Loads slowly.
    pub(crate) a: Process,
    /// Revokes.
    pub(crate) b: Process,
    /// Reads.
    pub(crate) c: Process,
    pub(crate) source: PathBuf,
    /// The server of the store, if this program may kill it.
    pub(crate) server: Option<Server>,
    pub(crate) out: &'a mut dyn Write,
}

type Scene = fn(&mut World<'_>, &str) -> Result<String>;

/// Each with its key.
const ALWAYS: [(&str, &str, Scene); 1] = [("a load during the delete", "roles:1", late_load)];
const WITH_A_SERVER: [(&str, &str, Scene); 2] = [
    ("an outage during the delete", "roles:2", outage),
    ("a load during both", "roles:3", late_load_and_outage),
];

impl World<'_> {
    /// Plays all scenes on an alias. Returns the role that was served after each of them.
    pub(crate) fn play(&mut self, alias: &'static str) -> Result<Vec<(&'static str, String)>> {
        let mut scenes = ALWAYS.to_vec();
        if self.server.is_some() {
            scenes.extend(WITH_A_SERVER);
        }
        let mut served = Vec::new();
        for (name, key, scene) in scenes {
            self.say(&format!("The alias `{alias}`: {name}"))?;
            fs::write(&self.source, "admin")?;
            self.say("  source     the user is admin")?;
            served.push((name, scene(self, &format!("{alias} {key}"))?));
            self.say("")?;
        }
        Ok(served)
    }

    fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.out, "{line}")?)
    }

    fn begin_load(&mut self, place: &str) -> Result<()> {
        let read = self.a.ask(&format!("begin {place}"))?;
        self.say(&format!("  process A  misses; its loader has read `{read}`, and is slow"))
    }

    fn end_load(&mut self) -> Result<()> {
        let reply = self.a.ask("go-on")?;
        let (role, fate) = reply.split_once(' ').context("a role and its fate")?;
        let store = match fate {
            "refused" => "the store REFUSED to keep it",
            _ => "it is stored",
        };
        self.say(&format!("  process A  the load ends: its caller gets `{role}`, {store}"))
    }

    fn revoke(&mut self, place: &str) -> Result<()> {
        let reply = self.b.ask(&format!("revoke {place}"))?;
        let delete = match reply.as_str() {
            "deleted" => "is done",
            error => &format!("fails ({error}), and is pending"),
        };
        self.say(&format!("  process B  revokes the role in the source; the delete {delete}"))
    }

    fn get(&mut self, is_b: bool, place: &str) -> Result<String> {
        let process = if is_b { &mut self.b } else { &mut self.c };
        let reply = process.ask(&format!("get {place}"))?;
        let (role, how) = reply.split_once(' ').context("a role and its origin")?;
        let (role, name) = (role.to_owned(), process.name);
        let is_right = fs::read_to_string(&self.source)? == role;
        let mark = if is_right { "" } else { ": REVOKED, AND SERVED" };
        let how = if how == "cached" { "from the cache" } else { "from the source" };
        self.say(&format!("  process {name}  is served `{role}` {how}{mark}"))?;
        Ok(role)
    }

    fn kill_server(&mut self) -> Result<()> {
        self.server.as_mut().context("there is a server")?.kill()?;
        self.say("  server     is killed")
    }

    /// Restarts the server, and waits for the deletes that are pending.
    fn restart_server(&mut self, place: &str) -> Result<()> {
        self.server.as_mut().context("there is a server")?.restart()?;
        self.say("  server     is restarted, with its data")?;
        let alias = place.split(' ').next().unwrap_or_default();
        let reply = self.b.ask(&format!("wait {alias}"))?;
        self.say(&format!("  process B  has sent the delete again: {reply}"))
    }
}

/// Process A has read the role when process B revokes it.
fn late_load(world: &mut World<'_>, place: &str) -> Result<String> {
    world.begin_load(place)?;
    world.revoke(place)?;
    world.end_load()?;
    world.get(false, place)
}

/// The role is cached when the server dies, and process B revokes it meanwhile.
fn outage(world: &mut World<'_>, place: &str) -> Result<String> {
    let role = world.get(false, place)?;
    ensure!(is_revoked(&role), "before it is revoked, the role is admin");
    world.kill_server()?;
    world.revoke(place)?;
    world.get(true, place)?;
    world.restart_server(place)?;
    world.get(false, place)
}

/// Process A has read the role when the server dies, and process B revokes it meanwhile.
fn late_load_and_outage(world: &mut World<'_>, place: &str) -> Result<String> {
    world.begin_load(place)?;
    world.kill_server()?;
    world.revoke(place)?;
    world.restart_server(place)?;
    world.end_load()?;
    world.get(false, place)
}
