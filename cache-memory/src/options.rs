//! The options of `backend = "memory"`.

use cache_core::{Result, config::ByteSize, store::BuildContext};
use serde::Deserialize;

use crate::limits::{InvalidLimit, Limits, RequestedLimits};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the settings use these names")]
struct Options {
    max_entries: Option<u64>,
    max_bytes: Option<ByteSize>,
    max_value_bytes: Option<ByteSize>,
}

/// Reads and checks the options. An error names the setting.
pub(crate) fn limits(context: &BuildContext<'_>) -> Result<Limits> {
    let options: Options = context.options()?;
    let requested = RequestedLimits {
        max_entries: options.max_entries,
        max_bytes: options.max_bytes.map(ByteSize::bytes),
        max_value_bytes: options.max_value_bytes.map(ByteSize::bytes),
    };
    Limits::new(requested).map_err(|InvalidLimit(option, problem)| {
        context.error(&format!("options.{option}"), format!("{option} {problem}"))
    })
}
