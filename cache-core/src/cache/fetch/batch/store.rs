//! Stores the values that a batch loaded.

use std::{collections::HashMap, hash::Hash};

use bytes::Bytes;

use super::{Batch, Sealed, loads::Loads};
use crate::{
    cache::fetch::fence::Fence,
    fetch::{Policy, singleflight::Lead},
    timeout::Expiry,
    value::{Decode, Encode, Form, envelope},
};

impl<'a, V, K, T> Batch<'a, V, K, T>
where
    V: Form,
    V: Encode<T> + Decode<T>,
    K: Eq + Hash + Clone,
{
    /// Stores the loaded values with one write, and remembers the keys without a value.
    pub(super) async fn store(
        &self,
        loads: &Loads<'_>,
        sealed: &HashMap<usize, Sealed>,
        mut fences: HashMap<&'a str, Box<Fence>>,
    ) {
        let (cache, shared) = (self.cache, &self.cache.shared);
        let Loads { leads, places, declared, took } = loads;
        let writable = places.iter().filter(|it| !self.unwritable.contains(it)).count();
        if writable == 0 {
            return;
        }
        if !declared.stores() {
            return Fence::release_all(fences.into_values()).await;
        }
        let policy = cache.load_policy(self.overrides);
        // One lifetime for all of them: it is one write.
        let lifetime = policy.lifetime(None, shared.timeout, &shared.clock);
        let Some(lifetime) = lifetime else {
            return Fence::release_all(fences.into_values()).await;
        };
        let stored: HashMap<usize, (Bytes, Expiry)> = sealed
            .iter()
            .map(|(place, it)| {
                let policy = Policy { revision: it.revision, ..policy };
                let (stored, expiry) = cache.wrapped(&policy, lifetime, it.bytes.clone(), *took);
                (*place, (declared.tag(stored), expiry))
            })
            .collect();
        let write_fences = &mut fences;
        let write = |positions: Vec<usize>| async move {
            // One write for each lifetime: that of the values, and that of remembered absences.
            let mut writes: Vec<(Expiry, Vec<(&str, Bytes)>)> = Vec::new();
            let mut without_value = Vec::new();
            let mut begun = 0;
            let places = positions.into_iter().map(|it| places[it]);
            for place in places.filter(|it| !self.unwritable.contains(it)) {
                begun += 1;
                let (value, expiry) = match stored.get(&place) {
                    Some(stored) => stored.clone(),
                    None if policy.negative_ttl.is_zero() => {
                        without_value.push(self.keys[place]);
                        continue;
                    }
                    None => (declared.tag(envelope::absent()), Expiry::After(policy.negative_ttl)),
                };
                let item = (self.keys[place], value);
                match writes.iter_mut().find(|(it, _)| *it == expiry) {
                    Some((_, items)) => items.push(item),
                    None => writes.push((expiry, vec![item])),
                }
            }
            for (expiry, items) in writes {
                if policy.fenced {
                    cache.write_fenced_many(items, expiry, write_fences).await;
                } else {
                    cache.write_loaded_many(&items, expiry).await;
                }
            }
            // Only a value with a grace may still be there.
            if policy.fenced {
                Fence::delete_all(&without_value, write_fences).await;
            } else if shared.fetch.allowed().grace {
                cache.delete_loaded_many(&without_value).await;
            }
            begun
        };
        let bytes = sealed.values().map(|it| it.bytes.len()).sum();
        let lasts = cache.batch_claim(leads.len(), bytes);
        let dropped = |position: usize, id| cache.wait_out_write(self.keys[places[position]], id);
        let begun = Lead::store_all(leads, write, lasts, cache.write_patience(), dropped).await;
        for _ in begun.unwrap_or(0)..writable {
            cache.load_write_refused();
        }
        Fence::release_all(fences.into_values()).await;
    }
}
