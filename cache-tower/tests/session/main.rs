//! Sessions of real services, with clients that keep cookies.

#![cfg(all(feature = "sessions", feature = "actix-session"))]
#![allow(missing_docs)]

mod actix;
mod axum_service;
mod concurrent;
mod outage;
mod store;
mod support;
