/// The lifetime that a [`Step`] gives an entry, in the time unit of a
/// [`Comparison`](super::Comparison).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The entry never expires.
    Never,
    /// This many units and half a unit more. Time moves by whole units, so no step meets an entry
    /// at the moment of its expiry, at which stores may differ.
    Units(u8),
}

/// One operation on a few keys. Keys are small numbers, so that steps meet on the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// `get`, `has`, `ttl` and `get_entry`, one after the other.
    Read(u8),
    /// `get_many` and `get_entries`.
    ReadMany(Vec<u8>),
    /// `set` with [`SetMode::Always`](crate::store::SetMode::Always), of a value that no other step
    /// writes.
    Set(u8, Life),
    /// `set` with [`SetMode::Always`](crate::store::SetMode::Always), of an integer.
    SetInteger(u8, i64, Life),
    /// `set` if absent.
    Add(u8, Life),
    /// `set` if present.
    Replace(u8, Life),
    /// `set_many`.
    SetMany(Vec<u8>, Life),
    /// `touch`.
    Touch(u8, Life),
    /// `delete`.
    Delete(u8),
    /// `delete_many`.
    DeleteMany(Vec<u8>),
    /// `take`.
    Take(u8),
    /// `incr` without `create`.
    Incr(u8, i64),
    /// `incr` with `create`.
    IncrOr(u8, i64, i64, Life),
    /// `compare_and_delete` that expects the entry of the last `Read` of the key.
    CompareAndDelete(u8),
    /// `compare_and_set` that expects the entry of the last `Read` of the key. `None` keeps the
    /// lifetime.
    CompareAndSet(u8, Option<Life>),
    /// `rename`.
    Rename(u8, u8),
    /// `clear` of the namespace of all keys.
    Clear,
    /// Moves the time by this many units, if the comparison can move it.
    Pass(u8),
}

/// Returns `count` random steps, the same for the same `seed`, for tests without proptest.
///
/// ```
/// use cache_core::testing::model::random_steps;
///
/// assert_eq!(random_steps(7, 100), random_steps(7, 100));
/// assert_ne!(random_steps(7, 100), random_steps(8, 100));
/// ```
pub fn random_steps(seed: u64, count: usize) -> Vec<Step> {
    let mut random = Random(seed);
    (0..count).map(|_| random.step()).collect()
}

/// The random number generator `SplitMix64`.
struct Random(u64);

const KEYS: u64 = 5;

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % end
    }

    fn small(&mut self, end: u64) -> u8 {
        u8::try_from(self.below(end)).unwrap_or_default()
    }

    fn key(&mut self) -> u8 {
        self.small(KEYS)
    }

    fn keys(&mut self) -> Vec<u8> {
        (0..self.below(KEYS + 1)).map(|_| self.key()).collect()
    }

    fn life(&mut self) -> Life {
        if self.below(4) == 0 { Life::Never } else { Life::Units(self.small(8)) }
    }

    fn integer(&mut self) -> i64 {
        match self.below(8) {
            0 => i64::MAX,
            1 => i64::MIN,
            n => i64::try_from(n).unwrap_or_default() - 5,
        }
    }

    fn step(&mut self) -> Step {
        match self.below(24) {
            0..=3 => Step::Read(self.key()),
            4 => Step::ReadMany(self.keys()),
            5 => Step::Set(self.key(), self.life()),
            6 => Step::SetInteger(self.key(), self.integer(), self.life()),
            7 => Step::Add(self.key(), self.life()),
            8 => Step::Replace(self.key(), self.life()),
            9 => Step::SetMany(self.keys(), self.life()),
            10 | 11 => Step::Touch(self.key(), self.life()),
            12 => Step::Delete(self.key()),
            13 => Step::DeleteMany(self.keys()),
            14 => Step::Take(self.key()),
            15 => Step::Incr(self.key(), self.integer()),
            16 => Step::IncrOr(self.key(), self.integer(), self.integer(), self.life()),
            17 => Step::CompareAndDelete(self.key()),
            18 | 19 => {
                let life = (self.below(2) == 0).then(|| self.life());
                Step::CompareAndSet(self.key(), life)
            }
            20 => Step::Rename(self.key(), self.key()),
            21 if self.below(4) == 0 => Step::Clear,
            _ => Step::Pass(self.small(4)),
        }
    }
}
