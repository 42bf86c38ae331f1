use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{Cache, Timeout};
use http::{HeaderName, StatusCode, header, request::Parts};

type Principal = dyn Fn(&Parts) -> Option<String> + Send + Sync;

/// The settings of a layer, which its services share.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) cache: Cache<Bytes>,
    pub(super) principal: Arc<Principal>,
    pub(super) required: bool,
    pub(super) run_on_failure: bool,
    pub(super) lifetime: Timeout,
    pub(super) lease: Duration,
    pub(super) wait: Duration,
    pub(super) max_request: usize,
    pub(super) max_response: usize,
    pub(super) headers: Vec<HeaderName>,
    pub(super) stores: Arc<dyn Fn(StatusCode) -> bool + Send + Sync>,
}

impl Settings {
    pub(super) fn new(
        cache: &Cache,
        principal: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            cache: cache.bytes().strict(),
            principal: Arc::new(principal),
            required: false,
            run_on_failure: false,
            lifetime: Timeout::After(Duration::from_secs(86_400)),
            lease: Duration::from_secs(30),
            wait: Duration::ZERO,
            max_request: 2 << 20,
            max_response: 1 << 20,
            headers: vec![
                header::CONTENT_TYPE,
                header::CONTENT_ENCODING,
                header::CONTENT_LANGUAGE,
                header::CONTENT_DISPOSITION,
                header::LOCATION,
                header::LINK,
                header::ETAG,
                header::LAST_MODIFIED,
            ],
            stores: Arc::new(|status| {
                let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
                !again.contains(&status)
            }),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("required", &self.required)
            .field("run_on_failure", &self.run_on_failure)
            .field("lifetime", &self.lifetime)
            .field("lease", &self.lease)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
