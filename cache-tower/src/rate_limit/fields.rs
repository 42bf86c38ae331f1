//! The fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) and
//! `Retry-After` (RFC 9110, 10.2.3).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use sfv::{ItemSerializer, KeyRef, StringRef};

use super::{decision::Decision, rule::RateLimit};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The values that are equal in all responses of a limiter.
pub(super) struct Policy {
    /// The name as a string of a structured field, with its quotes.
    name: String,
    value: HeaderValue,
}

impl Policy {
    /// Returns `None` if the name is not a string of a structured field (RFC 9651, 3.3.3).
    pub(super) fn new(name: &str, rule: &RateLimit) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let (quota, window) = rule.quota();
        let name = StringRef::from_str(name).ok()?;
        let policy = ItemSerializer::new()
            .bare_item(name)
            .parameter(KeyRef::constant("q"), quota)
            .parameter(KeyRef::constant("w"), seconds(window))
            .finish();
        let name = ItemSerializer::new().bare_item(name).finish();
        Some(Self { name, value: HeaderValue::try_from(policy).ok()? })
    }

    /// Adds the fields of a decision. Fields of other limits stay: together they are a list.
    pub(super) fn write(&self, decision: &Decision, headers: &mut HeaderMap) {
        if let Some(time) = decision.retry_after {
            headers.insert(RETRY_AFTER, seconds(time).into());
        }
        if decision.store_failed {
            return;
        }
        let limit =
            format!("{};r={};t={}", self.name, decision.remaining, seconds(decision.reset_after));
        if let Ok(limit) = HeaderValue::try_from(limit) {
            headers.append(LIMIT, limit);
        }
        headers.append(POLICY, self.value.clone());
    }
}

/// Returns whole seconds, rounded up, so that no client comes too early. At least 1: zero is not a
/// window, and would ask a refused client to repeat at once.
fn seconds(time: Duration) -> u32 {
    let rounded = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    rounded.clamp(1, u32::MAX.into()).try_into().unwrap_or(u32::MAX)
}
