//! `${NAME}` in the string values of the settings.

use toml::Value;

use crate::error::{Error, ErrorKind, Result};

/// Replaces `${NAME}` by the variable and `$$` by `$`, once: the inserted text is not expanded
/// again.
pub(super) fn expand(
    table: &mut toml::Table,
    path: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<()> {
    for (name, value) in table.iter_mut() {
        expand_value(value, &format!("{path}.{name}"), variable)?;
    }
    Ok(())
}

fn expand_value(
    value: &mut Value,
    path: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<()> {
    match value {
        Value::String(text) if text.contains('$') => {
            *text = expand_text(text, variable).map_err(|what| {
                Error::new(ErrorKind::Config, what).with_context("setting", path)
            })?;
        }
        Value::Array(values) => {
            for (n, value) in values.iter_mut().enumerate() {
                expand_value(value, &format!("{path}[{n}]"), variable)?;
            }
        }
        Value::Table(table) => expand(table, path, variable)?,
        _ => {}
    }
    Ok(())
}

fn expand_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut res = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        res.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            res.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or("`${` has no closing `}`; write `$$` for a plain `$`")?;
            if name.is_empty() || !name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
                // The text is not shown: it may be a password that contains `${`.
                return Err(
                    "`${…}` does not contain the name of a variable; write `$$` for a plain `$`"
                        .into(),
                );
            }
            res.push_str(&variable(name).ok_or_else(|| {
                format!("the environment variable `{name}` is not set (or is not UTF-8)")
            })?);
            rest = after;
        } else if lacks_braces(text, after, variable) {
            // The name is not shown: it may still be a part of a password.
            return Err(
                "the name of a variable needs braces: `${NAME}`; write `$$` for a plain `$`".into(),
            );
        } else {
            res.push('$');
            rest = after;
        }
    }
    res.push_str(rest);
    Ok(res)
}

/// Returns whether the text after a `$` means a variable: a variable of that name exists, or the
/// name is the whole text.
fn lacks_braces(text: &str, after: &str, variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let name = &after[..after.find(|it| !is_part(it)).unwrap_or(after.len())];
    let is_name = name.starts_with(|it: char| it.is_ascii_uppercase() || it == '_');
    let is_all = text.len() == name.len() + 1 && !name.contains(|it: char| it.is_ascii_lowercase());
    is_name && (is_all || variable(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        (name == "URL").then(|| "redis://${HOST}".into())
    }

    #[test]
    fn variables_are_expanded_once() {
        for (text, expected) in [
            ("${URL}/0", "redis://${HOST}/0"),
            ("pa$$word", "pa$word"),
            ("a$b$", "a$b$"),
            ("$${URL}", "${URL}"),
            ("$$URL", "$URL"),
            ("pa$Word", "pa$Word"),
            ("pa$WORD", "pa$WORD"),
        ] {
            assert_eq!(expand_text(text, &variable).unwrap(), expected);
        }
    }

    #[test]
    fn error_names_the_missing_variable() {
        assert!(expand_text("${NOPE}", &variable).unwrap_err().contains("`NOPE`"));
        assert!(expand_text("${NOPE", &variable).unwrap_err().contains("no closing"));
        assert!(!expand_text("x${s3cret!}", &variable).unwrap_err().contains("s3cret"));
    }
}
