//! Errors into responses.

use axum::{
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use cache_core::ErrorKind;

/// The error of a handler. The client learns the status; the log has the cause.
#[derive(Debug)]
pub(crate) enum Error {
    NotFound,
    NotLoggedIn,
    Cache(cache_core::Error),
    Session(tower_sessions::session::Error),
    Database(rusqlite::Error),
    Internal(String),
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let later = (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]);
        match self {
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::NotLoggedIn => StatusCode::UNAUTHORIZED.into_response(),
            Self::Cache(error) if error.kind() == ErrorKind::InvalidKey => {
                StatusCode::BAD_REQUEST.into_response()
            }
            // The store is down, and the call could not fail open.
            Self::Cache(error) if error.kind().fails_open() => {
                eprintln!("cache: {error}");
                later.into_response()
            }
            // Not a logout: the client keeps its cookie, and the session is there after the outage.
            Self::Session(error) => {
                eprintln!("session: {error}");
                later.into_response()
            }
            Self::Cache(error) => internal(&error),
            Self::Database(error) => internal(&error),
            Self::Internal(reason) => internal(&reason),
        }
    }
}

fn internal(cause: &impl std::fmt::Display) -> Response {
    eprintln!("request failed: {cause}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

impl From<cache_core::Error> for Error {
    fn from(error: cache_core::Error) -> Self {
        Self::Cache(error)
    }
}

impl From<tower_sessions::session::Error> for Error {
    fn from(error: tower_sessions::session::Error) -> Self {
        Self::Session(error)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
