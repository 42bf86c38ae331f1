//! What goes wrong: several processes at once, kills, damage, disks that are full or read-only, and what others do to the directory.
#![cfg(target_os = "linux")]

mod child;
mod damage;
mod disk;
mod frozen;
mod kills;
mod messages;
mod permissions;
#[path = "../place/mod.rs"]
mod place;
mod processes;
mod vanished;
