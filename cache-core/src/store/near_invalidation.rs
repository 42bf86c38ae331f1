use serde::Deserialize;

/// How the writes of other processes are reported to a near tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NearInvalidation {
    /// In the best way that the store and its server support: `Tracking`, `PubSub` or `Postgres`,
    /// otherwise `None`.
    #[default]
    Auto,
    /// The server of the store reports each change: RESP3 client tracking of Redis and Valkey.
    Tracking,
    /// Each write publishes its key in the same transaction: Redis and Valkey without client
    /// tracking. All writers of the keys need this setting.
    PubSub,
    /// `LISTEN` and `NOTIFY` of PostgreSQL.
    Postgres,
    /// Not at all: an entry is near until `timeout`.
    None,
}

impl NearInvalidation {
    /// Returns the word in the settings.
    ///
    /// ```
    /// assert_eq!(cache_core::NearInvalidation::Tracking.as_str(), "tracking");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tracking => "tracking",
            Self::PubSub => "pubsub",
            Self::Postgres => "postgres",
            Self::None => "none",
        }
    }
}
