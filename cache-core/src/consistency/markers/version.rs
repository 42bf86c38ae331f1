use arrayvec::ArrayString;

use crate::runtime::random;

/// The version of a marker: a random number, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Version(u64);

/// The length of a version as text.
pub(crate) const VERSION_LEN: usize = 13;

impl Version {
    pub(crate) fn random() -> Self {
        Self::new(random())
    }

    pub(crate) const fn new(number: u64) -> Self {
        Self(if number == 0 { 1 } else { number })
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// Returns the version of a marker within another one: it changes with each of them.
    pub(crate) const fn within(self, outer: Self) -> Self {
        // Odd, so that different outer versions give different products.
        Self::new(outer.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ self.0)
    }

    /// Returns the version after an expiry; `None` if the count is full.
    ///
    /// An invalidation gives a marker a random number. Its lowest 16 bits count the expiries since
    /// then.
    pub(crate) fn expired(self) -> Option<Self> {
        (self.0 & COUNT != COUNT).then(|| Self::new(self.0 + 1))
    }

    /// Returns the version as text for keys and stores.
    pub(crate) fn text(self) -> ArrayString<VERSION_LEN> {
        let mut text = ArrayString::new();
        for place in (0..VERSION_LEN).rev() {
            let digit = (self.0 >> (place * 5)) & 31;
            text.push(char::from(DIGITS[usize::try_from(digit).unwrap_or_default()]));
        }
        text
    }

    /// Returns the version that a store returned as text.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut number = 0_u64;
        for byte in text {
            let digit = DIGITS.iter().position(|it| it == byte)?;
            number = number.checked_mul(32)? | u64::try_from(digit).ok()?;
        }
        (text.len() == VERSION_LEN && number != 0).then_some(Self(number))
    }
}

/// The bits of a version that count the expiries.
pub(crate) const COUNT: u64 = 0xffff;

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
