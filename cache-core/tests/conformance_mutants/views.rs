//! Views of a store that are another one.

use std::sync::Arc;

use cache_conformance::{Harness, backend_report};
use cache_core::{
    Error, ErrorKind,
    layer::{Call, Layer, Reply},
    store::{Backend, Offload},
    testing::Model,
};

use crate::{hooks::hooked, replicated::Replicated};

pub(crate) const NO_VIEW: [&str; 1] = ["sync_view_is_the_same_store"];

/// A view that does not serve.
#[derive(Debug)]
struct NoView;

impl Layer for NoView {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        _: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        run().await
    }
    fn around_sync<R: Reply>(&self, call: Call<'_>, _: impl Fn() -> R) -> R {
        R::failed(&call, Error::new(ErrorKind::Unsupported, "no view"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sync_view_that_differs_is_seen() {
    hooked(|| NoView, &NO_VIEW).await;
}

pub(crate) const LEADER_VIEW: [&str; 1] = ["leader_view_is_the_same_store"];

/// A store of one server, whose leader view is made of that server.
fn led_by(view: impl Fn(&Arc<dyn Backend>) -> Arc<dyn Backend> + Send + Sync + 'static) -> Harness {
    let open = move || {
        let leader: Arc<dyn Backend> = Arc::new(Offload::new(Model::default(), 2));
        let (view, facts) = (Some(view(&leader)), leader.capabilities());
        Arc::new(Replicated { copy: Arc::clone(&leader), leader, view, facts }) as _
    };
    Harness::new("led", open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_view_that_differs_is_seen() {
    let seen = async |view: fn(&Arc<dyn Backend>) -> Arc<dyn Backend>| {
        backend_report(led_by(view).only(&LEADER_VIEW)).await.failed() == LEADER_VIEW
    };
    assert!(seen(|_| Arc::new(Offload::new(Model::default(), 2))).await, "another store");
    let lags = |leader: &Arc<dyn Backend>| {
        let copy: Arc<dyn Backend> = Arc::new(Offload::new(Model::default(), 2));
        let (leader, facts) = (Arc::clone(leader), leader.capabilities());
        Arc::new(Replicated { leader, copy, view: None, facts }) as _
    };
    assert!(seen(lags).await, "a view that reads a copy that lags");
    let two = |leader: &Arc<dyn Backend>| {
        let (leader, facts) = (Arc::clone(leader), leader.capabilities());
        let view = Some(Arc::clone(&leader));
        Arc::new(Replicated { copy: Arc::clone(&leader), leader, view, facts }) as _
    };
    assert!(seen(two).await, "a view with a view of its own");
    backend_report(led_by(Arc::clone)).await.assert_passed();
}

/// A store whose own reads lag behind has a leader view that does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_leader_view_is_tested_where_plain_reads_lag() {
    let open = || {
        let part = || Arc::new(Offload::new(Model::default(), 2)) as Arc<dyn Backend>;
        let (leader, copy) = (part(), part());
        let (view, facts) = (Some(Arc::clone(&leader)), leader.capabilities());
        Arc::new(Replicated { leader, copy, view, facts }) as _
    };
    let report = backend_report(Harness::new("lags", open).only(&LEADER_VIEW)).await;
    assert_eq!(report.passed(), LEADER_VIEW);
}
