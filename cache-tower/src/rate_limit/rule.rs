use std::time::Duration;

/// A rule: how many requests a client may make in which time, and how they are counted.
///
/// | | [fixed window](Self::fixed_window) | [sliding window](Self::sliding_window) | [GCRA](Self::gcra) |
/// |---|---|---|---|
/// | requests in any interval of one window | at most 2 × limit | at most limit | at most burst + limit |
/// | a request counts for | the rest of its window | 1 to 1¹⁄₆₀ windows | it refills evenly |
/// | calls of the store, allowed | 1 `incr`, 1 `ttl` | 1 read, 1 compare-and-set | 1 read, 1 compare-and-set |
/// | calls of the store, refused | 1 `incr`, 1 `ttl` | 1 read | 1 read |
/// | time of the window | the clock of the store | the wall clocks of the processes | the wall clocks of the processes |
///
/// A compare-and-set that conflicts with another process is repeated, so a key that many processes
/// use at once is faster with a fixed window.
///
/// # Clocks
/// A sliding window and GCRA store the time of the latest request. A process whose clock is behind
/// uses this time, so that the time of one key never goes back. If the clocks of two processes
/// differ by `d`, a key admits at most as much more as its rule allows in the time `d`, once while
/// the key is in use. A key whose time is ahead expires by the clock of the store, after the time
/// of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub(super) algorithm: Algorithm,
    pub(super) limit: u32,
    pub(super) window: Duration,
    pub(super) burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    FixedWindow,
    SlidingWindow,
    Gcra,
}

impl RateLimit {
    /// Allows `limit` requests in each window. The first request of a client begins a window, and
    /// the next request after its end begins the next one.
    ///
    /// Around the end of a window, a client may make twice as many requests within the time of one
    /// window.
    pub const fn fixed_window(limit: u32, window: Duration) -> Self {
        Self { algorithm: Algorithm::FixedWindow, limit, window, burst: limit }
    }

    /// Allows `limit` requests in any interval of one window.
    ///
    /// The window has 60 parts with a count each, and a request counts until its whole part is
    /// older than the window. So a client never gets more than its limit, and a place becomes free
    /// up to a sixtieth of the window later than with an exact log.
    pub const fn sliding_window(limit: u32, window: Duration) -> Self {
        Self { algorithm: Algorithm::SlidingWindow, limit, window, burst: limit }
    }

    /// Allows `limit` requests per window at an even rate, and bursts of up to `limit` requests
    /// after a pause: the generic cell rate algorithm (ITU-T I.371), which equals a token bucket
    /// with `limit` tokens. [`burst`](Self::burst) sets another size of the bucket.
    pub const fn gcra(limit: u32, window: Duration) -> Self {
        Self { algorithm: Algorithm::Gcra, limit, window, burst: limit }
    }

    /// Sets how many requests may arrive at once, for [`gcra`](Self::gcra). The other algorithms
    /// have no burst and ignore it.
    ///
    /// ```
    /// # use cache_tower::rate_limit::RateLimit; use std::time::Duration;
    /// // One request per 600 ms, and after a pause five at once.
    /// let rule = RateLimit::gcra(100, Duration::from_secs(60)).burst(5);
    /// assert_ne!(rule, RateLimit::gcra(100, Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub const fn burst(mut self, requests: u32) -> Self {
        if matches!(self.algorithm, Algorithm::Gcra) {
            self.burst = requests;
        }
        self
    }

    /// Returns the quota that clients see, and the time in which they can use it.
    pub(super) fn quota(&self) -> (u32, Duration) {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => (self.limit, self.window),
            Algorithm::Gcra => (self.burst, self.lifetime()),
        }
    }

    /// Returns how long the state of a client has an effect after its last request.
    pub(super) fn lifetime(&self) -> Duration {
        let nanos = match self.algorithm {
            Algorithm::FixedWindow => return self.window,
            Algorithm::SlidingWindow => self.window_nanos().saturating_add(self.slot_nanos()),
            Algorithm::Gcra => self.interval_nanos().saturating_mul(self.burst.into()),
        };
        Duration::from_nanos(nanos)
    }

    /// Returns the time in which GCRA admits one request, rounded up, so that the rate is never
    /// higher than the rule.
    pub(super) fn interval_nanos(&self) -> u64 {
        self.window_nanos().div_ceil(u64::from(self.limit.max(1)))
    }

    /// Returns the length of a part of a sliding window.
    pub(super) fn slot_nanos(&self) -> u64 {
        self.window_nanos().div_ceil(60).max(1)
    }

    pub(super) fn window_nanos(&self) -> u64 {
        nanos(self.window)
    }
}

/// Returns the nanoseconds of a time, at most 584 years.
pub(super) fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
