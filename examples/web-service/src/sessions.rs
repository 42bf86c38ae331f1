//! Sessions: a cookie names an entry of the alias `sessions`.

use axum::{
    Json,
    extract::{FromRequestParts, State as Part},
    http::{StatusCode, request::Parts},
};
use serde::Deserialize;
use tower_sessions::Session;

use crate::{
    error::{Error, Result},
    users::{User, Users, user},
};

const USER: &str = "user";

/// A real service asks for more than a number.
#[derive(Debug, Deserialize)]
pub(crate) struct LogIn {
    id: i64,
}

/// The user of the session. A handler that takes it answers 401 without one.
#[derive(Debug)]
pub(crate) struct LoggedIn(i64);

pub(crate) async fn log_in(
    session: Session,
    Part(users): Part<Users>,
    Json(LogIn { id }): Json<LogIn>,
) -> Result<StatusCode> {
    user(&users, id).await?.ok_or(Error::NotLoggedIn)?;
    // A new id, so that an id that was known before the login is worth nothing after it.
    session.cycle_id().await?;
    session.insert(USER, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn log_out(session: Session) -> Result<StatusCode> {
    session.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn me(LoggedIn(id): LoggedIn, Part(users): Part<Users>) -> Result<Json<User>> {
    user(&users, id).await?.map(Json).ok_or(Error::NotLoggedIn)
}

impl<S: Send + Sync> FromRequestParts<S> for LoggedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let session = Session::from_request_parts(parts, state)
            .await
            .map_err(|(_, why)| Error::Internal(why.to_owned()))?;
        session.get(USER).await?.map(Self).ok_or(Error::NotLoggedIn)
    }
}
