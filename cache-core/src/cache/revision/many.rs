//! Batches of values with revisions.

use std::collections::HashMap;

use crate::{
    cache::{Cache, Failed, Failures, fetch::AT_ONCE, many::WriteMany},
    layer::Operation,
    runtime::all,
    value::{Form, revision::Change},
};

impl<V: Form> Cache<V> {
    /// Stores a batch of values with revisions, one by one: a batch of the store does not compare.
    /// A value that is too old is not a failure. If a key occurs twice, its newest value counts.
    pub(in crate::cache) async fn write_revisions(&self, write: WriteMany) -> Failures {
        let mut newest: HashMap<&str, (Change, &str)> = HashMap::new();
        for (key, name, change) in write.changes() {
            let is_newer = |(it, _): &(Change, &str)| it.revision < change.revision;
            if newest.get(key).is_none_or(is_newer) {
                newest.insert(key, (change, name));
            }
        }
        let mut failed = Vec::new();
        let changes: Vec<_> = newest.into_iter().collect();
        for chunk in changes.chunks(AT_ONCE) {
            let writes = chunk.iter().map(async |(key, (change, _))| {
                let res = self.apply(Operation::SetMany, key, change).await.map(drop);
                if res.is_err() {
                    self.written(key, None, &res);
                }
                self.answer(Operation::SetMany, Some(key), res)
            });
            for (answer, (_, (_, name))) in all(writes).await.into_iter().zip(chunk) {
                if let Err(error) = answer {
                    failed.push(Failed { key: (*name).to_owned(), error });
                }
            }
        }
        Failures(failed)
    }
}
