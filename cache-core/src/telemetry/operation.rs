use std::fmt;

/// An operation of [`Cache`](crate::Cache) or [`Backend`](crate::store::Backend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `get`.
    Get,
    /// `get_many`.
    GetMany,
    /// `set`.
    Set,
    /// `add`.
    Add,
    /// `replace`.
    Replace,
    /// `set_many`.
    SetMany,
    /// `has_key`.
    HasKey,
    /// `ttl`.
    Ttl,
    /// `touch`.
    Touch,
    /// `delete`.
    Delete,
    /// `delete_many`.
    DeleteMany,
    /// `set_revision`.
    SetRevision,
    /// `delete_revision`.
    DeleteRevision,
    /// `pop`.
    Pop,
    /// `incr`, `decr` and `incr_or`.
    Incr,
    /// `update`, `upsert`, and a compare-and-set.
    Update,
    /// A compare-and-delete.
    CompareAndDelete,
    /// `incr_version` and `decr_version`.
    IncrVersion,
    /// `get_or_set` and `get_or_try_set`.
    GetOrSet,
    /// `fetch`.
    Fetch,
    /// `invalidate_tags` and `expire_tags`.
    InvalidateTags,
    /// `lock` and `try_lock`, and the calls of a [`Lock`](crate::Lock).
    Lock,
    /// `clear`.
    Clear,
    /// `clear_store`.
    ClearStore,
    /// `check`.
    Check,
    /// `close`.
    Close,
}

impl Operation {
    /// Every operation, for tables and metrics.
    pub const ALL: &[Self] = &[
        Self::Get,
        Self::GetMany,
        Self::Set,
        Self::Add,
        Self::Replace,
        Self::SetMany,
        Self::HasKey,
        Self::Ttl,
        Self::Touch,
        Self::Delete,
        Self::DeleteMany,
        Self::SetRevision,
        Self::DeleteRevision,
        Self::Pop,
        Self::Incr,
        Self::Update,
        Self::CompareAndDelete,
        Self::IncrVersion,
        Self::GetOrSet,
        Self::Fetch,
        Self::InvalidateTags,
        Self::Lock,
        Self::Clear,
        Self::ClearStore,
        Self::Check,
        Self::Close,
    ];

    /// Returns the name in messages and counters: the name of the method of
    /// [`Cache`](crate::Cache).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetMany => "get_many",
            Self::Set => "set",
            Self::Add => "add",
            Self::Replace => "replace",
            Self::SetMany => "set_many",
            Self::HasKey => "has_key",
            Self::Ttl => "ttl",
            Self::Touch => "touch",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::SetRevision => "set_revision",
            Self::DeleteRevision => "delete_revision",
            Self::Pop => "pop",
            Self::Incr => "incr",
            Self::Update => "update",
            Self::CompareAndDelete => "compare_and_delete",
            Self::IncrVersion => "incr_version",
            Self::GetOrSet => "get_or_set",
            Self::Fetch => "fetch",
            Self::InvalidateTags => "invalidate_tags",
            Self::Lock => "lock",
            Self::Clear => "clear",
            Self::ClearStore => "clear_store",
            Self::Check => "check",
            Self::Close => "close",
        }
    }

    /// Returns whether a second execution leaves the store as the first did, with a result of the
    /// same meaning.
    pub(crate) const fn is_idempotent(self) -> bool {
        // The result of `delete`, and possibly of `touch`, differs the second time; the store is
        // the same.
        !matches!(
            self,
            Self::Add
                | Self::Replace
                | Self::Pop
                | Self::Incr
                | Self::Update
                | Self::CompareAndDelete
                | Self::IncrVersion
                | Self::Lock
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
