use std::{future::poll_fn, sync::Arc, task::Poll};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Result,
    store::{Backend, Capabilities, Dummy, Expiry, IntoBackend as _, SetMode, Views, forward},
};

/// An asynchronous store without a server: every `get` returns one value, every `set` succeeds.
#[derive(Debug)]
pub(super) struct Empty {
    value: Bytes,
    /// Whether calls return `Pending` once, like those that wait for a server.
    waits: bool,
    /// The store of all other calls.
    others: Arc<dyn Backend>,
}

impl Empty {
    pub(super) fn new(value: Bytes, waits: bool) -> Self {
        Self { value, waits, others: Dummy.into_backend() }
    }

    async fn wait(&self) {
        let mut waits = self.waits;
        poll_fn(|cx| {
            if !waits {
                return Poll::Ready(());
            }
            waits = false;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl Backend for Empty {
    // No case calls the others.
    forward!(Backend, self.others, except name, capabilities, get, set);

    fn name(&self) -> &'static str {
        "empty"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().shared().connects()
    }

    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }

    async fn get(&self, _: &str) -> Result<Option<Bytes>> {
        self.wait().await;
        Ok(Some(self.value.clone()))
    }

    async fn set(&self, _: &str, _: Bytes, _: Expiry, _: SetMode) -> Result<bool> {
        self.wait().await;
        Ok(true)
    }
}
