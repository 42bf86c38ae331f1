//! Sync views and leader views that are another store.

use std::sync::Arc;

use cache_conformance::{Harness, backend_report};
use cache_core::{
    Error, ErrorKind,
    layer::{Call, Layer, Reply},
    store::{Backend, Offload},
    testing::Model,
};

use crate::{layers::assert_fails, replicated::Replicated};

pub(crate) const SYNC_VIEW: [&str; 1] = ["sync_view_is_the_same_store"];

/// Lets every call of the sync view fail.
#[derive(Debug)]
struct FailingSyncView;

impl Layer for FailingSyncView {
    async fn around<R: Reply, F: Future<Output = R> + Send>(
        &self,
        _: Call<'_>,
        run: impl Fn() -> F + Send + Sync,
    ) -> R {
        run().await
    }
    fn around_sync<R: Reply>(&self, call: Call<'_>, _: impl Fn() -> R) -> R {
        R::failed(&call, Error::new(ErrorKind::Unsupported, "a failing view"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sync_view_that_differs_is_found() {
    assert_fails(|| FailingSyncView, &SYNC_VIEW).await;
}

pub(crate) const LEADER_VIEW: [&str; 1] = ["leader_view_is_the_same_store"];

/// A store of one server; `view` makes its leader view.
fn led_by(view: impl Fn(&Arc<dyn Backend>) -> Arc<dyn Backend> + Send + Sync + 'static) -> Harness {
    let open = move || {
        let leader: Arc<dyn Backend> = Arc::new(Offload::new(Model::default(), 2));
        let (view, facts) = (Some(view(&leader)), leader.capabilities());
        Arc::new(Replicated { copy: Arc::clone(&leader), leader, view, facts }) as _
    };
    Harness::new("led", open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_view_that_differs_is_found() {
    let finds = async |view: fn(&Arc<dyn Backend>) -> Arc<dyn Backend>| {
        backend_report(led_by(view).only(&LEADER_VIEW)).await.failed() == LEADER_VIEW
    };
    assert!(
        finds(|_| Arc::new(Offload::new(Model::default(), 2))).await,
        "a view of another store"
    );
    let lags = |leader: &Arc<dyn Backend>| {
        let copy: Arc<dyn Backend> = Arc::new(Offload::new(Model::default(), 2));
        let (leader, facts) = (Arc::clone(leader), leader.capabilities());
        Arc::new(Replicated { leader, copy, view: None, facts }) as _
    };
    assert!(finds(lags).await, "a view that reads from a replica that lags");
    let nested = |leader: &Arc<dyn Backend>| {
        let (leader, facts) = (Arc::clone(leader), leader.capabilities());
        let view = Some(Arc::clone(&leader));
        Arc::new(Replicated { copy: Arc::clone(&leader), leader, view, facts }) as _
    };
    assert!(finds(nested).await, "a view with a leader view of its own");
    backend_report(led_by(Arc::clone)).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_view_of_a_store_whose_own_reads_lag_passes() {
    let open = || {
        let part = || Arc::new(Offload::new(Model::default(), 2)) as Arc<dyn Backend>;
        let (leader, copy) = (part(), part());
        let (view, facts) = (Some(Arc::clone(&leader)), leader.capabilities());
        Arc::new(Replicated { leader, copy, view, facts }) as _
    };
    let report = backend_report(Harness::new("lags", open).only(&LEADER_VIEW)).await;
    assert_eq!(report.passed(), LEADER_VIEW);
}
