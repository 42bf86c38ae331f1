//! Tags of this library: the check of a hit, and invalidations of tags that many entries have.

use std::{hint::black_box, sync::Arc};

use anyhow::{Context as _, Result};
use cache_core::Cache;

use super::calls::{Call, Contender, VALUE_BYTES, next};
use crate::suites::network::{
    calls::{each, found},
    ours::{LIFETIME, cache},
};

/// The number of entries that are written at a time.
const AT_ONCE: usize = 1_000;

/// The entries of the largest tag.
#[derive(Clone, Copy)]
pub(super) enum Most {
    Thousand,
    HundredThousand,
    Million,
}

struct Tagged {
    cache: Cache,
    /// The invalidated tag, which is also before the keys of its entries.
    tag: &'static str,
    entries: usize,
}

/// Returns the contenders, of which `most` has the most entries.
pub(super) async fn contenders(settings: &str, most: Most) -> Result<Vec<Contender>> {
    let cache = cache(&format!("{settings}\ntags = true"))?;
    let of = |call, name, job| Contender { call, name, job };
    let mut res = Vec::new();
    for (name, tag, entries, has_tags) in
        [("tagged", "checked", AT_ONCE, true), ("untagged", "plain", AT_ONCE, false)]
    {
        let it = Arc::new(Tagged { cache: cache.clone(), tag, entries });
        it.fill(has_tags).await?;
        res.push(of(Call::TagCheck, name, each!(&it, check)));
    }
    let tags = [("of_1", "one", 1), ("of_1000", "thousand", 1_000)];
    let most = match most {
        Most::Thousand => None,
        Most::HundredThousand => Some(("of_100000", "most", 100_000)),
        Most::Million => Some(("of_1000000", "most", 1_000_000)),
    };
    for (name, tag, entries) in tags.into_iter().chain(most) {
        let it = Arc::new(Tagged { cache: cache.clone(), tag, entries });
        it.fill(true).await?;
        // The first entry would be the first one to be evicted.
        it.get(0).await.context("the store does not keep all entries of a tag")?;
        res.push(of(Call::Invalidate, name, each!(&it, invalidate)));
    }
    Ok(res)
}

impl Tagged {
    async fn fill(&self, has_tags: bool) -> Result<()> {
        let value = "x".repeat(VALUE_BYTES);
        let cache = if has_tags { self.cache.with_tags([self.tag]) } else { self.cache.clone() };
        for begin in (0..self.entries).step_by(AT_ONCE) {
            let end = (begin + AT_ONCE).min(self.entries);
            let items = (begin..end).map(|n| (self.key(n), &value));
            cache.set_many(items, LIFETIME).await?.into_result()?;
        }
        Ok(())
    }

    fn key(&self, n: usize) -> String {
        format!("{}:{n:07}", self.tag)
    }

    async fn check(&self, _: usize) -> Result<()> {
        self.get(next() % self.entries).await
    }

    async fn get(&self, n: usize) -> Result<()> {
        black_box(found(self.cache.get::<String>(&self.key(n)).await?)?);
        Ok(())
    }

    async fn invalidate(&self, _: usize) -> Result<()> {
        Ok(self.cache.invalidate_tags([self.tag]).await?)
    }
}
