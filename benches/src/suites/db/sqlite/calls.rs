//! The measured calls.

use std::sync::Arc;

use anyhow::Result;

use super::{Ours, Raw};
use crate::suites::network::{
    calls::{Client as _, each},
    workers::Job,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Get,
    /// A `get` with `direct_reads`.
    GetDirect,
    Set,
    /// A `set` of absent keys.
    SetNew,
    Add,
    Incr,
    GetMany,
    SetMany,
}

pub(super) const CALLS: [Call; 8] = [
    Call::Get,
    Call::GetDirect,
    Call::GetMany,
    Call::Set,
    Call::SetMany,
    Call::Incr,
    Call::SetNew,
    Call::Add,
];

impl Call {
    pub(super) fn case(self, suffix: &str) -> String {
        let name = match self {
            Self::Get => "get",
            Self::GetDirect => "get_direct",
            Self::Set => "set",
            Self::SetNew => "set_new",
            Self::Add => "add",
            Self::Incr => "incr",
            Self::GetMany => "get_many_100",
            Self::SetMany => "set_many_100",
        };
        format!("{name}{suffix}")
    }

    /// Whether the call is measured with values of this size.
    pub(super) fn has(self, size: usize) -> bool {
        self != Self::Incr || size < 1_000
    }

    /// Returns the size of the value. The size of a counter does not depend on the values.
    pub(super) fn value_bytes(self, size: usize) -> usize {
        if self == Self::Incr { 8 } else { size }
    }

    /// Whether the table grows.
    pub(super) fn adds(self) -> bool {
        matches!(self, Self::SetNew | Self::Add)
    }

    /// Returns the name of the call in the peers in Python, if they have it.
    pub(super) fn in_python(self) -> Option<&'static str> {
        match self {
            Self::Get => Some("get"),
            Self::Set => Some("set"),
            Self::Incr => Some("incr"),
            Self::GetMany => Some("get_many_100"),
            Self::SetMany => Some("set_many_100"),
            Self::GetDirect | Self::SetNew | Self::Add => None,
        }
    }

    pub(super) fn of(self, ours: &Arc<Ours>) -> Job {
        match self {
            Self::Get | Self::GetDirect => each!(ours, get),
            Self::Set => each!(ours, set),
            Self::SetNew => each!(ours, set_new),
            Self::Add => each!(ours, add),
            Self::Incr => each!(ours, incr),
            Self::GetMany => each!(ours, get_many),
            Self::SetMany => each!(ours, set_many),
        }
    }

    pub(super) fn by_hand(self) -> fn(&Raw) -> Result<()> {
        match self {
            Self::Get | Self::GetDirect => Raw::get,
            Self::Set => Raw::set,
            Self::SetNew => Raw::set_new,
            Self::Add => Raw::add,
            Self::Incr => Raw::incr,
            Self::GetMany => Raw::get_many,
            Self::SetMany => Raw::set_many,
        }
    }
}
