//! Saves that the store refuses.

use std::fmt;

/// The reason why a session was not saved, although the store works.
///
/// `actix-session` returns it in an `anyhow::Error`, for `downcast_ref`. The errors of
/// `tower-sessions` are texts: [`of`](Self::of) finds it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionRejected {
    /// Another request changed the same value of the session meanwhile. Nothing was stored.
    Conflict,
    /// The session was deleted or has expired since it was loaded, for example because the user
    /// logged out. Nothing was stored.
    Deleted,
    /// Each of several new ids was taken, so the ids are not random. Nothing was stored.
    NoFreeId,
}

impl SessionRejected {
    /// Returns the reason of an error of `tower-sessions`, if the save was refused.
    ///
    /// A handler that calls `session.save()` itself can load the session again and repeat its
    /// change. When the layer saves after the handler, the response is the status 500.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::sync::Arc;
    /// # use cache_core::Cache; use cache_memory::Memory;
    /// use cache_tower::session::{CacheSessionStore, SessionRejected};
    /// use tower_sessions_core::{Session, session::Error};
    ///
    /// # let store = Arc::new(CacheSessionStore::new(&Cache::new("sessions", Memory::new())));
    /// let session = Session::new(None, store.clone(), None);
    /// session.insert("cart", ["book"]).await?;
    /// session.save().await?;
    ///
    /// let other = Session::new(session.id(), store, None);
    /// other.insert("cart", ["book", "pen"]).await?;
    /// session.insert("cart", ["book", "cup"]).await?;
    /// session.save().await?;
    /// let Err(Error::Store(error)) = other.save().await else { panic!() };
    /// assert_eq!(SessionRejected::of(&error), Some(SessionRejected::Conflict));
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "sessions")]
    pub fn of(error: &tower_sessions_core::session_store::Error) -> Option<Self> {
        let tower_sessions_core::session_store::Error::Backend(text) = error else { return None };
        let all = [Self::Conflict, Self::Deleted, Self::NoFreeId];
        all.into_iter().find(|it| it.text() == text)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Conflict => {
                "session conflict: another request changed the same value meanwhile; nothing was \
                 stored. Load the session again and repeat the change"
            }
            Self::Deleted => {
                "session deleted: it was deleted or has expired since it was loaded; nothing was \
                 stored. The user may have logged out in another request"
            }
            Self::NoFreeId => {
                "session not created: each of several new ids was taken; check the random numbers \
                 of this machine"
            }
        }
    }
}

impl fmt::Display for SessionRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for SessionRejected {}
