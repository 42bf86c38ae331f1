//! Decoded values beside near entries.

use bytes::Bytes;

use super::{entry::NearEntry, store::Near, tier::Tier};
use crate::store::{Kept, Object, Objects};

impl Objects for Near {
    /// Does not count the read.
    fn read(&self, key: &str, read: &mut dyn FnMut(&Kept<'_>)) {
        self.tier().read_object(key, read);
    }

    fn keep(&self, key: &str, make: &mut dyn FnMut(Bytes) -> Option<Object>) {
        let Some(objects) = &self.tier().objects else { return };
        objects.keep(key, &mut |bytes| make(NearEntry::decode(bytes)?.value));
    }
}

impl Tier {
    fn read_object(&self, key: &str, read: &mut dyn FnMut(&Kept<'_>)) {
        let Some(objects) = self.objects.as_ref().filter(|_| self.is_open()) else { return };
        // Before the entry, as in `find`.
        let generation = self.generation();
        objects.read(key, &mut |kept| {
            let Some((value, fields)) = NearEntry::split(kept.value) else { return };
            if fields.generation == generation {
                read(&Kept::new(kept.object, value, &|| fields.ttl(|| self.clock.now())));
            }
        });
    }
}
