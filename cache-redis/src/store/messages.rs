//! The views of the store that report messages.

use std::sync::Arc;

use cache_core::store::Views;

use super::Redis;
use crate::{bus::PubSub, invalidations::Changes};

impl Redis {
    /// Returns the views that report messages.
    pub(super) fn messages(&self) -> Views {
        let (common, pools) = (Arc::clone(&self.common), Arc::clone(&self.pools));
        let mut views = Views::none();
        if !common.ways.is_empty() {
            let (common, pools) = (Arc::clone(&common), Arc::clone(&pools));
            views.invalidations = Some(Arc::new(Changes { common, pools }));
        }
        views.bus = Some(Arc::new(PubSub { common, pools }));
        views
    }
}
