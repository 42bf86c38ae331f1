use std::{fmt, sync::Arc};

use cache_core::{Error, ErrorKind, Result};
use http::{HeaderName, request::Parts};

use super::address::ClientAddress;

/// The part of a request by which requests are counted together.
///
/// ```
/// use cache_tower::rate_limit::ClientKey;
/// use http::header::AUTHORIZATION;
///
/// #[derive(Clone)]
/// struct User(u64);
///
/// let by_user = ClientKey::extension(|user: &User| user.0.to_string());
/// let by_token = ClientKey::header(AUTHORIZATION);
/// // Health checks are not limited.
/// let by_tenant = ClientKey::from_fn(|parts| {
///     let path = parts.uri.path();
///     if path == "/health" { None } else { path.split('/').nth(1).map(str::to_owned) }
/// });
/// # let _ = (by_user, by_token, by_tenant);
/// ```
#[derive(Clone)]
pub struct ClientKey(Arc<KeyOf>);

type KeyOf = dyn Fn(&Parts) -> Result<Option<String>> + Send + Sync;

impl ClientKey {
    /// Counts by the address of the client.
    ///
    /// If the address is not known, the layer answers 500: a limit that all clients share by
    /// mistake would refuse them all under load.
    pub fn address(address: ClientAddress) -> Self {
        Self::new(move |parts| {
            let address = address.network_of(parts).ok_or_else(|| {
                Error::new(
                    ErrorKind::Config,
                    "the address of the client is not known: the function of \
                     `ClientAddress::of_peer` returned `None`; axum needs \
                     `into_make_service_with_connect_info`",
                )
            })?;
            Ok(Some(address.to_string()))
        })
    }

    /// Counts by a header. All requests without it are counted together.
    ///
    /// A client can send any value. So count by a header only behind a layer that has verified it,
    /// for example an API key. Of several values the first one counts.
    pub fn header(name: HeaderName) -> Self {
        Self::new(move |parts| {
            let value = parts.headers.get(&name).map(http::HeaderValue::as_bytes);
            // Not text? Then any text that is different for different bytes.
            Ok(Some(value.map_or_else(String::new, |it| it.escape_ascii().to_string())))
        })
    }

    /// Counts by an extension of the request, which a layer outside of this one sets: the user, or
    /// the tenant.
    ///
    /// If the extension is missing, the layer answers 500. For requests without a user, use
    /// [`from_fn`](Self::from_fn), and choose another key.
    pub fn extension<T: Send + Sync + 'static>(
        key: impl Fn(&T) -> String + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |parts| match parts.extensions.get::<T>() {
            Some(it) => Ok(Some(key(it))),
            None => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "the request has no extension `{}`: add the layer that sets it outside of the \
                     rate limit",
                    std::any::type_name::<T>()
                ),
            )),
        })
    }

    /// Counts by any part of the request. Requests for which `key` returns `None` are not limited.
    pub fn from_fn(key: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::new(move |parts| Ok(key(parts)))
    }

    fn new(key: impl Fn(&Parts) -> Result<Option<String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(key))
    }

    pub(super) fn of(&self, parts: &Parts) -> Result<Option<String>> {
        (self.0)(parts)
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").finish_non_exhaustive()
    }
}
