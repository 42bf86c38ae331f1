//! Faults: several processes at once, kills, damage, full and read-only disks, and changes to the
//! directory by other programs.
#![cfg(target_os = "linux")]

mod child;
mod damage;
mod disk;
mod frozen;
mod kills;
mod left;
mod messages;
mod permissions;
#[path = "../place/mod.rs"]
mod place;
mod processes;
mod vanished;
